#include "commands.h"
#include "interrupt.h"
#include "output.h"
#include "pairing.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TYPED_MAX 256

static const char *const go_on = "nothing was paired; run \"kith join\" again with the code, as long as it is good";

/* The words as they were given: arguments or --code-file; "" when they are to be asked for. */
static int given_words(const session *s, char *text, size_t size)
{
    const cli_args *a = s->args;
    const char *file = args_value(a, OPT_CODE_FILE);
    char shown[OUT_NAME];
    size_t n = 0;
    *text = 0;
    if (file && a->word_count)
        return out_error(EXIT_USAGE, "the code is given twice: as words and with --code-file; leave one out");
    for (size_t i = 0; i < a->word_count && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? " " : "", a->words[i]);
    if (n >= size) return out_error(EXIT_USAGE, "that is no code: a code is six words");
    if (!file) return 0;
    if (!strcmp(file, "-"))
        return session_first_line(s, STDIN_FILENO, "standard input", "the six words", text, size, &n);
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    out_name(file, shown, sizeof shown);
    if (fd < 0)
        return out_error(kith_err_exit(KITH_ERR_NO_FILE),
                         "the code file %s cannot be opened: write the six words into it", shown);
    int status = session_first_line(s, fd, shown, "the six words", text, size, &n);
    close(fd);
    return status;
}

static int check_given(const char *text, char words[KITH_WORDS_TEXT])
{
    kith_problem problem;
    kith_err err = kith_words_check(text, words, &problem);
    return err ? out_problem(err, problem.message) : 0;
}

static int ask_words(const session *s, char words[KITH_WORDS_TEXT])
{
    char typed[TYPED_MAX];
    kith_problem problem;
    const char *question = "The six words the other device shows: ";
    prompt_print(out()->plain ? ""
                              : "Tab completes a word; its first letters are enough where no other word begins so.\n");
    for (;;) {
        prompt_result result = prompt_words(question, typed, sizeof typed);
        if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: %s", go_on);
        if (result == PROMPT_TIMEOUT) return session_gave_up(s, go_on);
        if (result != PROMPT_OK)
            return out_error(EXIT_USAGE, "no code was given: type it, or name a file with --code-file FILE");
        if (!typed[strspn(typed, " \t")]) continue;
        kith_err err = kith_words_check(typed, words, &problem);
        explicit_bzero(typed, sizeof typed);
        if (!err) return 0;
        prompt_print("%s\n", *problem.message ? problem.message : kith_err_text(err));
    }
}

/* Opens the node; makes the identity first if there is none, with the same password. */
static int open_or_init(session *s)
{
    kith_device_info self;
    kith_problem problem;
    secret password;
    bool created;
    kith_err err = kith_self(s->home, &self, &problem);
    if (err != KITH_ERR_NO_IDENTITY) return session_open(s);
    out_say("This device has no identity yet: making one.");
    secret_init(&password);
    int status = session_password(s, true, &password);
    if (!status && (err = kith_init(s->home, NULL, password.data, password.size, &self, &created, &problem)) != KITH_OK)
        status = out_problem(err, problem.message);
    if (status) {
        secret_done(&password);
        return status;
    }
    out_say("This device is \"%s\", fingerprint %s.", self.name, self.fingerprint);
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b}", "event", "identity", "id", self.id, "name",
                        out_json_text(self.name), "fingerprint", self.fingerprint, "created", created));
    return session_open_with(s, &password);
}

static void on_event(session *s, const kith_event *event) { pairing_event(s, s->user, event); }
static void on_line(session *s, const char *line) { pairing_line(s, s->user, line); }

static int run(const cli_args *a)
{
    static const session_handler handler = {.event = on_event, .line = on_line, .go_on = go_on};
    session s;
    pairing p;
    char typed[TYPED_MAX], words[KITH_WORDS_TEXT];
    int status = session_start(&s, a);
    if (!status) status = given_words(&s, typed, sizeof typed);
    bool asks = !status && !*typed;
    if (asks && !session_may_ask(&s)) status = session_cannot_ask(&s, "--code-file FILE");
    if (!status && !asks) status = check_given(typed, words);
    explicit_bzero(typed, sizeof typed);
    if (!status) status = pairing_start(&p, &s);
    if (!status) status = open_or_init(&s);
    if (!status && asks) status = ask_words(&s, words);
    if (!status) {
        out_say("Looking for the device that shows this code...");
        status = session_begin(&s, kith_join(s.node, words, &p.options, &s.op), &handler, &p);
    }
    explicit_bzero(words, sizeof words);
    session_close(&s);
    return status;
}

static const cli_option options[] = {
    {OPT_CONTACT, 0, "contact", NULL, VALUE_NONE, "the other device is somebody else's; say it on both"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "do not ask: take the device that shows the code"},
    {OPT_CODE_FILE, 0, "code-file", "FILE", VALUE_FILE, "the first line of FILE is the six words; - is standard input"},
    {OPT_LATER, 0, "replace-master", NULL, VALUE_NONE, "take over the other device's master key"},
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
