/* The home: the folder with this device's identity and what it knows of others.
 *
 *     device.json        who this device is (may be the embedding application's own)     identity/device.h
 *     network_keys.json  its key pair, sealed under the password; mode 0600              identity/keys_file.h
 *     master_key.json    what own devices deposited for the recovery code's holder       identity/master_file.h
 *     graph.cbor         which devices are one's own: signed records                     identity/graph.h
 *     trust.cbor         the other devices, pinned                                       identity/trust.h
 *     seen.cbor          when and where they were last seen: a cache                     identity/seen.h
 *     config.json        what its person has set                                         identity/config.h
 *     kith.lock          held while one of the above is read, changed and replaced
 *
 * Several processes share a home.  Readers take no lock: files are replaced whole.  Every function blocks (disk; those
 * with a password derive a key, about 0.1 s), holds no state between calls and may be called from any thread.
 *
 * Each error about the home comes with a sentence that names the file and says what to do, and on each the file in
 * question is left as it is.  Keys are never made anew silently: what is there but cannot be used is an error.  Errors,
 * beside what the disk says: NO_IDENTITY  no identity here yet, or one half made (kith_home_init completes it) DAMAGED
 * a file's contents; a file of an identity that is missing; two files that do not belong together VERSION      written
 * by a newer Kith EXPOSED      a file with secrets that others may read, or one that others may write PERMISSION   no
 * right to a file, or it is another user's NOMEM */
#ifndef KITH_STORE_HOME_H
#define KITH_STORE_HOME_H

#include "crypto/rng.h"
#include "env/env.h"
#include "identity/config.h"
#include "identity/device.h"
#include "identity/fingerprint.h"
#include "identity/graph.h"
#include "identity/graph_derive.h"
#include "identity/keys_file.h"
#include "identity/master_file.h"
#include "identity/seen.h"
#include "identity/trust.h"

#include <kith/kith.h>
#include <stdbool.h>

typedef struct kith_home kith_home;

/* Name a home; nothing is read or made.  `env` is borrowed for its life; only its `file` table is used.  NOMEM; ARG for
 * "". */
KITH_MUST_CHECK kith_err kith_home_open(kith_env *env, const char *folder, kith_home **out);
void kith_home_close(kith_home *home); /* NULL is fine */
const char *kith_home_folder(const kith_home *home);

/* This device, without secrets. */
typedef struct kith_home_self {
    kith_device device;
    uint8_t public_key[KITH_ED25519_PUBLIC_SIZE];
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    int64_t created_at_ms; /* the keys; since 1970 UTC */
} kith_home_self;

typedef struct kith_home_init_options {
    const char *name, *os, *hardware_model; /* for a new device.json; one that is there is used as it is */
    kith_bytes password;
    kith_kdf_params kdf; /* all 0: the defaults of crypto/kdf.h */
    kith_rng *rng;
    int64_t now_ms; /* since 1970 UTC */
    /* Of a new recovery code, to which the new device deposits its key.  NULL: there is none (the device is about to
     * join others, say). */
    const kith_recovery_public *recovery;
} kith_home_init_options;

/* Make the identity: the folder (0700) if missing, device.json if missing, then network_keys.json, then what
 * belongs to the recovery code (interrupted before that, the device has an identity without a code).  Where there is an
 * identity already: *created = false, nothing changes, the password is not looked at.  ARG for a name that breaks the
 * rule or an empty password. */
KITH_MUST_CHECK kith_err kith_home_init(kith_home *home, const kith_home_init_options *options, kith_home_self *self,
                                        bool *created, kith_problem *problem);
/* What needs no password. */
KITH_MUST_CHECK kith_err kith_home_load(kith_home *home, kith_home_self *self, kith_problem *problem);
/* The Ed25519 seed, in guarded memory: release with kith_secret_free.  PASSWORD when the password is wrong. */
KITH_MUST_CHECK kith_err kith_home_unlock(kith_home *home, kith_bytes password, uint8_t **seed, kith_problem *problem);
/* Seal the keys under a new password; kdf all 0: as before.  PASSWORD when the old one is wrong, ARG when the new one
 * is empty. */
KITH_MUST_CHECK kith_err kith_home_change_password(kith_home *home, kith_bytes old_password, kith_bytes new_password,
                                                   kith_kdf_params kdf, kith_rng *rng, kith_problem *problem);
/* The same for who forgot the old one: the recovery code opens this device's deposit in master_key.json.  CODE when it
 * is not the code in force; STATE when there is none, or this device has deposited nothing. */
KITH_MUST_CHECK kith_err kith_home_reset_password(kith_home *home, const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                                                  kith_bytes new_password, kith_kdf_params kdf, kith_rng *rng,
                                                  kith_problem *problem);
/* Whether the password, or the recovery code where that is not NULL, would do for the two above; nothing is changed.
 * PASSWORD; CODE; STATE. */
KITH_MUST_CHECK kith_err kith_home_check_password(kith_home *home, kith_bytes password, const uint8_t *code,
                                                  kith_problem *problem);
/* Call this device something else; the other members of device.json stay.  ARG; UNSUPPORTED when the file is another
 * program's (kith_home_refer). */
KITH_MUST_CHECK kith_err kith_home_set_name(kith_home *home, const char *name, kith_problem *problem);

/* From now on this device's device.json is the application's own at this absolute path: it is read, and never written.
 * The home is made if missing, and remembers the path in its own device.json.  ARG; NO_FILE; DAMAGED also when it is
 * another device's than the home's. */
KITH_MUST_CHECK kith_err kith_home_refer(kith_home *home, const char *path, kith_problem *problem);

/* master_key.json; one without a code when there is no file.  Release with kith_master_free. */
KITH_MUST_CHECK kith_err kith_home_load_master(kith_home *home, kith_master **out, kith_problem *problem);

/* The pinned devices; empty when there is no file.  Release with kith_trust_free. */
KITH_MUST_CHECK kith_err kith_home_load_trust(kith_home *home, kith_trust **out, kith_problem *problem);
/* Read, let `fn` change, and write, under the lock, so that no other process's change is lost.  When `fn` returns an
 * error nothing is written and that error is the result, with no message.  `fn` must not call into this home (it would
 * wait for itself). */
typedef kith_err kith_home_trust_fn(kith_trust *trust, void *user);
KITH_MUST_CHECK kith_err kith_home_update_trust(kith_home *home, kith_home_trust_fn *fn, void *user,
                                                kith_problem *problem);
/* Whether trust.cbor, graph.cbor, device.json or the application's file that it refers to is another than when this was
 * last asked with this stamp (zeroed at first: true): cheap, for polling. */
typedef struct kith_file_stamp { /* no padding; all 0: no file */
    uint64_t inode, size;
    int64_t modified_ns, changed_ns;
} kith_file_stamp;
typedef struct kith_home_stamp {
    kith_file_stamp trust, graph, device, theirs;
    char elsewhere[KITH_PATH_NAME_MAX]; /* where the application's is; "": there is none */
    bool asked;
} kith_home_stamp;
bool kith_home_trust_changed(kith_home *home, kith_home_stamp *stamp);

/* ---- the trust graph (identity/graph.h): own devices in the set above are what it says ---- */
/* An empty one when there is no file.  Release with kith_graph_free. */
KITH_MUST_CHECK kith_err kith_home_load_graph(kith_home *home, kith_graph **out, kith_problem *problem);
/* As kith_home_update_trust.  What follows from it (trust.cbor, master_key.json) is written too; when that fails, so
 * does this, and the graph is changed nevertheless: the next change or kith_home_tend_graph completes it. */
typedef kith_err kith_home_graph_fn(kith_graph *graph, void *user);
KITH_MUST_CHECK kith_err kith_home_update_graph(kith_home *home, kith_home_graph_fn *fn, void *user,
                                                kith_problem *problem);
/* This device has become another network's: its graph takes the place of what was there, and own devices that it does
 * not name go. */
KITH_MUST_CHECK kith_err kith_home_replace_graph(kith_home *home, const kith_graph *graph, kith_problem *problem);
/* What a device does when it starts and whenever its graph has changed: where there is no graph it founds one, without
 * a recovery pair (*founded); else, as a member, it says what it is called now, and deposits its key for the recovery
 * pair in force.  What follows from the graph is written where it is not so yet.  `seed`: this device's. */
#define KITH_HOME_NAMES_MAX 128 /* times that it says so: whoever changes the name all the time fills no graph */
KITH_MUST_CHECK kith_err kith_home_tend_graph(kith_home *home, const uint8_t *seed, kith_rng *rng, int64_t now_ms,
                                              bool *founded, kith_problem *problem);

/* The same for the cache of sightings.  A file that cannot be used is an empty cache; only NOMEM fails loading. */
KITH_MUST_CHECK kith_err kith_home_load_seen(kith_home *home, kith_seen **out);
typedef kith_err kith_home_seen_fn(kith_seen *seen, void *user);
KITH_MUST_CHECK kith_err kith_home_update_seen(kith_home *home, kith_home_seen_fn *fn, void *user,
                                               kith_problem *problem);

/* ---- settings ---- */
/* config.json; nothing is set when there is no file.  Needs no identity.  Release with kith_config_done. */
KITH_MUST_CHECK kith_err kith_home_load_config(kith_home *home, kith_config *out, kith_problem *problem);
/* Change one setting (NULL: it is not set any more); the home is made if missing.  ARG, with what is allowed. */
KITH_MUST_CHECK kith_err kith_home_set_config(kith_home *home, kith_config_key key, const char *text,
                                              kith_problem *problem);
/* The first line of the file that relay-token-file names, 1 to KITH_RELAY_TOKEN_MAX bytes: release with kith_free.
 * NULL: it is not set.  What the disk says of the file; DAMAGED: no such line. */
KITH_MUST_CHECK kith_err kith_home_relay_token(kith_home *home, const kith_config *config, char **out,
                                               kith_problem *problem);

/* ---- another recovery code ---- */
/* Who changes the graph: this device. */
typedef struct kith_home_author {
    const uint8_t *seed;
    kith_rng *rng;
    int64_t now_ms;
    bool check; /* change nothing: say only whether it can be done, and what would come of it */
} kith_home_author;
typedef struct kith_recovery_change {
    bool in_force; /* the new code is, from now on */
    /* A replacement that not every other device has agreed to: whose, and when; `several`: of more than one device. */
    bool waiting, several;
    char waiting_by[KITH_NAME_SIZE];
    int64_t waiting_ms;
    uint8_t waiting_id[KITH_GRAPH_ID_SIZE];
    bool ended; /* a code that was in force here is not any more (kith_graph_ended_code) */
    kith_ended_code ended_code;
} kith_recovery_change;
/* `pair` is of the new code.  With the old code it is in force at once; without (NULL: it is lost, or there is none)
 * when every other own device has agreed.  CODE: not the old one; STATE: there is none; REVOKED: this device is no
 * member any more; LIMIT. */
KITH_MUST_CHECK kith_err kith_home_new_recovery(kith_home *home, const kith_home_author *who, const uint8_t *old_code,
                                                const kith_recovery_public *pair, kith_recovery_change *out,
                                                kith_problem *problem);
/* Agree to the one that waits, which has this id: *out says whose.  NOT_FOUND: none does, or another; ARG: of several
 * devices; REVOKED. */
KITH_MUST_CHECK kith_err kith_home_accept_recovery(kith_home *home, const kith_home_author *who,
                                                   const uint8_t id[static KITH_GRAPH_ID_SIZE],
                                                   kith_recovery_change *out, kith_problem *problem);
KITH_MUST_CHECK kith_err kith_home_waiting_recovery(kith_home *home, kith_recovery_change *out, kith_problem *problem);

/* ---- who is one's own no more ---- */
/* Revoke the own device of this UUID; *whom is what it was.  With the code in force (and the pair of a new one) by a
 * reset: whatever the device has signed counts no more, and those that it has revoked are in again.  NOT_FOUND: no
 * member is called so; ARG: this device itself; CODE, STATE, LIMIT as above; REVOKED: this device is no member any more
 * (with the code it need not be). */
KITH_MUST_CHECK kith_err kith_home_revoke(kith_home *home, const kith_home_author *who,
                                          const uint8_t uuid[static KITH_UUID_SIZE], const char *why,
                                          const uint8_t *code, const kith_recovery_public *pair, kith_graph_entry *whom,
                                          kith_problem *problem);
/* The graph with every signature verified.  DAMAGED where one is wrong. */
KITH_MUST_CHECK kith_err kith_home_verify_graph(kith_home *home, kith_graph **out, kith_problem *problem);

/* ---- backups (identity/backup.h has the format) ---- */
/* Write this home's files, sealed under its password and to its recovery code, into a new file (0600).  PASSWORD;
 * EXISTS when there is something of this name already; the home's errors, and what the disk says of `path`. */
KITH_MUST_CHECK kith_err kith_home_backup(kith_home *home, const char *path, kith_bytes password, kith_kdf_params kdf,
                                          kith_rng *rng, int64_t now_ms, kith_problem *problem);

typedef struct kith_home_restore_options {
    const char *path;    /* the backup */
    kith_bytes password; /* opens it; with `code`: this device's new one */
    const uint8_t *code; /* KITH_RECOVERY_CODE_SIZE bytes, in place of the password; NULL */
    const char *device;  /* another own device of the backup's to become (its id or name; needs `code`); NULL */
    kith_kdf_params kdf; /* for keys that are sealed anew; all 0: as they were, or the defaults */
    kith_rng *rng;
    int64_t now_ms;
    bool check; /* write nothing, leave *self, and look at no new password: say only whether it can be done */
} kith_home_restore_options;

/* Put a backup's files into a home without an identity (made if missing).  Files that are there stay; keys come last.
 * EXISTS where there is an identity; DAMAGED, VERSION, PASSWORD, CODE, NO_FILE, PERMISSION of the backup; NOT_FOUND,
 * AMBIGUOUS (`device`), ARG (`device` without `code`, an empty password); STATE when there is no recovery slot, or no
 * deposit of that device.  On failure what was written is removed again; after a crash running it again completes it.
 */
KITH_MUST_CHECK kith_err kith_home_restore(kith_home *home, const kith_home_restore_options *options,
                                           kith_home_self *self, kith_problem *problem);

#endif
