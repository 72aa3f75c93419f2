#include "commands.h"
#include "interrupt.h"
#include "output.h"
#include "pairing.h"
#include "settings.h"
#include "typed_code.h"

#include <stdio.h>
#include <string.h>

#define PAIRING_TYPED_MAX 256 /* bytes of the six words, however they are typed */
#define LOOK_S            30  /* for the device that shows the code */

#define GO_ON "nothing was paired; run \"kith join\" again with the code, as long as it is good"

static kith_err check_words(const char *text, char *out, kith_problem *problem)
{
    return kith_words_check(text, out, problem);
}

static const code_kind pairing_code = {.what = "the six words",
                                       .question = "The six words the other device shows",
                                       .go_on = GO_ON,
                                       .words = KITH_WORDS,
                                       .check = check_words,
                                       .size = KITH_WORDS_TEXT};

typedef struct join {
    pairing pairing;
    uint64_t until_ns; /* the other device is looked for; 0: it is found */
} join;

static void say_name(const char *name, const kith_device_info *self)
{
    char shown[OUT_NAME];
    if (name && strcmp(name, self->name) != 0)
        out_say("This device has an identity already, and stays \"%s\"; to change that: \"kith rename\".",
                out_name(self->name, shown, sizeof shown));
}

/* Opens the node; makes the identity first if there is none, with the same password. */
static int open_or_init(session *s, const char *name)
{
    kith_device_info self;
    kith_problem problem;
    secret password;
    kith_err err = kith_self(s->home, &self, &problem);
    if (!err) say_name(name, &self);
    if (err != KITH_ERR_NO_IDENTITY) return session_open(s);
    out_say("This device has no identity yet: making one.");
    secret_init(&password);
    int status = session_password(s, true, &password);
    kith_init_options options = {.size = sizeof options,
                                 .name = name,
                                 .password = password.data,
                                 .password_size = password.size,
                                 .no_recovery = true};
    kith_init_result made = {.size = sizeof made};
    if (!status && (err = kith_init(s->home, &options, &made, &problem)) != KITH_OK)
        status = out_problem(err, problem.message);
    if (status) {
        secret_done(&password);
        return status;
    }
    out_say("This device is \"%s\", fingerprint %s.", made.self.name, made.self.fingerprint);
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b}", "event", "identity", "id", made.self.id, "name",
                        out_json_text(made.self.name), "fingerprint", made.self.fingerprint, "created", made.created));
    return session_open_with(s, &password);
}

static void show_looking(const join *j)
{
    uint64_t now = now_ns();
    char line[64] = "";
    if (!j->until_ns) return;
    if (now < j->until_ns)
        snprintf(line, sizeof line, "Looking for another %u s...", (unsigned)((j->until_ns - now) / SECOND_NS) + 1);
    out_status(line);
}

static void on_event(session *s, const kith_event *event)
{
    join *j = s->user;
    j->until_ns = 0;
    out_status("");
    pairing_event(s, &j->pairing, event);
}

static void on_line(session *s, const char *line)
{
    join *j = s->user;
    pairing_line(s, &j->pairing, line);
}

static void on_tick(session *s)
{
    join *j = s->user;
    show_looking(j);
    pairing_tick(&j->pairing);
}

static int look_and_join(session *s, join *j, const char *words)
{
    static const session_handler handler = {.event = on_event, .line = on_line, .tick = on_tick, .go_on = GO_ON};
    unsigned long look_s = s->timeout_s && s->timeout_s < LOOK_S ? s->timeout_s : LOOK_S;
    j->pairing.options.expires_s = LOOK_S;
    j->until_ns = now_ns() + look_s * SECOND_NS;
    out_say("Looking for the device that shows this code, for up to %lu second%s...", look_s, look_s == 1 ? "" : "s");
    out_event(json_pack("{s:s, s:i}", "event", "looking", "seconds", (int)look_s));
    return session_begin(s, kith_join(s->node, words, &j->pairing.options, &s->op), &handler, j);
}

static int run(const cli_args *a)
{
    session s;
    join j;
    char typed[PAIRING_TYPED_MAX], words[KITH_WORDS_TEXT];
    const char *name = NULL;
    int status = session_start(&s, a);
    if (!status) status = setting_device_name(&s, &name);
    if (!status) status = code_given(&s, &pairing_code, a->words, a->word_count, typed, sizeof typed);
    bool asks = !status && !*typed;
    if (asks && !session_may_ask(&s)) status = session_cannot_ask(&s, "--code-file FILE");
    if (!status && !asks) status = code_check(&pairing_code, typed, words);
    explicit_bzero(typed, sizeof typed);
    if (!status) status = pairing_start(&j.pairing, &s);
    if (!status) status = open_or_init(&s, name);
    if (!status && asks) status = code_ask(&s, &pairing_code, words);
    if (!status) {
        session_warn_revoked(&s);
        status = look_and_join(&s, &j, words);
    }
    explicit_bzero(words, sizeof words);
    session_close(&s);
    return status;
}

static const cli_option options[] = {
    {OPT_CONTACT, 0, "contact", NULL, VALUE_NONE, "the other device is somebody else's; say it on both"},
    {OPT_NAME, 0, "name", "NAME", VALUE_OTHER,
     "what this device is called, where its identity is made now; default the host's name"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "do not ask: take the device that shows the code"},
    {OPT_CODE_FILE, 0, "code-file", "FILE", VALUE_FILE,
     "FILE holds the six words, in a line or a word a line; - is standard input"},
    {OPT_REPLACE_MASTER, 0, "replace-master", NULL, VALUE_NONE, "leave this device's own devices for the other's"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_join = {
    .name = "join",
    .arguments = "[WORD]...",
    .takes = VALUE_WORD,
    .max = 64,
    .summary = "join the device that shows a code",
    .about =
        "Join the device that shows a code of six words (\"kith pair\"): asks for the words, with Tab completion.  "
        "Words as arguments "
        "work too, but others can read them in the process list.  Makes this device's identity first if there is none.",
    .options = options,
    .run = run,
};
