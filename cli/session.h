/* What most subcommands begin with: which home, which password; then a node, and waiting for what it says. */
#ifndef KITH_CLI_SESSION_H
#define KITH_CLI_SESSION_H

#include "clock.h"
#include "options.h"
#include "prompt.h"
#include "relays.h"

#include <kith/kith.h>
#include <stdint.h>

typedef struct session session;

typedef struct session_handler {
    void (*event)(session *s, const kith_event *event);
    /* A line typed at the terminal; asked for only while `session_listen` is on.  NULL: the terminal's input ended. */
    void (*line)(session *s, const char *line);
    /* The operation ended: true when another one goes on in its place (s->op).  NULL: never. */
    bool (*end)(session *s, const kith_event *event);
    void (*tick)(session *s); /* about once a second; NULL: not needed */
    /* What other operations of the node say; NULL: nobody wants to know. */
    void (*other)(session *s, const kith_event *event);
    const char *go_on; /* what to do after an interruption */
    bool stays;        /* which is how it ends well */
} session_handler;

typedef enum stop_reason { STOP_NOT, STOP_DONE, STOP_INTERRUPT, STOP_TIMEOUT, STOP_OUTPUT, STOP_STATUS } stop_reason;

struct session {
    const cli_args *args;
    char home[4096];
    kith_node *node;
    bool attached; /* to `kith up` */
    kith_op op;
    const session_handler *handler;
    void *user;
    bool no_input, listening;
    bool asked;           /* a question stands there without its answer */
    uint64_t deadline_ns; /* of --timeout; 0: none */
    unsigned long timeout_s;
    uint64_t until_ns; /* end well then; 0: not by time */
    uint64_t tick_ns;  /* between ticks; 0: a second */
    kith_level log_level;
    bool logging;
    const char *listen;
    const char *password_file; /* where none is named; NULL: none */
    relays relays;
    /* why the operation was told to stop */
    stop_reason stop;
    int stop_status; /* STOP_STATUS: and it was said already */
    uint64_t stop_ns;
};

/* Each returns 0 or the exit status, which it has said. */
int session_start(session *s, const cli_args *args); /* settings; no node yet */
/* The first line of an open file, without its end, and read byte by byte: what follows on standard input is somebody
 * else's.  `name` and `what` ("a password") say what is wrong with it. */
int session_first_line(const session *s, int fd, const char *name, const char *what, char *line, size_t room,
                       size_t *size);
/* The next line, which may be empty; -1: it is the last, and the file's end is read. */
int session_line(const session *s, int fd, const char *name, const char *what, char *line, size_t room, size_t *size);
/* A file whose first line is wanted, open for session_first_line; close it.  `kind` ("password file") says which cannot
 * be opened, `cure` what to do then ("name another").  A pipe that nobody writes into yet is waited for there, where
 * Ctrl-C and --timeout end it. */
int session_open_file(const char *path, const char *kind, const char *cure, int *fd);
/* From the file, or asked for (twice when it is new), to be used at once: a terminal shows that a key is worked out of
 * it until something else is said. */
int session_password(session *s, bool is_new, secret *out);
/* The same, not new, asked for in these words. */
int session_password_named(session *s, const char *question, secret *out);
/* Was it a password that a person typed wrong, not for the last time?  Then they are told; `tries` begins at 0. */
bool session_try_again(const session *s, kith_err err, int *tries);
int session_new_password(session *s, secret *out); /* the same from --new-password-file, or asked for twice */
/* To the node of `kith up`.  -1, and nothing is said: none runs.  One that hangs is waited for as long as --timeout
 * allows, and Ctrl-C ends the command meanwhile. */
int session_daemon(session *s);
/* The same; -1 also where the options ask for a node of its own. */
int session_attach(session *s);
int session_open(session *s);                        /* the same, else a node with its keys; asks for the password */
int session_open_own(session *s);                    /* a node with its keys, whatever runs */
int session_open_with(session *s, secret *password); /* the same with a password that is there; wipes it */
int session_look(session *s);                        /* attached, else a node without keys; an error is not said */
int session_open_without(session *s);                /* the same; it is said */
bool session_names_password(const session *s);       /* a file, by an option, the environment or a setting */
bool session_has_password(const session *s);         /* one is named, or may be asked for */
void session_close(session *s);

bool session_may_ask(const session *s);
int session_cannot_ask(const session *s, const char *option);
int session_gave_up(const session *s, const char *go_on); /* as --timeout says */
/* Print a question; the answer comes to handler->line.  Drops what was typed before. */
void session_ask(session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What is said next begins a line, when a question stands there. */
void session_leave_question(session *s);
void session_listen(session *s, bool on);
void session_answer(session *s, kith_op question, bool yes);

/* Wait for the operation s->op to end; the exit status, said. */
int session_run(session *s, const session_handler *handler, void *user);
/* A call that begins an operation and its waiting; `err` is what the call said. */
int session_begin(session *s, kith_err err, const session_handler *handler, void *user);
void session_stop(session *s, stop_reason why, int status);

/* This device is revoked: that is said, with what to do about it, and the command goes on.  Nothing when it is not, or
 * has no identity yet; a home that cannot be read is for what follows to say. */
void session_warn_revoked(const session *s);

int session_find(session *s, const char *text, kith_device_info *device);

/* Whether the recovery code's paper is no good any more is said, to people. */
void session_warn_code(const session *s);

#endif
