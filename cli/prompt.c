#include "prompt.h"

#include "clock.h"
#include "interrupt.h"
#include "output.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define WORD_LIST_MAX     2048
#define CANDIDATES_SHOWN  24
#define COMPLETION_PREFIX 32

static int tty = -1;
static uint64_t deadline;
static bool tried;
static struct termios original;
static volatile bool changed; /* the terminal is not as it was: original is what to go back to */

void secret_init(secret *s)
{
    int ignored = mlock(s, sizeof *s);
    (void)ignored;
    explicit_bzero(s, sizeof *s);
}

void secret_done(secret *s)
{
    explicit_bzero(s, sizeof *s);
    munlock(s, sizeof *s);
}

/* ---- the terminal ---- */

int prompt_fd(void)
{
    if (tried) return tty;
    tried = true;
    tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (tty >= 0 && tcgetattr(tty, &original)) {
        close(tty);
        tty = -1;
    }
    return tty;
}

bool prompt_possible(void) { return prompt_fd() >= 0; }
bool prompt_in_front(void) { return prompt_fd() >= 0 && tcgetpgrp(tty) == getpgrp(); }

void prompt_restore_terminal(void)
{
    if (changed) tcsetattr(tty, TCSANOW, &original);
    changed = false;
}

void prompt_forget_typed(void)
{
    if (prompt_in_front()) tcflush(tty, TCIFLUSH);
}

bool prompt_print(const char *format, ...)
{
    va_list list;
    if (prompt_fd() < 0) return false;
    out_status("");
    va_start(list, format);
    int wrote = vdprintf(tty, format, list);
    va_end(list);
    return wrote >= 0;
}

void prompt_until(uint64_t deadline_ns) { deadline = deadline_ns; }

prompt_result prompt_wait(int fd)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = interrupt_fd(), .events = POLLIN}};
        if (interrupted()) return PROMPT_INTERRUPTED;
        if (poll(fds, 2, deadline ? poll_ms(deadline) : -1) < 0 && errno != EINTR) return PROMPT_END;
        if (interrupted()) return PROMPT_INTERRUPTED;
        if (fds[0].revents) return PROMPT_OK;
        if (deadline && now_ns() >= deadline) return PROMPT_TIMEOUT;
    }
}

/* Half a password is nothing for whoever reads the terminal next. */
static prompt_result wait_for_key(void)
{
    prompt_result result = prompt_wait(tty);
    if (result == PROMPT_TIMEOUT) prompt_forget_typed();
    return result;
}

/* The terminal hands over whole lines; what does not fit is dropped. */
prompt_result prompt_take_line(char *line, size_t size)
{
    size_t n = 0;
    for (;;) {
        char c;
        ssize_t got = read(tty, &c, 1);
        if (got < 0 && errno == EINTR && !interrupted()) continue;
        if (got < 0 && errno == EINTR) return PROMPT_INTERRUPTED;
        if (got <= 0 && !n) return PROMPT_END;
        if (got <= 0 || c == '\n') break;
        if (n + 1 < size) line[n++] = c;
    }
    line[n] = 0;
    return PROMPT_OK;
}

prompt_result prompt_line(const char *question, char *line, size_t size)
{
    prompt_print("%s", question);
    prompt_result result = wait_for_key();
    if (result == PROMPT_OK) result = prompt_take_line(line, size);
    if (result != PROMPT_OK) prompt_print("\n");
    return result;
}

prompt_result prompt_password(const char *question, secret *out)
{
    struct termios quiet = original;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_cc[VSUSP] = quiet.c_cc[VQUIT] = _POSIX_VDISABLE; /* they would leave the terminal without echo */
    changed = true;
    if (tcsetattr(tty, TCSAFLUSH, &quiet)) {
        changed = false;
        return PROMPT_END;
    }
    prompt_print("%s", question);
    prompt_result result = wait_for_key();
    if (result == PROMPT_OK) result = prompt_take_line(out->data, sizeof out->data);
    out->size = result == PROMPT_OK ? strlen(out->data) : 0;
    prompt_restore_terminal();
    prompt_print("\n");
    return result;
}

/* ---- words, with libedit ---- */

static prompt_result last_wait;

/* libedit's own reading goes on after a signal. */
static int read_key(EditLine *editor, wchar_t *key)
{
    unsigned char c;
    (void)editor;
    last_wait = wait_for_key();
    if (last_wait != PROMPT_OK || read(tty, &c, 1) != 1) return 0;
    *key = c;
    return 1;
}

static size_t matching(const char *prefix, size_t size, unsigned *first)
{
    size_t count = 0;
    for (unsigned i = 0; i < WORD_LIST_MAX && kith_word(i); i++) {
        if (strncmp(kith_word(i), prefix, size) != 0) continue;
        if (!count++) *first = i;
    }
    return count;
}

/* Tab: what all words that begin so go on with; several: they are listed. */
static unsigned char complete(EditLine *editor, int key)
{
    const LineInfo *line = el_line(editor);
    const char *start = line->cursor;
    char prefix[COMPLETION_PREFIX], add[COMPLETION_PREFIX] = "";
    unsigned first = 0;
    (void)key;
    while (start > line->buffer && isalpha((unsigned char)start[-1])) start--;
    size_t size = (size_t)(line->cursor - start);
    if (size == 0 || size >= sizeof prefix) return CC_ERROR;
    for (size_t i = 0; i < size; i++) prefix[i] = (char)tolower((unsigned char)start[i]);
    size_t count = matching(prefix, size, &first);
    if (count == 0) return CC_ERROR;
    size_t common = strlen(kith_word(first));
    for (unsigned i = 1; i < count; i++)
        while (strncmp(kith_word(first + i), kith_word(first), common) != 0) common--;
    snprintf(add, sizeof add, "%.*s%s", (int)(common - size), kith_word(first) + size, count == 1 ? " " : "");
    if (*add) return el_insertstr(editor, add) ? CC_ERROR : CC_REFRESH;
    prompt_print("\n");
    for (unsigned i = 0; i < count && i < CANDIDATES_SHOWN; i++) prompt_print("%s ", kith_word(first + i));
    prompt_print(count > CANDIDATES_SHOWN ? "...\n" : "\n");
    return CC_REDISPLAY;
}

static const char *question_shown;
static char *show_question(EditLine *editor)
{
    static char text[PROMPT_LINE];
    (void)editor;
    snprintf(text, sizeof text, "%s", question_shown);
    return text;
}

/* libedit shows its question before it takes the terminal out of line mode: what is typed in between would be lost. */
static void leave_line_mode(void)
{
    struct termios keys = original;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    changed = true;
    tcsetattr(tty, TCSADRAIN, &keys);
}

/* One for all questions of the process: libedit does not give back all its memory. */
static EditLine *open_editor(void)
{
    static EditLine *editor;
    if (editor) return editor;
    FILE *in = fopen("/dev/tty", "re"), *screen = fopen("/dev/tty", "we");
    if (in && screen) editor = el_init("kith", in, screen, screen);
    if (!editor) {
        if (in) fclose(in);
        if (screen) fclose(screen);
        return NULL;
    }
    el_set(editor, EL_PROMPT, show_question);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_GETCFN, read_key);
    el_set(editor, EL_ADDFN, "kith-complete", "complete a word", complete);
    el_set(editor, EL_BIND, "^I", "kith-complete", NULL);
    return editor;
}

prompt_result prompt_words(const char *question, char *line, size_t size)
{
    int count = 0;
    out_status("");
    EditLine *editor = out()->plain ? NULL : open_editor();
    if (!editor) return prompt_line(question, line, size);
    question_shown = question;
    leave_line_mode();
    const char *typed = el_gets(editor, &count);
    if (typed && count > 0) snprintf(line, size, "%.*s", (int)strcspn(typed, "\n"), typed);
    el_set(editor, EL_PREP_TERM, 0);
    prompt_restore_terminal();
    if (typed && count > 0) return PROMPT_OK;
    prompt_print("\n");
    return last_wait == PROMPT_OK ? PROMPT_END : last_wait;
}
