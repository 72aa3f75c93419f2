/* kith.h's node: calls in (internal.h says what else there is). */
#include "api/internal.h"
#include "api/visit.h"

#include "base/mem.h"
#include "base/text.h"
#include "crypto/bip39.h"
#include "service/code.h"

#include <string.h>

_Static_assert(KITH_WORDS_TEXT >= KITH_CODE_TEXT_SIZE, "a code's text fits");
_Static_assert(KITH_ADDRESS_TEXT >= KITH_ADDR_TEXT_SIZE, "an address's text fits");
_Static_assert(KITH_TOPIC_MAX == KITH_TALK_TOPIC_MAX, "one limit");
#if KITH_MESSAGE_SIZE_MAX != KITH_TALK_MESSAGE_MAX
#error "one limit"
#endif

/* ---- calls in ---- */

static void command_free(command *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->text_count; i++) {
        kith_wipe(c->texts[i], strlen(c->texts[i])); /* one may be a pairing code */
        kith_free(c->texts[i]);
    }
    kith_free(c->message);
    kith__queued_free(c->end);
    if (!c->closing) kith_free(c);
}

void kith__api_ask(kith_node *node, const kith_daemon_request *r, kith_talk_message *message)
{
    if (node->line)
        kith__line_ask(node->line, r, message);
    else if (node->self)
        (void)!kith__desk_execute(node->self, r, -1, message); /* only strangers break rules */
    else
        kith_free(message); /* it is closed */
}

static void run(kith_node *node, command *c)
{
    kith_talk_message *message = c->message;
    c->message = NULL;
    if (c->closing) {
        kith__api_close(node);
        return;
    }
    if (c->request.kind == KITH_DAEMON_DATAGRAM) kith__views_datagram_sent(node, c->request.op);
    kith__api_ask(node, &c->request, message);
}

void kith__commands_run(void *user)
{
    kith_node *node = user;
    pthread_mutex_lock(&node->lock);
    command *c = node->commands;
    node->commands = NULL;
    node->commands_end = &node->commands;
    pthread_mutex_unlock(&node->lock);
    while (c) {
        command *next = c->next;
        run(node, c);
        command_free(c);
        c = next;
    }
    kith__views_tell_taken(node);
}

void kith__commands_free(kith_node *node)
{
    for (command *c = node->commands; c;) {
        command *next = c->next;
        command_free(c);
        c = next;
    }
}

command *kith__command_new(kith_node *node, kith_daemon_kind kind)
{
    command *c = node ? kith_calloc(1, sizeof *c) : NULL;
    if (!c) return NULL;
    c->request.kind = kind;
    if (!kith_daemon_begins(kind)) return c;
    c->request.op = atomic_fetch_add(&node->last_op, 1) + 1;
    c->end = kith__queued_new();
    if (c->end) return c;
    command_free(c);
    return NULL;
}

bool kith__options_take(void *out, size_t out_size, const void *in)
{
    size_t size = 0;
    if (!in) return true;
    memcpy(&size, in, sizeof size);
    if (size < sizeof size) return false;
    memcpy(out, in, size < out_size ? size : out_size);
    for (size_t i = out_size; i < size; i++)
        if (((const uint8_t *)in)[i]) return false;
    return true;
}

bool kith__command_keep(command *c, const char **member, const char *text)
{
    if (!text) return true;
    char *copy = kith_strdup(text);
    if (!copy) return false;
    *member = c->texts[c->text_count++] = copy;
    return true;
}

kith_err kith__command_issue(kith_node *node, command *c, bool complete, kith_op *op)
{
    const bool called_well = node && (op || !c || !kith_daemon_begins(c->request.kind));
    if (!c || !complete || !called_well) {
        command_free(c);
        return called_well ? KITH_ERR_NOMEM : KITH_ERR_ARG;
    }
    if (op) *op = c->request.op;
    pthread_mutex_lock(&node->lock);
    if (c->end) {
        c->end->next = node->reserve;
        node->reserve = c->end;
        c->end = NULL;
    }
    *node->commands_end = c;
    node->commands_end = &c->next;
    pthread_mutex_unlock(&node->lock);
    node->env->post->post(node->post);
    return KITH_OK;
}

static command *pairing(kith_node *node, kith_daemon_kind kind, const kith_pair_options *options)
{
    command *c = kith__command_new(node, kind);
    if (!c) return NULL;
    c->request.contact = options->contact;
    c->request.seconds = options->expires_s;
    c->request.yes = options->yes;
    c->request.replace = kind == KITH_DAEMON_JOIN && options->replace_network;
    return c;
}

kith_err kith_pair(kith_node *node, const kith_pair_options *options, kith_op *op)
{
    kith_pair_options taken = {0};
    if (!kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    return kith__command_issue(node, pairing(node, KITH_DAEMON_PAIR, &taken), true, op);
}

kith_err kith_join(kith_node *node, const char *words, const kith_pair_options *options, kith_op *op)
{
    kith_pair_options taken = {0};
    if (!words || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = pairing(node, KITH_DAEMON_JOIN, &taken);
    return kith__command_issue(node, c, c && kith__command_keep(c, &c->request.text, words), op);
}

kith_err kith_answer(kith_node *node, kith_op question, bool yes)
{
    command *c = kith__command_new(node, KITH_DAEMON_ANSWER);
    if (c) c->request.op = question;
    if (c) c->request.yes = yes;
    return kith__command_issue(node, c, true, NULL);
}

kith_err kith_ping(kith_node *node, const char *device_id, uint32_t count, kith_op *op)
{
    if (!device_id) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_PING);
    if (c) c->request.count = count;
    return kith__command_issue(node, c, c && kith__command_keep(c, &c->request.device, device_id), op);
}

kith_err kith_look(kith_node *node, kith_op *op)
{
    return kith__command_issue(node, kith__command_new(node, KITH_DAEMON_LOOK), true, op);
}

kith_err kith_nearby(kith_node *node, kith_op *op)
{
    command *c = kith__command_new(node, KITH_DAEMON_LOOK);
    if (c) c->request.strangers = true;
    return kith__command_issue(node, c, true, op);
}

kith_err kith_pin(kith_node *node, const char *device, const kith_pin_options *options, kith_op *op)
{
    kith_pin_options taken = {0};
    if (!device || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_PIN);
    if (c) c->request.yes = taken.yes;
    return kith__command_issue(node, c,
                               c && kith__command_keep(c, &c->request.text, device) &&
                                   kith__command_keep(c, &c->request.name, taken.name),
                               op);
}

kith_err kith_doctor(kith_node *node, const kith_doctor_options *options, kith_op *op)
{
    kith_doctor_options taken = {0};
    if (!kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    if (taken.stun_count > KITH_DOCTOR_STUN_MAX || (taken.stun_count && !taken.stun)) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_DOCTOR);
    bool kept = c != NULL;
    for (size_t i = 0; i < taken.stun_count && kept; i++)
        kept = kith__command_keep(c, &c->request.stun[i], taken.stun[i]);
    return kith__command_issue(node, c, kept, op);
}

kith_err kith_send_file(kith_node *node, const char *device_id, const char *path, const kith_send_options *options,
                        kith_op *op)
{
    kith_send_options taken = {0};
    if (!device_id || !path || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_SEND);
    if (c) c->request.seconds = taken.patience_s;
    if (c) c->request.choice = taken.path;
    return kith__command_issue(node, c,
                               c && kith__command_keep(c, &c->request.device, device_id) &&
                                   kith__command_keep(c, &c->request.text, path) &&
                                   kith__command_keep(c, &c->request.name, taken.name),
                               op);
}

kith_err kith_receive(kith_node *node, const kith_receive_options *options, kith_op *op)
{
    kith_receive_options taken = {0};
    if (!options || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    if (!taken.folder && !taken.ask) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_RECEIVE);
    if (c) {
        c->request.yes = taken.yes;
        c->request.once = taken.once;
        c->request.ask = taken.ask;
        c->request.inbox = taken.inbox;
        c->request.choice = taken.conflict;
    }
    return kith__command_issue(node, c,
                               c && kith__command_keep(c, &c->request.text, taken.folder) &&
                                   kith__command_keep(c, &c->request.device, taken.from),
                               op);
}

kith_err kith_receive_file(kith_node *node, kith_op transfer, const char *path, kith_conflict conflict)
{
    size_t size = path ? strlen(path) : 0;
    if (size == 0 || size >= KITH_PATH_NAME_MAX || path[size - 1] == '/') return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_RECEIVE_FILE);
    if (c) c->request.op = transfer;
    if (c) c->request.choice = conflict;
    return kith__command_issue(node, c, c && kith__command_keep(c, &c->request.text, path), NULL);
}

void kith_cancel(kith_node *node, kith_op op)
{
    command *c = kith__command_new(node, KITH_DAEMON_CANCEL);
    if (c) c->request.op = op;
    if (kith__command_issue(node, c, true, NULL)) return; /* no memory: the operation goes on; or no node */
}

/* ---- words and text ---- */

const char *kith_version(void) { return KITH_VERSION; }
const char *kith_word(unsigned i) { return i < KITH_BIP39_WORDS ? kith_bip39_word(i) : NULL; }

char *kith_printable_name(const char *name, char *out, size_t out_size)
{
    if (!name || !out) return out;
    return kith_printable(name, strlen(name), out, out_size);
}

kith_err kith_words_check(const char *text, char out[KITH_WORDS_TEXT], kith_problem *problem)
{
    kith_words words;
    if (!text || !out || !problem) return kith__visit_refuse(problem);
    *problem = (kith_problem){0};
    problem->err = kith_words_parse(text, &words, problem->message, sizeof problem->message);
    if (!problem->err) kith_words_text(&words, out);
    kith_wipe(&words, sizeof words);
    return problem->err;
}
