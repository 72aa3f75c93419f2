/* Codes that a person types: pairing codes of six words, recovery codes of 24.  From arguments, from --code-file, or
 * asked for with Tab completion. */
#ifndef KITH_CLI_TYPED_CODE_H
#define KITH_CLI_TYPED_CODE_H

#include "session.h"

#define TYPED_MAX 512 /* bytes of a code as it is typed */

typedef struct code_kind {
    const char *what;     /* "the six words" */
    const char *question; /* on the terminal */
    const char *go_on;    /* what an interruption leaves */
    size_t words;
    kith_err (*check)(const char *text, char *out, kith_problem *problem);
    size_t size; /* of what `check` fills */
} code_kind;

extern const code_kind recovery_code_kind;

/* Each returns 0 or an exit status, said already. */
/* The code as it was given: the command's words (where it takes such) or --code-file; "" when it is to be asked for. */
int code_given(const session *s, const code_kind *kind, const char *const *words, size_t count, char *text,
               size_t size);
int code_check(const code_kind *kind, const char *text, char *out);
/* Asks until the code is one; several lines may hold it. */
int code_ask(const session *s, const code_kind *kind, char *code);
/* All of it for a recovery code, which no argument may hold. */
int code_recovery(const session *s, char out[KITH_RECOVERY_TEXT]);

/* Whether there is a place where a new recovery code would be seen, and by whom it is meant to be: the terminal, or a
 * program that reads JSON. */
bool code_can_show(void);
/* Show it there; with --json it is the caller's event that holds it.  Then it may be put in force: 0, else it may not,
 * since somebody has to have seen it, and the exit status, said. */
int code_show(const char *words);
bool code_show_words(const char *words); /* the same; false: nobody has seen it */
/* What was shown could not be put in force, for this reason; the exit status, said. */
int code_void(kith_err err, const char *message, const char *what_counts);

#endif
