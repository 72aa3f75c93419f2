/* What the command says: what was asked for goes to standard output (as text, or with --json as one object a line),
 * everything else to standard error. */
#ifndef KITH_CLI_OUTPUT_H
#define KITH_CLI_OUTPUT_H

#include <jansson.h>
#include <kith/kith.h>
#include <stdbool.h>

#define OUT_NAME 256 /* a name made printable, cut to fit */
/* With the sentence that came. */
#define OUT_REVOKED                                                                                                    \
    "%s; your other devices do not let it in any more (to use it again: a new identity in an empty home, paired "      \
    "anew; "                                                                                                           \
    "if it was a thief's doing: \"kith revoke --recovery\", of the stolen device)"
/* With the other one's address. */
#define OUT_TWIN                                                                                                       \
    "another machine, at %s, announces this device's identity: its home was copied, and the two take each other's "    \
    "connections; keep one of them (\"kith doctor\" says how)"
#define OUT_SIZE 32

typedef struct out_mode {
    bool json, plain, quiet;
    bool colour;         /* allowed, and standard error is a terminal */
    bool error_terminal; /* standard error is a terminal on which things may be drawn */
    bool utf8;
    int verbose;
} out_mode;

/* From the arguments as they are, before they are parsed, and the environment: errors of parsing are to be said right,
 * too. */
void out_start(int argc, char **argv);
const out_mode *out(void);

/* A line of what was asked for; nothing with --json. */
void out_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An event; takes the object.  Nothing without --json. */
void out_event(json_t *object);
/* A message to people; nothing with --quiet or --json. */
void out_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A message that --quiet and --json do not suppress. */
void out_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* This device is revoked, as `message` says: a warning, and an event. */
void out_revoked(const char *message);
/* What went wrong and what to do; returns `status`, which is also the JSON event's code. */
int out_error(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same from a call's problem. */
int out_problem(kith_err err, const char *message);
/* A line that the next one replaces; only where things may be drawn, and cut to the terminal's width.  "" removes it.
 */
void out_status(const char *line);
/* From the node's thread too. */
void out_log(void *user, kith_level level, const char *line);
/* Standard output cannot be written any more. */
bool out_broken(void);
/* Flush; false when something could not be written. */
bool out_finish(void);

/* Text of somebody else's choosing, made printable; returns `to`. */
char *out_name(const char *text, char *to, size_t size);
unsigned out_columns(void);                                             /* of the terminal */
size_t out_fitting(const char *text, unsigned columns);                 /* how many of its bytes fit */
char *out_bytes(double bytes, char to[OUT_SIZE]);                       /* "1.2 MiB" */
char *out_ago(int64_t then_ms, char to[OUT_SIZE]);                      /* "2 minutes ago" */
char *out_time(int64_t at_ms, char to[OUT_SIZE]);                       /* RFC 3339, UTC */
char *out_group(const char *hex, size_t digits, char *to, size_t size); /* "1f2e 3d4c ..." */
/* A string for JSON of text that may not be UTF-8. */
json_t *out_json_text(const char *text);
json_t *out_json_time(int64_t at_ms); /* null for 0 */
json_t *out_json_device(const kith_device_info *device);
const char *out_relation(kith_relation relation);

/* That the paper of a code is no good any more (kith_recovery_info's ended), as a line's text: *out is "" where none
 * is; returns it.  And as JSON: null where none is. */
#define OUT_ENDED_SIZE 384
const char *out_ended_code(const kith_recovery_info *r, char out[static OUT_ENDED_SIZE]);
json_t *out_json_ended_code(const kith_recovery_info *r);

#endif
