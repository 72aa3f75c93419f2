#include "typed_code.h"

#include "output.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX_MIN    4 /* letters that tell a word of the list from all others */
#define WORDS_IN_LINE 6 /* of a recovery code that is shown */

#define CODE_LINES_MAX (4 * KITH_RECOVERY_WORDS) /* of a file that holds a code: a word a line, and empty ones */

static kith_err check_recovery(const char *text, char *out, kith_problem *problem)
{
    return kith_recovery_check(text, out, problem);
}

const code_kind recovery_code_kind = {
    .what = "the 24 words of the recovery code",
    .question = "The recovery code's 24 words",
    .go_on = "nothing was changed",
    .words = KITH_RECOVERY_WORDS,
    .check = check_recovery,
    .size = KITH_RECOVERY_TEXT,
};

/* ---- words ---- */

static bool separates(char c) { return !isalpha((unsigned char)c); }

/* Whether this is a word of the list, or the beginning of just one. */
static bool is_word(const char *text, size_t size)
{
    size_t fits = 0;
    for (unsigned i = 0; kith_word(i); i++) {
        if (strncasecmp(kith_word(i), text, size) != 0) continue;
        if (!kith_word(i)[size]) return true;
        fits++;
    }
    return fits == 1 && size >= PREFIX_MIN;
}

/* How many words there are; *all_good: each is one of the list. */
static size_t count_words(const char *text, bool *all_good)
{
    size_t count = 0;
    *all_good = true;
    while (*text) {
        size_t size = 0;
        while (text[size] && !separates(text[size])) size++;
        if (size) {
            count++;
            if (!is_word(text, size)) *all_good = false;
        }
        text += size ? size : 1;
    }
    return count;
}

/* ---- given ---- */

/* A code of one line, or of a word a line, numbered or not: as many lines as it takes.  What comes after them is
 * somebody else's. */
static int read_lines(const session *s, int fd, const char *name, const code_kind *kind, char *text, size_t size)
{
    size_t n = 0, words = 0;
    bool good;
    for (size_t lines = 0; words < kind->words && lines < CODE_LINES_MAX; lines++) {
        size_t got = 0;
        int status = session_line(s, fd, name, kind->what, text + n, size - n, &got);
        if (status > 0) return status;
        words = count_words(text, &good);
        n += got;
        if (status < 0) break;
        if (words < kind->words && n + 2 < size) text[n++] = ' ';
        text[n] = 0;
    }
    return words ? 0 : out_error(EXIT_USAGE, "%s has no words: it must hold %s", name, kind->what);
}

int code_given(const session *s, const code_kind *kind, const char *const *words, size_t count, char *text, size_t size)
{
    const char *file = args_value(s->args, OPT_CODE_FILE);
    char shown[OUT_NAME];
    size_t n = 0;
    *text = 0;
    if (file && count)
        return out_error(EXIT_USAGE, "the code is given twice: as words and with --code-file; leave one out");
    for (size_t i = 0; i < count && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? " " : "", words[i]);
    if (n >= size) return out_error(EXIT_USAGE, "that is no code: a code is %s", kind->what);
    if (!file) return 0;
    if (!strcmp(file, "-")) return read_lines(s, STDIN_FILENO, "standard input", kind, text, size);
    int fd, status = session_open_file(file, "code file", "name another with --code-file", &fd);
    if (status) return status;
    out_name(file, shown, sizeof shown);
    status = read_lines(s, fd, shown, kind, text, size);
    close(fd);
    return status;
}

int code_check(const code_kind *kind, const char *text, char *out)
{
    kith_problem problem;
    kith_err err = kind->check(text, out, &problem);
    return err ? out_problem(err, problem.message) : 0;
}

/* ---- asking ---- */

static int ask_line(const session *s, const code_kind *kind, size_t have, char *line, size_t size)
{
    char question[PROMPT_LINE];
    if (have)
        snprintf(question, sizeof question, "Word %zu of %zu, and on: ", have + 1, kind->words);
    else
        snprintf(question, sizeof question, "%s: ", kind->question);
    prompt_result result = prompt_words(question, line, size);
    if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: %s", kind->go_on);
    if (result == PROMPT_TIMEOUT) return session_gave_up(s, kind->go_on);
    if (result != PROMPT_OK)
        return out_error(EXIT_USAGE, "no code was given: type it, or name a file with --code-file FILE");
    return 0;
}

/* The line's words, added to those before; what is wrong with them is said, and they are left out. */
static void take_line(const code_kind *kind, const char *line, char *typed, size_t size, char *out)
{
    kith_problem problem;
    bool good;
    size_t n = strlen(typed), more = strlen(line);
    count_words(line, &good);
    if (!good || n + more + 2 > size) {
        kith_err err = kind->check(line, out, &problem);
        prompt_print("%s\n", err && *problem.message ? problem.message : kith_err_text(KITH_ERR_CODE));
        return;
    }
    if (n) typed[n++] = ' ';
    memcpy(typed + n, line, more + 1);
}

int code_ask(const session *s, const code_kind *kind, char *code)
{
    char typed[TYPED_MAX] = "", line[TYPED_MAX];
    kith_problem problem;
    bool good;
    int status = 0;
    prompt_print(out()->plain ? ""
                              : "Tab completes a word; its first letters are enough where no other word begins so.\n");
    for (;;) {
        size_t have = count_words(typed, &good);
        if (have >= kind->words || (have && kind->words <= WORDS_IN_LINE)) {
            kith_err err = kind->check(typed, code, &problem);
            if (!err) break;
            prompt_print("%s\n", *problem.message ? problem.message : kith_err_text(err));
            *typed = 0;
            have = 0;
        }
        if ((status = ask_line(s, kind, have, line, sizeof line)) != 0) break;
        take_line(kind, line, typed, sizeof typed, code);
    }
    explicit_bzero(typed, sizeof typed);
    explicit_bzero(line, sizeof line);
    explicit_bzero(&problem, sizeof problem);
    return status;
}

int code_recovery(const session *s, char out[KITH_RECOVERY_TEXT])
{
    char typed[TYPED_MAX];
    int status = code_given(s, &recovery_code_kind, NULL, 0, typed, sizeof typed);
    if (!status && *typed)
        status = code_check(&recovery_code_kind, typed, out);
    else if (!status)
        status = session_may_ask(s) ? code_ask(s, &recovery_code_kind, out) : session_cannot_ask(s, "--code-file FILE");
    explicit_bzero(typed, sizeof typed);
    return status;
}

/* ---- showing ---- */

bool code_can_show(void) { return out()->json || isatty(STDOUT_FILENO) || prompt_possible(); }

static bool show_line(const char *line)
{
    if (!isatty(STDOUT_FILENO)) return prompt_print("%s\n", line);
    out_line("%s", line);
    return !out_broken();
}

static bool show_words(const char *words)
{
    char line[KITH_RECOVERY_TEXT] = "";
    size_t number = 0, n = 0;
    bool seen = true;
    while (*words) {
        size_t size = strcspn(words, " ");
        number++;
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%2zu %-9.*s", n ? " " : "", number, (int)size, words);
        if (out()->plain || number % WORDS_IN_LINE == 0) {
            while (n && line[n - 1] == ' ') line[--n] = 0;
            seen = show_line(line) && seen;
            n = 0;
        }
        words += size + (words[size] == ' ');
    }
    explicit_bzero(line, sizeof line);
    return seen;
}

bool code_show_words(const char *words)
{
    bool seen = out()->json;
    if (!seen) {
        show_line("");
        show_line("The recovery code, shown only now: write it down and keep it where this device is not.");
        seen = show_words(words);
        show_line(
            "It opens this device's keys when the password is forgotten, and brings a lost device back from a backup.");
    }
    return seen && out_finish();
}

int code_show(const char *words)
{
    if (code_show_words(words)) return 0;
    return out_error(EXIT_FAILED,
                     "the new recovery code could not be shown, so it is not in force: run \"kith recovery "
                     "new\" where it can be seen");
}

int code_void(kith_err err, const char *message, const char *what_counts)
{
    return out_error(kith_err_exit(err), "%s; the recovery code that was shown is good for nothing, destroy it: %s",
                     message && *message ? message : kith_err_text(err), what_counts);
}
