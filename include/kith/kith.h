/* libkith: a person's own devices, and the people they know, as one network.
 *
 * A *home* is the data folder of this device's identity.  A *node* is a running instance of it: it finds the other
 * devices, pairs, pings, sends and receives files, and connects applications.  A node has a thread of its own; every
 * function here may be called from any thread, returns at once unless it says "blocks", and what comes of it arrives as
 * events: kith_next_event takes them, kith_fd is readable while there are any.
 *
 *     kith_options options = {.size = sizeof options, .home = home, .password = password, .password_size = size};
 *     if (kith_open(&options, &node, &problem)) die(problem.message);
 *
 *     if (kith_send_file(node, device_id, "/home/me/film.mkv", NULL, &op)) die("no memory");
 *
 *     while (kith_wait_event(node, -1, &event) && !(event.kind == KITH_EVENT_END && event.op == op)) show(&event);
 *
 * Who looks for the names of the design: connect is kith_connect; send and receive are kith_send_message and MESSAGE;
 * send_file is kith_send_file and waiting for its END, share_file the same without waiting; receive_file is
 * kith_receive_file; remote_device and is_connected are kith_remote_device and kith_is_connected.  docs/embedding.md
 * has the whole table.
 *
 * What a call is given (text, options, passwords, messages) is copied where it is needed longer: the caller may release
 * it when the call returns.  A NULL is answered with ARG (false, 0, -1 by functions that answer with no kith_err) where
 * it is not said that it may be, and so is a `size` that was not set.  Outputs belong to the caller and, on failure,
 * are as they were, except kith_problem, which then says why.
 *
 * Text is UTF-8 with a NUL.  What a peer chose (names) is checked to be UTF-8 without control characters except file
 * names, which are data: print those through kith_printable_name.  Structures whose first member is `size` must have it
 * set to sizeof: that is how they grow, whichever of program and library is the older one (to a library that does not
 * know what an option asks for that is ARG); the others stay as they are while the soname does. */
#ifndef KITH_KITH_H
#define KITH_KITH_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- constants and what is shared ---- */
#define KITH_ID_TEXT          37   /* a UUID's text and NUL */
#define KITH_FINGERPRINT_TEXT 65   /* 64 hex digits and NUL */
#define KITH_NAME_TEXT        65   /* a device's name, at most 64 bytes, and NUL */
#define KITH_WORDS            6    /* of a pairing code */
#define KITH_WORDS_TEXT       64   /* "a b c d e f" and NUL */
#define KITH_RECOVERY_WORDS   24   /* of a recovery code */
#define KITH_RECOVERY_TEXT    216  /* its words and blanks and NUL */
#define KITH_FILE_NAME_TEXT   1025 /* a file's name, at most 1,024 bytes, and NUL */
#define KITH_HASH_TEXT        65   /* BLAKE3, hex */
#define KITH_PATH_NAME_MAX    4096 /* where a file is, with NUL */
#define KITH_DIGITS_TEXT      72   /* 12 groups of 5 digits, blanks between, and NUL */
#define KITH_SERVICE_TEXT     16   /* a service's name and NUL */
#define KITH_SETTING_TEXT     4352 /* what a setting is, and NUL */

/* The version of the library that runs ("0.1.0"): static, not to be released. */
KITH_API const char *kith_version(void);

/* What went wrong and what to do about it, in a sentence for people ("" when there is nothing to say). */
typedef struct kith_problem {
    kith_err err;
    char message[640];
} kith_problem;

/* Whose the other device is: one's own, or somebody else's. */
typedef enum kith_relation { KITH_RELATION_OWN = 1, KITH_RELATION_CONTACT = 2 } kith_relation;

/* A device as this home knows it. */
typedef struct kith_device_info {
    char id[KITH_ID_TEXT];
    char name[KITH_NAME_TEXT];                               /* this home's name for it, unique here */
    char fingerprint[KITH_FINGERPRINT_TEXT];                 /* BLAKE3 of id and public key */
    char os[KITH_NAME_TEXT], hardware_model[KITH_NAME_TEXT]; /* as it said of itself; "": not said */
    kith_relation trust;                                     /* 0 for this device itself and for strangers */
    bool verified;  /* the words of a code proved its key, or people compared the digits (kith_mark_verified) */
    bool first_use; /* pinned as it was seen first (kith_trust), and not by a code since */
    int64_t added_ms, last_seen_ms; /* since 1970 UTC; 0: never */
} kith_device_info;

/* ---- the home: these block (disk; those with a password also derive a key, about 0.1 s) and need no node ----
 * Each fails with NOMEM; with NO_IDENTITY before kith_init; with what the disk says: IO, NO_SPACE, PERMISSION, NO_FILE;
 * and with what is wrong with a file of the home, which stays as it is: DAMAGED, VERSION, EXPOSED.  *problem has the
 * sentence that names the file and says what to do. */
/* What kith_init makes; only `size` and the password are needed. */
typedef struct kith_init_options {
    size_t size;
    const char *name; /* what the device is called; NULL: the host's name */
    const void *password;
    size_t password_size;
    /* No recovery code: for a device that is about to join one's others, whose code is then its, too. */
    bool no_recovery;
    /* The application's own device.json (an absolute path), which says who this device is: it is read and never
     * written, and the home remembers where it is.  NULL: the home has its own. */
    const char *device_file;
} kith_init_options;
/* What came of it: the caller's memory, of which `size` must be set. */
typedef struct kith_init_result {
    size_t size;
    kith_device_info self;
    bool created; /* else there was an identity, and nothing changed */
    /* The recovery code, said this once and kept nowhere: show it to the person, to be written down, and wipe it.  ""
     * when there is none. */
    char recovery_code[KITH_RECOVERY_TEXT];
} kith_init_result;
/* Make this device's identity in `home` (made if missing).  There already: result->created = false, nothing changes and
 * the password is not looked at.  ARG: the name is longer than 63 bytes or has control characters, the password is
 * empty, a `size` is wrong, or `device_file` is no absolute path. */
KITH_API KITH_MUST_CHECK kith_err kith_init(const char *home, const kith_init_options *options,
                                            kith_init_result *result, kith_problem *problem);
/* This device, from what needs no password. */
KITH_API KITH_MUST_CHECK kith_err kith_self(const char *home, kith_device_info *self, kith_problem *problem);
/* The other devices, in the order they were added: an array of *count to release with kith_free_devices (NULL is fine),
 * also when there are none. */
KITH_API KITH_MUST_CHECK kith_err kith_devices(const char *home, kith_device_info **devices, size_t *count,
                                               kith_problem *problem);
KITH_API void kith_free_devices(kith_device_info *devices);
/* The device that `text` means: its UUID, its name, or a unique prefix (4 digits or more) of its UUID or fingerprint,
 * tried in that order.  NOT_FOUND; AMBIGUOUS (problem.message names the candidates). */
KITH_API KITH_MUST_CHECK kith_err kith_find(const char *home, const char *text, kith_device_info *device,
                                            kith_problem *problem);
/* A new local name for the device of this id; a clash becomes "name-2": what it became is in *device.  This device's
 * own id: it calls itself so, which its other devices hear once a node runs again.  ARG: not an id, or no name of 1 to
 * 63 bytes without control characters; NOT_FOUND: not paired here. */
KITH_API KITH_MUST_CHECK kith_err kith_rename(const char *home, const char *id, const char *name,
                                              kith_device_info *device, kith_problem *problem);
/* The contact of this id is a stranger from now on: running nodes of this home refuse it, too.  ARG: not an
 * id; NOT_FOUND: not paired here; STATE: it is an own device, which is revoked (kith_revoke), on all devices at once.
 */
KITH_API KITH_MUST_CHECK kith_err kith_forget(const char *home, const char *id, kith_problem *problem);

/* The 60 digits that two people compare, each on the own screen: they are the same when each device knows the right key
 * of the other.  ARG: not an id; NOT_FOUND: not known here. */
KITH_API KITH_MUST_CHECK kith_err kith_verify_digits(const char *home, const char *id, char digits[KITH_DIGITS_TEXT],
                                                     kith_problem *problem);
/* People compared them: they were the same (true), or not.  Errors as above. */
KITH_API KITH_MUST_CHECK kith_err kith_mark_verified(const char *home, const char *id, bool verified,
                                                     kith_problem *problem);

/* What a device may do here.  To ask: the application is asked (files: OFFER), or it is as kith_serve_options.contacts
 * says (talk). */
typedef enum kith_permission {
    KITH_PERMISSION_DEFAULT, /* what the table says for own devices, or for contacts */
    KITH_PERMISSION_DENY,
    KITH_PERMISSION_ASK,
    KITH_PERMISSION_ALLOW
} kith_permission;
/* One service, for one device: what was said of it, and what counts (never KITH_PERMISSION_DEFAULT). */
typedef struct kith_permit_info {
    char service[KITH_SERVICE_TEXT]; /* "ping", "file", "talk" */
    kith_permission said, effective;
} kith_permit_info;
/* Services there can be, at most. */
#define KITH_PERMITS_MAX 16
/* Say what the device of this id may do with a service, whatever its kind may; KITH_PERMISSION_DEFAULT takes it back.
 * Running nodes of this home keep to it at once: what is denied ends.  ARG: not an id, no such service, or "ping" with
 * KITH_PERMISSION_ASK; NOT_FOUND. */
KITH_API KITH_MUST_CHECK kith_err kith_permit(const char *home, const char *id, const char *service,
                                              kith_permission permission, kith_problem *problem);
/* All services and what is said of them for the device, into out[0..cap), *count of them; KITH_PERMITS_MAX are
 * enough. */
KITH_API KITH_MUST_CHECK kith_err kith_permits(const char *home, const char *id, kith_permit_info *out, size_t cap,
                                               size_t *count, kith_problem *problem);

/* A setting that a home's config.json may have: what is so for good, where a call or a command does not say
 * otherwise. */
typedef struct kith_setting {
    const char *key;      /* "relay", "listen" ...: kith-config(1) lists them */
    const char *about;    /* what it is, for people */
    const char *allowed;  /* what it may be, for people: "yes or no" */
    const char *choices;  /* the words that it may be, "yes|no", or that are known of it; "": none */
    const char *standard; /* what counts when it is not set; "": that depends */
} kith_setting;
/* The i-th setting there can be; NULL beyond.  Static, not to be released. */
KITH_API const kith_setting *kith_setting_at(unsigned i);
/* What a setting of the home is: as it is set (*set), else its standard.  Several relays have a blank between.  Needs
 * no identity.  ARG: no such setting. */
KITH_API KITH_MUST_CHECK kith_err kith_config_get(const char *home, const char *key, char value[KITH_SETTING_TEXT],
                                                  bool *set, kith_problem *problem);
/* Set it, in a home that is made if missing; NULL: it is not set any more.  Nodes that begin from then on keep to it.
 * Relays may be separated by blanks or commas; where others than before are set, or none any more, relay-token-file is
 * not set any more either: no relay is shown another one's token.  ARG: no such setting, or the value is no good for
 * it: problem.message says what is. */
KITH_API KITH_MUST_CHECK kith_err kith_config_set(const char *home, const char *key, const char *value,
                                                  kith_problem *problem);

/* What kith_change_password is given; `size`, the new password (but see `check`), and the old one or the code are
 * needed. */
typedef struct kith_password_change {
    size_t size;
    const void *old_password;
    size_t old_password_size;
    const char *recovery_code; /* NULL: the old password is known */
    const void *new_password;
    size_t new_password_size;
    bool check; /* change nothing, and look at no new password: only say whether the old one, or the code, is right */
} kith_password_change;
/* Change this device's password: `old_password` opens the keys, or `recovery_code` does (its words; then the old one is
 * not looked at).  Running nodes go on.  PASSWORD; CODE: not the code in force, or no code at all, and the problem says
 * which word is wrong; STATE: there is no code, or this device has deposited nothing for it; ARG: the new password is
 * empty, or a wrong `size`. */
KITH_API KITH_MUST_CHECK kith_err kith_change_password(const char *home, const kith_password_change *change,
                                                       kith_problem *problem);

/* How the recovery code stands with this device; `size` must be set. */
typedef struct kith_recovery_info {
    size_t size;
    bool exists;        /* there is a code */
    bool deposited;     /* it opens this device's keys */
    int64_t created_ms; /* when the code was made, since 1970 UTC */
    uint32_t devices;   /* own devices whose keys it opens, this one included */
    /* A new code that was made without the old one, and waits for this or another device to agree: who made it, when.
     */
    bool waiting;
    char waiting_by[KITH_NAME_TEXT];
    int64_t waiting_ms;
    char waiting_id[KITH_HASH_TEXT]; /* which: kith_recovery_accept wants it; "": none waits */
    /* More than one device made one, so that one may be a thief's: revoke it.  This is the one let in first. */
    bool waiting_several;
    /* A code that was in force here is not any more, and its paper opens nothing: who made it, when.  `ended_waits`: it
     * is again when all own devices have agreed (a new one has to); else make another. */
    bool ended, ended_waits;
    char ended_by[KITH_NAME_TEXT];
    int64_t ended_ms;
} kith_recovery_info;
/* Fill it in, which needs no password.  ARG: a wrong `size`. */
KITH_API KITH_MUST_CHECK kith_err kith_recovery(const char *home, kith_recovery_info *info, kith_problem *problem);

/* How kith_recovery_new goes about it; `size` and the password are needed. */
typedef struct kith_recovery_options {
    size_t size;
    const void *password;
    size_t password_size;
    const char *old_code; /* the words of the code in force; NULL: there is none, or it is `lost` */
    bool lost;            /* the code in force is: all own devices have to agree */
    /* Change nothing: say only whether it can be done, and draw a code.  That is to be shown, and then to be
     * `new_code`, so that no code is ever in force that nobody has seen. */
    bool check;
    const char *new_code; /* the words of the new code; NULL: one is drawn */
} kith_recovery_options;
/* What comes of kith_recovery_new; `size` must be set. */
typedef struct kith_recovery_result {
    size_t size;
    char recovery_code[KITH_RECOVERY_TEXT]; /* show it, and wipe it */
    bool in_force; /* it is (or will be: `check`), else once every other own device has agreed */
} kith_recovery_result;
/* A new recovery code: the old one is good for nothing from then on.  Other devices hear of it when they meet this one,
 * and deposit their keys anew.  PASSWORD; CODE: not the code in force, or none was given and it is not said to be lost;
 * STATE: one was given and there is none; REVOKED: this device was; ARG: a wrong `size`. */
KITH_API KITH_MUST_CHECK kith_err kith_recovery_new(const char *home, const kith_recovery_options *options,
                                                    kith_recovery_result *result, kith_problem *problem);
/* Agree to the new code that waits, `id`, when a person was shown whose it is (kith_recovery): *in_force when this was
 * the last consent.  PASSWORD; NOT_FOUND: none waits, or another; ARG: not an id, or several devices made one;
 * REVOKED. */
KITH_API KITH_MUST_CHECK kith_err kith_recovery_accept(const char *home, const char *id, const void *password,
                                                       size_t password_size, bool *in_force, kith_problem *problem);

/* How kith_revoke goes about it; `size` and the password are needed. */
typedef struct kith_revoke_options {
    size_t size;
    const void *password;
    size_t password_size;
    const char *why;           /* for the others and itself to read, at most 63 bytes; NULL: "" */
    const char *recovery_code; /* the words of the code in force: the device's own word against this one's counts no
                                  more.  NULL: without */
    /* With the code: as in kith_recovery_options. */
    bool check;
    const char *new_code;
} kith_revoke_options;
/* The own device of this id is none any more, here at once, and on each other own device when it meets one that knows:
 * a running node of this home tells those it is connected to.  Its connections end, and it is told why.  Of two that
 * revoke each other the one that was let in earlier wins; with the recovery code the one that has it, and what the
 * revoked device revoked is in again.  Then there is a new code: *result (not NULL) has it.  Its key does not come
 * back. PASSWORD; CODE; NOT_FOUND: no own device; ARG: not an id, or this device; STATE: there is no recovery code;
 * REVOKED: this device was. */
KITH_API KITH_MUST_CHECK kith_err kith_revoke(const char *home, const char *id, const kith_revoke_options *options,
                                              kith_recovery_result *result, kith_problem *problem);

#define KITH_REVOKED_TEXT 256 /* bytes of what kith_revoked says, with the NUL */
/* Is this device one of the person's own any more?  *message is "" then, else a sentence for people without its full
 * stop: by whom it was revoked, when and why.  The home's own files say so, by records that were verified when they
 * came; other devices hand them to one that they refuse. */
KITH_API KITH_MUST_CHECK kith_err kith_revoked(const char *home, char message[KITH_REVOKED_TEXT],
                                               kith_problem *problem);

/* What a record of the history says.  It has them in an order in which each stands after those its author knew. */
typedef enum kith_history_kind {
    KITH_HISTORY_FOUND = 1, /* the first device */
    KITH_HISTORY_ADMIT,     /* signer let device in */
    KITH_HISTORY_REVOKE,    /* signer revoked device: why */
    KITH_HISTORY_DESCRIBE,  /* signer is called `name` now */
    KITH_HISTORY_DEPOSIT,   /* signer left its key for the recovery code */
    KITH_HISTORY_RESET,     /* with the recovery code: `count` devices are in, and a new code is */
    KITH_HISTORY_REPLACE,   /* signer made a recovery code without the old one */
    KITH_HISTORY_ACCEPT     /* and signer agrees */
} kith_history_kind;
/* Whether a record of the history counts, and why not. */
typedef enum kith_history_state {
    KITH_HISTORY_GOOD = 1,
    KITH_HISTORY_WAITING,       /* for others to agree */
    KITH_HISTORY_VOID_STRANGER, /* its signer was not let in by then */
    KITH_HISTORY_VOID_REVOKED,  /* its signer was revoked by the record void_by */
    KITH_HISTORY_VOID_RESET,    /* the recovery code was used without knowing of it: void_by */
    KITH_HISTORY_VOID_KEY       /* of a recovery code that was not in force */
} kith_history_state;
/* A record of the history.  Names are as the devices say them last. */
typedef struct kith_history_record {
    char id[KITH_HASH_TEXT];
    kith_history_kind kind;
    kith_history_state state;
    char void_by[KITH_HASH_TEXT]; /* the id of a record; "": none in particular */
    int64_t time_ms;              /* as its signer's clock said: proves nothing */
    char signer[KITH_NAME_TEXT], signer_id[KITH_ID_TEXT];
    char device[KITH_NAME_TEXT], device_id[KITH_ID_TEXT]; /* "": none */
    char name[KITH_NAME_TEXT];
    char why[KITH_NAME_TEXT];
    uint32_t count;
} kith_history_record;
/* All of it, with every signature verified: an array of *count to release with kith_free_history.  DAMAGED: one is
 * wrong. */
KITH_API KITH_MUST_CHECK kith_err kith_history(const char *home, kith_history_record **records, size_t *count,
                                               kith_problem *problem);
KITH_API void kith_free_history(kith_history_record *records); /* NULL is fine */

/* Write an encrypted backup of this home into the new file `path` (mode 0600, nothing is overwritten): with it and the
 * password of now, or the recovery code of now, the device can be restored.  PASSWORD; EXISTS; what the disk says of
 * `path`. */
KITH_API KITH_MUST_CHECK kith_err kith_backup(const char *home, const char *path, const void *password,
                                              size_t password_size, kith_problem *problem);

/* How kith_restore goes about it; only `size`, `path` and the password are needed. */
typedef struct kith_restore_options {
    size_t size;
    const char *path; /* what kith_backup wrote */
    /* What the device's password was at that time; with a recovery code: its new one. */
    const void *password;
    size_t password_size;
    const char *recovery_code; /* in place of the old password; NULL */
    /* Another own device that the backup's device knew, to be restored in its place: its id, or its name there.  Needs
     * the recovery code.  NULL: the device that was backed up. */
    const char *device;
    bool check; /* change nothing, leave *self, and look at no new password: only say whether it can be done */
} kith_restore_options;
/* Bring a device back into a home without an identity (made if missing).  Others notice nothing: it has the same id and
 * keys.  The device that they are restored on must be the only one to use them.  EXISTS: there is an identity; DAMAGED,
 * VERSION, PASSWORD, CODE, NO_FILE, PERMISSION: the backup; NOT_FOUND, AMBIGUOUS: `device`; STATE: the code does not
 * open that device's keys.  On failure the home is as it was. */
KITH_API KITH_MUST_CHECK kith_err kith_restore(const char *home, const kith_restore_options *options,
                                               kith_device_info *self, kith_problem *problem);

/* ---- the node ---- */
/* A running instance: kith_open makes it, kith_close releases it. */
typedef struct kith_node kith_node;
typedef uint64_t kith_op; /* names what a call started; never 0, never used twice by a node */

/* How much a node says to kith_options.log: the level and those before it. */
typedef enum kith_level { KITH_LOG_ERROR, KITH_LOG_WARN, KITH_LOG_INFO, KITH_LOG_DEBUG } kith_level;
/* Relays of one node, at most. */
#define KITH_OPTIONS_RELAYS_MAX 8
/* Whether kith_open attaches to a *daemon*, a node of this home that runs already and takes calls (kith_daemon; `kith
 * up` is one), rather than start a node in this process. */
typedef enum kith_daemon_use {
    KITH_DAEMON_NEVER,    /* a node in this process */
    KITH_DAEMON_IF_THERE, /* the daemon, else a node in this process */
    KITH_DAEMON_ONLY      /* the daemon, else NOT_FOUND */
} kith_daemon_use;
/* What kith_open begins with; only `size` and `home` are needed. */
typedef struct kith_options {
    size_t size;
    const char *home; /* kith_init has been there */
    /* The password that opens this device's keys.  NULL: only look around (kith_look); everything else then answers
     * with PASSWORD. */
    const void *password;
    size_t password_size;
    const char *listen; /* "ADDR:PORT"; NULL: as config.json says, else any address, a port picked */
    bool no_lan;        /* neither announce nor look on the local network; false: as config.json says, else it does */
    kith_level log_level;
    /* A line without newline, good while it runs, never a secret; NULL: silent.  Called from the node's thread, and
     * while kith_open runs from its caller's: it must neither wait for an event nor close the node, nor throw (C++). */
    void (*log)(void *user, kith_level level, const char *line);
    void *log_user;
    /* Relays ("wss://relay.example", "ws://..."), over which devices that are not near find each other; copied.  At
     * most KITH_OPTIONS_RELAYS_MAX; a count of 0: none are used, or, where `relays` is NULL, those of config.json. */
    const char *const *relays;
    size_t relay_count;
    const char *relay_token;   /* their operator's; NULL: for those of config.json what it says, else none */
    const char *relay_ca_file; /* PEM: authorities that may vouch for them besides the system's; NULL: none */
    /* As kith_init_options has it, when it is somewhere else now; NULL: where it was.  A running node asks each second
     * while somebody is connected whether it has changed, and reads it then, in the thread that runs the network: it
     * should lie on a local disk.  While a network's disk hangs, so does the node. */
    const char *device_file;
    /* With a daemon all that follows `home` is its own affair and not looked at: it has the keys, so no password is
     * needed. */
    kith_daemon_use daemon;
    unsigned daemon_patience_ms; /* for each step of its first words; 0: 5 seconds */
    /* Of what the home's config.json (kith_config_set) would say in place of what is left out above: */
    bool no_config; /* nothing is looked at */
    bool lan;       /* "lan" is not; `no_lan` counts */
} kith_options;

/* Start a node: *node is to be released with kith_close.  Blocks (disk, and with a password about 0.1 s of key
 * derivation). On failure *problem says what to do: PASSWORD: it is wrong; NO_IDENTITY: kith_init first; DAMAGED,
 * VERSION, EXPOSED, PERMISSION, NO_FILE, IO: the home's files; ADDRESS_IN_USE, NETWORK: `listen` cannot be had; ARG:
 * options of a wrong size, no home, no address, a relay's that is none; LIMIT: descriptors, relays; NOMEM.  With a
 * daemon: NOT_FOUND: none runs; UNSUPPORTED: it is of another version; TIMEOUT, LOST, PROTOCOL: it does not answer
 * well; PERMISSION: who answers is another user. */
KITH_API KITH_MUST_CHECK kith_err kith_open(const kith_options *options, kith_node **node, kith_problem *problem);
/* Ends what is under way (partial files are kept for later), says goodbye, joins the thread.  Blocks until the disk is
 * done with what it is at, and at most a second more.  NULL is fine.  No other call on this node may be under way
 * or follow, and none may come from `log`.  After a fork only the parent has the node. */
KITH_API void kith_close(kith_node *node);
/* A descriptor that is readable while there are events: for poll and the like, to be neither read nor closed.  The
 * node's; the same until kith_close. */
KITH_API int kith_fd(const kith_node *node);
/* Where the node listens: at most `cap` texts such as "192.0.2.7:53211"; returns how many there are. */
#define KITH_ADDRESS_TEXT 72 /* an address with port, as text, and NUL */
KITH_API size_t kith_addresses(kith_node *node, char (*out)[KITH_ADDRESS_TEXT], size_t cap);

/* ---- events ---- */
/* What happened, the calls that say it, and the members of kith_event that have more of it.  All others are 0 or "". */
typedef enum kith_event_kind {
    KITH_EVENT_END = 1,   /* op is over: err (KITH_OK or why), message */
    KITH_EVENT_CODE,      /* pair: the six words to say to the other person: words, expires_ms */
    KITH_EVENT_EXPIRING,  /* pair: the code ends in a minute */
    KITH_EVENT_ATTEMPT,   /* pair: somebody tried a wrong code: err */
    KITH_EVENT_ASK,       /* pair, join, pin: is this the right device?  device; answer with kith_answer(op) */
    KITH_EVENT_PAIRED,    /* pair, join, pin: device; already = it was paired before */
    KITH_EVENT_PONG,      /* ping: rtt_ns, path, scope, address */
    KITH_EVENT_SIGHTED,   /* look, nearby: device (look: known to this home) is on the local network: address.  Says
                             nothing about who it really is */
    KITH_EVENT_CONNECTED, /* send, connections: the device answered, at first and after each return: device, path,
                             address */
    KITH_EVENT_WAITING,   /* send, connections: the device went away; going on when it is back: err */
    KITH_EVENT_OFFER,     /* receive: transfer is offered by device, and is to be asked about: name (never with a "/"),
                             bytes_total; answer with kith_receive_file(transfer) or kith_answer(transfer) */
    KITH_EVENT_START,     /* send, receive: transfer begins: name, bytes_total, bytes = what was there from before.
                             daemon: programs can attach: path_name, the socket */
    KITH_EVENT_PROGRESS,  /* send, receive: bytes of bytes_total, at most 10 a second */
    KITH_EVENT_FILE, /* receive: whole, checked and in place: name, path_name, bytes_total, hash; already = an identical
                        file was there */
    KITH_EVENT_SENT, /* send: the receiver has it: hash, bytes_total, seconds */
    KITH_EVENT_FAILED,   /* receive: this transfer ended without success: err, message */
    KITH_EVENT_INCOMING, /* serve: a device has connected: transfer = the connection, device, name = the topic, path */
    KITH_EVENT_MESSAGE,  /* connections: the next whole message: data, data_size */
    KITH_EVENT_WRITABLE, /* connections: kith_send_message said AGAIN, and would not now */
    KITH_EVENT_DATAGRAM, /* connections: a datagram: data, data_size */
    KITH_EVENT_FINDING, /* doctor: check, state, message (how it is, or the cause), cure, result; and what was measured:
                           name, address, rtt_ns, bytes, skew_ms */
    KITH_EVENT_LIVE, /* look: this node is connected with device, who proved to be it: path, scope, address, rtt_ns */
    KITH_EVENT_TWIN, /* receive: another machine, at address, announces this device's own identity, as it does where the
                        home was copied.  (Anybody on the network can announce anything.) */
    KITH_EVENT_REVOKED, /* receive: this device is revoked (kith_revoked): message */
    KITH_EVENT_LOOKED,  /* look, nearby: who is on the local network has had the time to say so, and was reported.  Who
                           appears later is reported, too */
    KITH_EVENT_READY,   /* receive, serve: what comes is taken from now on (serve: name = the topic) */
} kith_event_kind;

/* How good a finding of kith_doctor is. */
typedef enum kith_finding {
    KITH_FINDING_GOOD = 1,
    KITH_FINDING_WARNING, /* it works, and would do better otherwise */
    KITH_FINDING_BAD,     /* it does not work */
    KITH_FINDING_UNKNOWN  /* it could not be told */
} kith_finding;
#define KITH_CHECK_TEXT  16  /* what was looked at, and NUL */
#define KITH_RESULT_TEXT 64  /* what was found, for programs, and NUL */
#define KITH_CURE_TEXT   384 /* a sentence and NUL */

/* The caller's memory, filled by kith_next_event; about 7 KiB. */
typedef struct kith_event {
    kith_event_kind kind;
    kith_op op;        /* what it belongs to */
    kith_op transfer;  /* receive: the one transfer of it */
    kith_err err;      /* why, or KITH_OK */
    char message[640]; /* for people: what happened and what to do */
    kith_device_info device;
    char words[KITH_WORDS_TEXT];
    int64_t expires_ms; /* since 1970 UTC */
    bool already;       /* it was so before */
    uint64_t rtt_ns;    /* there and back */
    char path[8];       /* "udp", "tcp", "relay" */
    char scope[16];     /* "lan", "internet", "relay" */
    char address[KITH_ADDRESS_TEXT];
    char name[KITH_FILE_NAME_TEXT];     /* as the sender says it: show it through kith_printable_name; or a topic */
    char path_name[KITH_PATH_NAME_MAX]; /* where the file is now */
    uint64_t bytes, bytes_total;        /* done, of */
    double seconds;                     /* that it took */
    char hash[KITH_HASH_TEXT];
    /* The node's memory, good until the same thread's next kith_next_event or kith_wait_event, or kith_close; never
     * NULL in a MESSAGE or DATAGRAM. */
    const void *data;
    size_t data_size;
    /* findings */
    kith_finding state;
    char check[KITH_CHECK_TEXT];   /* "udp", "mapping", "relay" ...: kith-doctor(1) lists them */
    char result[KITH_RESULT_TEXT]; /* a word for programs, such as "endpoint-independent"; "": the state says all */
    char cure[KITH_CURE_TEXT];     /* what to do about it; "": nothing */
    int64_t skew_ms;               /* this device's clock against a relay's: positive when ours is ahead */
} kith_event;

/* The next event; false when there is none now.  Never blocks.  Progress that was not read is brought up to date
 * instead of queued again; when KITH_EVENTS_MAX wait, what comes then is lost, except END and what connections bring
 * (INCOMING, MESSAGE, WRITABLE), which has bounds of its own. */
#define KITH_EVENTS_MAX 4096
KITH_API bool kith_next_event(kith_node *node, kith_event *event);
/* The same, but blocks until there is one or `timeout_ms` have passed (then false); negative: without end.  Any number
 * of threads may wait; each event goes to one of them. */
KITH_API bool kith_wait_event(kith_node *node, int timeout_ms, kith_event *event);

/* ---- what a node does: each returns KITH_OK and *op, and ends with one END event; or ARG (NULL where something is
 * needed, options of a wrong size) or NOMEM, and nothing begins ----
 * Options may be NULL where all of them have defaults.  END's err is KITH_OK, CANCELLED (kith_cancel, kith_close), or
 * why it could not be done; of any call PASSWORD (the node was opened without), LIMIT (too many at once) and NOMEM. */
/* How kith_pair and kith_join go about it; NULL: all 0. */
typedef struct kith_pair_options {
    size_t size;
    bool contact;         /* the other device is somebody else's */
    uint32_t expires_s;   /* pair: how long the code is good, 0: 300; join: how long who shows it is looked for, 0: 30;
                             at most 3,600 */
    bool yes;             /* do not ask */
    bool replace_network; /* join: leave one's own devices for the other's (not with `contact`) */
} kith_pair_options;
/* Make a code (CODE) and wait for the other device; with `yes` unset, ASK before it is trusted; then PAIRED.  One code
 * at a time.  END: CODE_EXPIRED, CODE_BURNT (too many wrong attempts), DECLINED (here or there), STATE (there is a code
 * already), ARG (expires_s). */
KITH_API KITH_MUST_CHECK kith_err kith_pair(kith_node *node, const kith_pair_options *options, kith_op *op);
/* Join the device that shows this code, as kith_words_check takes it; ASK, then PAIRED.  END: CODE (wrong, or no words
 * of the list), CODE_EXPIRED, CODE_BURNT, NOT_FOUND (nobody shows it here), DECLINED,
 * KEY_CHANGED, ID_CHANGED, REVOKED (the key was, on the device that shows it), STATE (this device has other own
 * devices: see replace_network). */
KITH_API KITH_MUST_CHECK kith_err kith_join(kith_node *node, const char *words, const kith_pair_options *options,
                                            kith_op *op);
/* Answer an ASK (its op) or an OFFER (its transfer; yes: it comes into the receive's folder).  An answer to a question
 * that is gone is ignored: what became of it was said by an event.  NOMEM. */
KITH_API KITH_MUST_CHECK kith_err kith_answer(kith_node *node, kith_op question, bool yes);

/* `count` pings, a second apart; 0: until cancelled.  A PONG for each that came back.  END: NOT_FOUND (not paired
 * here), UNREACHABLE, UNTRUSTED, LOST, TIMEOUT. */
KITH_API KITH_MUST_CHECK kith_err kith_ping(kith_node *node, const char *device_id, uint32_t count, kith_op *op);
/* How kith_pin goes about it; NULL: all 0. */
typedef struct kith_pin_options {
    size_t size;
    const char *name; /* what to call the device here; NULL: after its fingerprint */
    bool yes;         /* do not ask */
} kith_pin_options;
/* Trust at first use: pin a device that announces itself on the local network, as a contact, not verified, with the key
 * that it has now.  `device`: its UUID, or 4 digits or more that its UUID or its fingerprint begins with.  With `yes`
 * unset ASK (device.name: what it will be called here) before it is pinned; then PAIRED.  The other device hears
 * nothing of it, and refuses this one until it trusts it as well.  END: NOT_FOUND (nobody here announces that),
 * AMBIGUOUS, UNREACHABLE, WRONG_DEVICE (who answered is not who was announced), DECLINED, KEY_CHANGED, ID_CHANGED (it
 * is known with another key or id), ARG (no such text, or no name). */
KITH_API KITH_MUST_CHECK kith_err kith_pin(kith_node *node, const char *device, const kith_pin_options *options,
                                           kith_op *op);
/* As kith_look, and report devices that this home does not know, too: with trust 0, no name, and of the fingerprint the
 * 16 digits that are announced.  Of these at most 256. */
KITH_API KITH_MUST_CHECK kith_err kith_nearby(kith_node *node, kith_op *op);
/* Report devices that this node is connected with (LIVE), and devices of this home that are, or appear, on the local
 * network (SIGHTED), until cancelled: what they announce proves nothing, kith_ping does.  LOOKED comes once: where the
 * node runs for longer than two seconds, at once.  Needs no password. */
KITH_API KITH_MUST_CHECK kith_err kith_look(kith_node *node, kith_op *op);

/* STUN servers that one examination may be given. */
#define KITH_DOCTOR_STUN_MAX 4
/* What else kith_doctor may ask; NULL: all 0. */
typedef struct kith_doctor_options {
    size_t size;
    const char *const *stun; /* servers, "HOST:PORT" or "HOST" (port 3478), besides the relays; copied */
    size_t stun_count;       /* at most KITH_DOCTOR_STUN_MAX */
} kith_doctor_options;
/* Say what this network allows and what is in the way: a FINDING for each thing looked at, within half a minute.  Needs
 * no password, but does not register at relays without one.  END: OK however bad the findings are; STATE (one is under
 * way), ARG (a server's name, or too many). */
KITH_API KITH_MUST_CHECK kith_err kith_doctor(kith_node *node, const kith_doctor_options *options, kith_op *op);

/* Which way to go. */
typedef enum kith_path { KITH_PATH_ANY, KITH_PATH_UDP, KITH_PATH_TCP, KITH_PATH_RELAY } kith_path;
/* How kith_send_file goes about it; NULL: all 0. */
typedef struct kith_send_options {
    size_t size;
    const char *name;    /* what to call it there; NULL: the file's own */
    uint32_t patience_s; /* how long to look for a device that is away, at the start and after a break; 0: 30 */
    kith_path path;      /* the only one to go over; ANY: the fastest there is */
} kith_send_options;
/* Send the file at `path` to a device that receives: CONNECTED, START, PROGRESS, and SENT once it is on the disk there.
 * What arrived earlier is not sent again, also after either side was killed; nor is a file of up to 8 MiB that an own
 * device has in its place already.  END: NOT_FOUND (not paired here), NO_FILE, NOT_REGULAR, PERMISSION, IO (the file),
 * UNREACHABLE, UNTRUSTED, NOT_ALLOWED (it does not receive from us), DECLINED, CHANGED (the file, meanwhile),
 * REMOTE_STORAGE, LOST. */
KITH_API KITH_MUST_CHECK kith_err kith_send_file(kith_node *node, const char *device_id, const char *path,
                                                 const kith_send_options *options, kith_op *op);

/* Where the name of what comes is taken: both stay ("name (2)"), what was there does, or what comes replaces it. */
typedef enum kith_conflict { KITH_CONFLICT_KEEP, KITH_CONFLICT_SKIP, KITH_CONFLICT_OVERWRITE } kith_conflict;
/* What kith_receive takes, and where to; only `size`, and `folder` or `ask`, are needed. */
typedef struct kith_receive_options {
    size_t size;
    const char *folder; /* must exist; NULL: there is none, and kith_receive_file says where each is to go */
    const char *from;   /* device id; NULL: any trusted device */
    bool yes;           /* accept contacts without asking (own devices are accepted anyway) */
    bool once;          /* END after the first transfer that ended, well or not */
    kith_conflict conflict;
    bool ask;   /* OFFER for everything, whoever sends it and whatever `yes` says.  Without a `folder` kith_answer can
                   only decline */
    bool inbox; /* what is to be asked about waits in the daemon's inbox (kith_inbox), too: anybody may answer it */
} kith_receive_options;
/* Take what trusted devices send, from READY on until cancelled: for each transfer OFFER (contacts unless `yes`; with
 * `ask` all), START, PROGRESS, and FILE or FAILED, which does not end the receiving.  Names are cleaned: nothing is
 * written outside of `folder`.  A node receives once at a time; of several programs at a daemon, the newest that takes
 * the sender's files does, before the daemon itself.  ARG also: neither `folder` nor `ask`.  END: STATE (it does
 * already), ARG
 * (`from` is no id). */
KITH_API KITH_MUST_CHECK kith_err kith_receive(kith_node *node, const kith_receive_options *options, kith_op *op);
/* Answer an OFFER: take this one file to `path`, whatever its sender calls it.  (kith_answer declines it.)  The folder
 * of `path` must exist; `conflict` says what becomes of a file that is there.  The transfer goes on as any other, with
 * the receive's op: START, PROGRESS, and FILE (path_name: where it is, which is not `path` where both stay) or FAILED.
 * An earlier attempt is continued when its folder is the same, whatever the name.  FAILED: NO_FILE, PERMISSION,
 * NO_SPACE, IO: the folder cannot be used; NOT_ALLOWED: the last part of `path` cannot be a file's name (it is "." or
 * "..", begins with ".kith-", is longer than 255 bytes, or no UTF-8).  An OFFER that is gone, or answered: nothing
 * happens.  ARG: NULL, no file name in `path`, or it does not fit into KITH_PATH_NAME_MAX; NOMEM. */
KITH_API KITH_MUST_CHECK kith_err kith_receive_file(kith_node *node, kith_op transfer, const char *path,
                                                    kith_conflict conflict);

/* ---- connections with messages ----
 * A connection is with a device, not with an address: it goes over whatever way there is now, and when that is lost it
 * waits (WAITING), looks for the device, and goes on (CONNECTED).  While both nodes live each message arrives exactly
 * once and in order, however often that happens.  If the other node is started anew, or gives up, the connection ENDs
 * with CLOSED or LOST: never does a new one take its place silently.
 *
 * One handle names it everywhere: the *op of kith_connect, or `transfer` of INCOMING; it has one END event.  Who serves
 * keeps a lost connection for KITH_CONNECTION_KEPT_S; then it ENDs as LOST. */
#define KITH_TOPIC_MAX         63         /* bytes, at least 1, UTF-8 without control characters */
#define KITH_MESSAGE_SIZE_MAX  (1u << 20) /* bytes of one message; it may have none */
#define KITH_UNDELIVERED_MAX   (4u << 20) /* bytes sent on one connection that the other application has not taken */
#define KITH_CONNECTION_KEPT_S 3600u      /* how long who serves keeps a lost one */

/* How kith_connect goes about it; `size` and `topic` are needed. */
typedef struct kith_connect_options {
    size_t size;
    const char *topic;   /* what is talked about: the application's own protocol, such as "org.example.notes/1" */
    uint32_t patience_s; /* how long to look for the device at first, and after each break.  0: 30, then for ever */
} kith_connect_options;
/* Connect to the device's node that serves this topic.  ARG, NOMEM: nothing begins.  END: NOT_FOUND (not paired here),
 * NOT_ALLOWED (not served there, or not to us), UNREACHABLE, UNTRUSTED, CLOSED (ended there, or started anew), LOST, or
 * OK after kith_finish of either side. */
KITH_API KITH_MUST_CHECK kith_err kith_connect(kith_node *node, const char *device_id,
                                               const kith_connect_options *options, kith_op *connection);

/* Whom kith_serve takes; NULL: all 0. */
typedef struct kith_serve_options {
    size_t size;
    bool contacts; /* from other people's devices too; own devices always */
} kith_serve_options;
/* Take connections on this topic (from READY on), each announced by INCOMING, until cancelled; those taken go on.  A
 * topic can be served once at a time.  ARG (the topic), NOMEM: nothing begins.  END: STATE (it is served already),
 * CANCELLED. */
KITH_API KITH_MUST_CHECK kith_err kith_serve(kith_node *node, const char *topic, const kith_serve_options *options,
                                             kith_op *op);

/* Send a whole message; the bytes are copied.  Also before the device is found and while it is away.  LIMIT: larger
 * than KITH_MESSAGE_SIZE_MAX; AGAIN: with it more than KITH_UNDELIVERED_MAX would wait to be taken (WRITABLE comes when
 * half of it was); STATE: the connection is being finished; NOT_FOUND: no connection, or over; ARG: NULL with a size;
 * NOMEM. */
KITH_API KITH_MUST_CHECK kith_err kith_send_message(kith_node *node, kith_op connection, const void *data, size_t size);
/* Send bytes that may be lost, or come in another order than they were sent: for what is of no use late; they are
 * copied. LOST: the connection is away, or this thread is faster than the node (KITH_DATAGRAMS_MAX wait for it).  Of
 * those that wait for the network, or for the application there, the oldest of more than KITH_DATAGRAMS_MAX is dropped,
 * which nobody is told.  LIMIT: larger than what the path carries now, which is at least KITH_DATAGRAM_SIZE_SAFE
 * between nodes of this library; NOT_FOUND: no connection, or over; ARG: NULL with a size; NOMEM. */
#define KITH_DATAGRAM_SIZE_SAFE 1100
#define KITH_DATAGRAMS_MAX      64
KITH_API KITH_MUST_CHECK kith_err kith_send_datagram(kith_node *node, kith_op connection, const void *data,
                                                     size_t size);
/* No more from here.  What both sides have sent is delivered (the other side hears of it and sends no more either), and
 * then both END with OK.  NOT_FOUND: no connection, or over; NOMEM. */
KITH_API KITH_MUST_CHECK kith_err kith_finish(kith_node *node, kith_op connection);

/* The other end of a connection. */
typedef struct kith_remote_device_info {
    char id[KITH_ID_TEXT];
    char name[KITH_NAME_TEXT];                               /* this home's name for it */
    char os[KITH_NAME_TEXT], hardware_model[KITH_NAME_TEXT]; /* as it said of itself; "": not said */
    char public_key[65];                                     /* Ed25519, hex */
    char fingerprint[KITH_FINGERPRINT_TEXT];
    kith_relation trust;
    bool connected;       /* now; the rest is of now then, too */
    char path[8];         /* "udp", "tcp", "relay" */
    char scope[16];       /* "lan", "internet", "relay" */
    uint64_t rtt_ns;      /* there and back; 0: not measured yet */
    size_t datagram_size; /* the largest kith_send_datagram takes now */
} kith_remote_device_info;
/* Who is at the other end, and how the connection stands.  AGAIN: the node has not begun with it yet; NOT_FOUND: no
 * connection, or over. */
KITH_API KITH_MUST_CHECK kith_err kith_remote_device(kith_node *node, kith_op connection, kith_remote_device_info *out);
/* Whether the other end can be reached now; false: away, over, or no connection. */
KITH_API bool kith_is_connected(kith_node *node, kith_op connection);

/* End an operation (END follows with CANCELLED), one transfer of a receive, or one connection (what was not delivered
 * is not; the other side ENDs with CLOSED).  What is over already, or out of memory: nothing happens. */
KITH_API void kith_cancel(kith_node *node, kith_op op);

/* ---- a daemon: one node for all programs of this user that use the home ----
 * A program attaches to it with kith_options.daemon; then everything above is a request to it.  What is different:
 * events of other programs are not seen; where the daemon ends, each operation ENDs with LOST (or CLOSED, when it was
 * asked to); kith_addresses says what was so when the program attached; kith_options.log hears nothing.  Files are
 * opened, and folders found, by the program: its rights and its working folder count.  docs/protocol-daemon.md. */
/* Programs attached at once. */
#define KITH_DAEMON_CLIENTS_MAX 64
/* Operations and connections of one of them. */
#define KITH_DAEMON_OPS_MAX 128
/* Take the calls of this user's programs with this home (from START on), until cancelled, or until one calls kith_down
 * (END: OK).  The node has to be in this process, and to have its keys.  END: PASSWORD; STATE (a daemon of this home
 * runs: message says its process id); and what making the socket fails with: PERMISSION, NO_SPACE, IO, LIMIT,
 * NETWORK. */
KITH_API KITH_MUST_CHECK kith_err kith_daemon(kith_node *node, kith_op *op);
/* The daemon that a node is attached to, as it was then. */
typedef struct kith_daemon_info {
    long pid;
    char version[32];                /* of its library */
    int64_t since_ms;                /* it began, since 1970 UTC */
    char folder[KITH_PATH_NAME_MAX]; /* where it receives into by itself; "": nowhere */
    struct kith_daemon_relay {
        char url[256]; /* "": no more of them */
        bool connected;
    } relays[KITH_OPTIONS_RELAYS_MAX];
    char twin[KITH_ADDRESS_TEXT];    /* as KITH_EVENT_TWIN's; "": none is seen */
    char revoked[KITH_REVOKED_TEXT]; /* as KITH_EVENT_REVOKED's; "": it is not */
} kith_daemon_info;
/* False, and *out is zeroed: the node is in this process. */
KITH_API bool kith_daemon_of(const kith_node *node, kith_daemon_info *out);
/* End the daemon: END with OK when all of it has ended.  END: STATE: the node is in this process. */
KITH_API KITH_MUST_CHECK kith_err kith_down(kith_node *node, kith_op *op);
/* Offers that wait to be answered (kith_receive_options.inbox): an OFFER for each, whose `transfer` is its number in
 * the inbox, and END.  One whose sender goes leaves it. */
KITH_API KITH_MUST_CHECK kith_err kith_inbox(kith_node *node, kith_op *op);
/* Take the offer of this number, into the folder of who receives, or decline it.  END: NOT_FOUND: it does not wait any
 * more.  ARG: 0. */
KITH_API KITH_MUST_CHECK kith_err kith_inbox_answer(kith_node *node, uint64_t number, bool yes, kith_op *op);

/* ---- words and text ---- */
/* Check words that a person typed: any case, separated by blanks or punctuation; first letters are enough where they
 * are unique.  On success the clean form in out.  CODE otherwise, problem.message naming each wrong word and the
 * nearest right one. */
KITH_API KITH_MUST_CHECK kith_err kith_words_check(const char *text, char out[KITH_WORDS_TEXT], kith_problem *problem);
/* The same of a recovery code's 24 words, whose checksum is looked at, too: CODE, when they do not belong together
 * either.  Wipe `out` after use. */
KITH_API KITH_MUST_CHECK kith_err kith_recovery_check(const char *text, char out[KITH_RECOVERY_TEXT],
                                                      kith_problem *problem);
/* The i-th word (0..2047) of the list codes are made of, sorted: for completion; NULL beyond.  Static, not
 * to be released. */
KITH_API const char *kith_word(unsigned i);
/* A name with control characters escaped, cut to fit `out_size` bytes with the NUL; returns `out`, the caller's. */
KITH_API char *kith_printable_name(const char *name, char *out, size_t out_size);

#ifdef __cplusplus
}
#endif
#endif
