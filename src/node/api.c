/* kith.h's node: calls in, beginning and end (api_internal.h says what else there is). */
#include "node/api_internal.h"

#include "base/mem.h"
#include "base/text.h"
#include "crypto/bip39.h"
#include "crypto/secret.h"
#include "service/code.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    for (size_t i = 0; i < sizeof c->text / sizeof *c->text; i++) {
        if (c->text[i]) kith_wipe(c->text[i], strlen(c->text[i])); /* one may be a pairing code */
        kith_free(c->text[i]);
    }
    kith_free(c->message);
    kith__queued_free(c->end);
    if (!c->embedded) kith_free(c);
}

static void run_commands(void *user)
{
    kith_node *node = user;
    pthread_mutex_lock(&node->lock);
    command *c = node->commands;
    node->commands = NULL;
    node->commands_end = &node->commands;
    pthread_mutex_unlock(&node->lock);
    while (c) {
        command *next = c->next;
        c->run(node, c);
        command_free(c);
        c = next;
    }
    kith__views_tell_taken(node);
}

command *kith__command_new(kith_node *node, void (*run)(kith_node *, command *))
{
    command *c = kith_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->run = run;
    c->op = atomic_fetch_add(&node->last_op, 1) + 1;
    return c;
}

command *kith__command_starting(kith_node *node, void (*run)(kith_node *, command *))
{
    command *c = kith__command_new(node, run);
    if (c && !(c->end = kith__queued_new())) {
        command_free(c);
        return NULL;
    }
    return c;
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

bool kith__command_keep(command *c, size_t place, const char *text)
{
    if (!text) return true;
    c->text[place] = kith_strdup(text);
    return c->text[place] != NULL;
}

kith_err kith__command_issue(kith_node *node, command *c, bool complete, kith_op *op)
{
    if (!c || !complete) {
        command_free(c);
        return KITH_ERR_NOMEM;
    }
    if (op) *op = c->op;
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

static void run_pair(kith_node *node, command *c) { kith_core_pair(node->core, c->op, &c->pair); }
static void run_join(kith_node *node, command *c) { kith_core_join(node->core, c->op, c->text[0], &c->pair); }
static void run_answer(kith_node *node, command *c) { kith_core_answer(node->core, c->op, c->yes); }
static void run_ping(kith_node *node, command *c) { kith_core_ping(node->core, c->op, c->text[0], c->count); }
static void run_look(kith_node *node, command *c) { kith_core_look(node->core, c->op, c->yes); }

static void run_pin(kith_node *node, command *c)
{
    kith_pin_options options = {.size = sizeof options, .name = c->text[1], .yes = c->yes};
    kith_core_pin(node->core, c->op, c->text[0], &options);
}

static void run_doctor(kith_node *node, command *c)
{
    c->doctor.stun = (const char *const *)c->text;
    kith_core_doctor(node->core, c->op, &c->doctor);
}

static void run_cancel(kith_node *node, command *c) { kith_core_cancel(node->core, c->op); }

static void run_send(kith_node *node, command *c)
{
    c->send.name = c->text[2];
    kith_core_send_file(node->core, c->op, c->text[0], c->text[1], &c->send);
}

static void run_receive(kith_node *node, command *c)
{
    c->receive.folder = c->text[0];
    c->receive.from = c->text[1];
    kith_core_receive(node->core, c->op, &c->receive);
}

static void run_receive_file(kith_node *node, command *c)
{
    kith_core_receive_file(node->core, c->op, c->text[0], c->conflict);
}

kith_err kith_pair(kith_node *node, const kith_pair_options *options, kith_op *op)
{
    kith_pair_options taken = {0};
    if (!kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_pair);
    if (c) c->pair = taken;
    return kith__command_issue(node, c, true, op);
}

kith_err kith_join(kith_node *node, const char *words, const kith_pair_options *options, kith_op *op)
{
    kith_pair_options taken = {0};
    if (!words || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_join);
    if (c) c->pair = taken;
    return kith__command_issue(node, c, c && kith__command_keep(c, 0, words), op);
}

kith_err kith_answer(kith_node *node, kith_op question, bool yes)
{
    command *c = kith__command_new(node, run_answer);
    if (c) c->op = question;
    if (c) c->yes = yes;
    return kith__command_issue(node, c, true, NULL);
}

kith_err kith_ping(kith_node *node, const char *device_id, uint32_t count, kith_op *op)
{
    if (!device_id) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_ping);
    if (c) c->count = count;
    return kith__command_issue(node, c, c && kith__command_keep(c, 0, device_id), op);
}

kith_err kith_look(kith_node *node, kith_op *op)
{
    return kith__command_issue(node, kith__command_starting(node, run_look), true, op);
}

kith_err kith_nearby(kith_node *node, kith_op *op)
{
    command *c = kith__command_starting(node, run_look);
    if (c) c->yes = true; /* strangers, too */
    return kith__command_issue(node, c, true, op);
}

kith_err kith_pin(kith_node *node, const char *device, const kith_pin_options *options, kith_op *op)
{
    kith_pin_options taken = {0};
    if (!device || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_pin);
    if (c) c->yes = taken.yes;
    return kith__command_issue(node, c, c && kith__command_keep(c, 0, device) && kith__command_keep(c, 1, taken.name),
                               op);
}

kith_err kith_doctor(kith_node *node, const kith_doctor_options *options, kith_op *op)
{
    kith_doctor_options taken = {0};
    if (!kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    if (taken.stun_count > KITH_DOCTOR_STUN_MAX || (taken.stun_count && !taken.stun)) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_doctor);
    bool kept = c != NULL;
    for (size_t i = 0; i < taken.stun_count && kept; i++) kept = kith__command_keep(c, i, taken.stun[i]);
    if (c) c->doctor.stun_count = taken.stun_count;
    return kith__command_issue(node, c, kept, op);
}

kith_err kith_send_file(kith_node *node, const char *device_id, const char *path, const kith_send_options *options,
                        kith_op *op)
{
    kith_send_options taken = {0};
    if (!device_id || !path || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_send);
    if (c) c->send = taken;
    return kith__command_issue(node, c,
                               c && kith__command_keep(c, 0, device_id) && kith__command_keep(c, 1, path) &&
                                   kith__command_keep(c, 2, taken.name),
                               op);
}

kith_err kith_receive(kith_node *node, const kith_receive_options *options, kith_op *op)
{
    kith_receive_options taken = {0};
    if (!options || !kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    if (!taken.folder && !taken.ask) return KITH_ERR_ARG;
    command *c = kith__command_starting(node, run_receive);
    if (c) c->receive = taken;
    return kith__command_issue(node, c,
                               c && kith__command_keep(c, 0, taken.folder) && kith__command_keep(c, 1, taken.from), op);
}

kith_err kith_receive_file(kith_node *node, kith_op transfer, const char *path, kith_conflict conflict)
{
    size_t size = path ? strlen(path) : 0;
    if (size == 0 || size >= KITH_PATH_NAME_MAX || path[size - 1] == '/') return KITH_ERR_ARG;
    command *c = kith__command_new(node, run_receive_file);
    if (c) c->op = transfer;
    if (c) c->conflict = conflict;
    return kith__command_issue(node, c, c && kith__command_keep(c, 0, path), NULL);
}

void kith_cancel(kith_node *node, kith_op op)
{
    command *c = kith__command_new(node, run_cancel);
    if (c) c->op = op;
    if (kith__command_issue(node, c, true, NULL)) return; /* no memory: the operation goes on */
}

/* ---- beginning and end ---- */

static void on_closed(void *user)
{
    kith_node *node = user;
    node->env->post->close(node->post);
    node->post = NULL;
    kith_core_free(node->core);
    node->core = NULL;
    kith_io_stop(node->io);
}

static void run_close(kith_node *node, command *c)
{
    (void)c;
    kith_core_close(node->core, on_closed, node);
}

static void *thread_main(void *user)
{
    kith_node *node = user;
    kith_io_run(node->io);
    return NULL;
}

/* The application's signals stay with its own threads. */
static kith_err start_thread(kith_node *node)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&node->thread, NULL, thread_main, node);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    node->running = !failed;
    return failed ? KITH_ERR_NOMEM : KITH_OK;
}

static kith_err open_pipe(kith_node *node)
{
    if (pipe(node->wake)) {
        node->wake[0] = node->wake[1] = -1;
        return KITH_ERR_LIMIT;
    }
    for (size_t i = 0; i < 2; i++) {
        if (fcntl(node->wake[i], F_SETFL, O_NONBLOCK)) return KITH_ERR_INTERNAL;
        if (fcntl(node->wake[i], F_SETFD, FD_CLOEXEC)) return KITH_ERR_INTERNAL;
    }
    return KITH_OK;
}

static bool keep(char **place, const char *text)
{
    if (text) *place = kith_strdup(text);
    return !text || *place;
}

static kith_err keep_relays(kith_node *node, const kith_options *options, kith_problem *problem)
{
    if (options->relay_count > KITH_OPTIONS_RELAYS_MAX) {
        snprintf(problem->message, sizeof problem->message, "at most %d relays can be used", KITH_OPTIONS_RELAYS_MAX);
        return KITH_ERR_LIMIT;
    }
    bool kept = keep(&node->relay_token, options->relay_token) && keep(&node->relay_ca_file, options->relay_ca_file);
    for (size_t i = 0; i < options->relay_count && kept; i++) kept = keep(&node->relays[i], options->relays[i]);
    return kept ? KITH_OK : KITH_ERR_NOMEM;
}

static kith_err open_core(kith_node *node, const kith_options *options, kith_problem *problem)
{
    kith_core_config config = {
        .env = node->env,
        .home = node->home,
        .seed = node->seed,
        .no_lan = options->no_lan,
        .relays = (const char *const *)node->relays,
        .relay_count = options->relay_count,
        .relay_token = node->relay_token,
        .relay_ca_file = node->relay_ca_file,
        .log_level = options->log_level,
        .log = options->log,
        .log_user = options->log_user,
        .emit = kith__api_event,
        .emit_user = node,
        .talk = &kith__api_talk,
    };
    if (options->listen && kith_addr_parse(options->listen, &config.listen)) {
        snprintf(problem->message, sizeof problem->message,
                 "\"%s\" is no address to listen on: write ADDR:PORT, such as 0.0.0.0:7777", options->listen);
        return KITH_ERR_ARG;
    }
    return kith_core_new(&config, &node->core, problem);
}

static kith_err fill(kith_node *node, const kith_options *options, kith_problem *problem)
{
    kith_err err = open_pipe(node);
    if (!err) err = kith_io_new(&node->io);
    if (!err) node->env = kith_io_env(node->io);
    if (!err) err = kith_home_open(node->env, options->home, &node->home);
    if (!err && options->device_file) err = kith_home_refer(node->home, options->device_file, problem);
    if (!err && options->password) {
        kith_bytes password = {options->password, options->password_size};
        err = kith_home_unlock(node->home, password, &node->seed, problem);
    }
    if (!err) err = keep_relays(node, options, problem);
    if (!err) err = open_core(node, options, problem);
    if (!err && !(node->post = node->env->post->open(node->env, run_commands, node))) err = KITH_ERR_NOMEM;
    if (!err) node->local = kith_core_local(node->core);
    if (!err) err = start_thread(node);
    return err;
}

kith_err kith_open(const kith_options *options, kith_node **out, kith_problem *problem)
{
    kith_options taken = {0};
    kith_node *node = NULL;
    *problem = (kith_problem){0};
    kith_err err = kith__options_take(&taken, sizeof taken, options) && taken.home ? KITH_OK : KITH_ERR_ARG;
    if (!err && !(node = kith_calloc(1, sizeof *node))) err = KITH_ERR_NOMEM;
    if (node) {
        pthread_mutex_init(&node->lock, NULL);
        node->commands_end = &node->commands;
        kith_list_init(&node->views);
        node->wake[0] = node->wake[1] = -1;
        err = fill(node, &taken, problem);
    }
    if (!err) {
        *out = node;
        return KITH_OK;
    }
    problem->err = err;
    if (!*problem->message) snprintf(problem->message, sizeof problem->message, "%s", kith_err_text(err));
    kith_close(node);
    return err;
}

void kith_close(kith_node *node)
{
    if (!node) return;
    if (node->running) {
        node->closing = (command){.run = run_close, .embedded = true};
        if (kith__command_issue(node, &node->closing, true, NULL) == KITH_OK) pthread_join(node->thread, NULL);
    } else if (node->io) {
        if (node->post) node->env->post->close(node->post);
        kith_core_free(node->core);
        kith_io_stop(node->io);
        kith_io_run(node->io); /* what was opened closes in the loop */
    }
    for (command *c = node->commands; c;) {
        command *next = c->next;
        command_free(c);
        c = next;
    }
    kith__events_free(node);
    kith__views_free(node);
    kith_home_close(node->home);
    kith_secret_free(node->seed);
    kith_io_free(node->io);
    for (size_t i = 0; i < 2; i++)
        if (node->wake[i] >= 0) close(node->wake[i]);
    for (size_t i = 0; i < KITH_OPTIONS_RELAYS_MAX; i++) kith_free(node->relays[i]);
    kith_free(node->relay_token);
    kith_free(node->relay_ca_file);
    pthread_mutex_destroy(&node->lock);
    kith_free(node);
}

size_t kith_addresses(kith_node *node, char (*out)[KITH_ADDRESS_TEXT], size_t cap)
{
    kith_interface_addr found[32];
    if (node->local.family == KITH_FAMILY_NONE) return 0;
    if (!kith_addr_is_any(&node->local)) {
        if (cap) kith_addr_text(&node->local, out[0]);
        return 1;
    }
    size_t count = node->env->net->addresses(node->env, found, sizeof found / sizeof *found);
    if (count > sizeof found / sizeof *found) count = sizeof found / sizeof *found;
    for (size_t i = 0; i < count && i < cap; i++) {
        found[i].addr.port = node->local.port;
        kith_addr_text(&found[i].addr, out[i]);
    }
    return count;
}

/* ---- words and text ---- */

const char *kith_version(void) { return KITH_VERSION; }
const char *kith_word(unsigned i) { return i < KITH_BIP39_WORDS ? kith_bip39_word(i) : NULL; }

char *kith_printable_name(const char *name, char *out, size_t out_size)
{
    return kith_printable(name, strlen(name), out, out_size);
}

kith_err kith_words_check(const char *text, char out[KITH_WORDS_TEXT], kith_problem *problem)
{
    kith_words words;
    *problem = (kith_problem){0};
    problem->err = kith_words_parse(text, &words, problem->message, sizeof problem->message);
    if (!problem->err) kith_words_text(&words, out);
    kith_wipe(&words, sizeof words);
    return problem->err;
}
