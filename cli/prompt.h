/* Questions to the person at the terminal (/dev/tty, whatever the standard streams are). */
#ifndef KITH_CLI_PROMPT_H
#define KITH_CLI_PROMPT_H

#include <kith/kith.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_MAX  1024
#define PROMPT_LINE 512

typedef struct secret {
    size_t size;
    char data[SECRET_MAX + 1];
} secret;

void secret_init(secret *s); /* keeps it out of the swap where that is allowed */
void secret_done(secret *s); /* wiped */

/* There is somebody to ask. */
bool prompt_possible(void);
/* Is this process in the foreground of its terminal?  If not, reading would stop it. */
bool prompt_in_front(void);
int prompt_fd(void);
/* False: it is not there to be seen. */
bool prompt_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Drop what was typed before the question stood there. */
void prompt_forget_typed(void);

typedef enum prompt_result {
    PROMPT_OK,
    PROMPT_END /* Ctrl-D, or the terminal is gone */,
    PROMPT_INTERRUPTED,
    PROMPT_TIMEOUT
} prompt_result;

/* What waits here waits no longer than until then (clock.h); 0: for ever. */
void prompt_until(uint64_t deadline_ns);
/* Until there is something to read, or the end of it. */
prompt_result prompt_wait(int fd);
/* After poll says that prompt_fd is readable: the line without its end. */
prompt_result prompt_take_line(char *line, size_t size);
/* Ask and wait. */
prompt_result prompt_line(const char *question, char *line, size_t size);
prompt_result prompt_password(const char *question, secret *out); /* with echo off */
/* Words of a code, with Tab completion where the terminal can do that. */
prompt_result prompt_words(const char *question, char *line, size_t size);
void prompt_restore_terminal(void); /* from a signal handler too */

#endif
