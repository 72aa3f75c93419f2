/* What the parts of the home share.  Internal to store: home.h is what others use. */
#ifndef KITH_STORE_HOME_INTERNAL_H
#define KITH_STORE_HOME_INTERNAL_H

#include "store/home.h"

#define KITH_DEVICE_NAME "device.json"
#define KITH_KEYS_NAME   "network_keys.json" /* the longest */
#define KITH_MASTER_NAME "master_key.json"
#define KITH_GRAPH_NAME  "graph.cbor"
#define KITH_TRUST_NAME  "trust.cbor"
#define KITH_SEEN_NAME   "seen.cbor"
#define KITH_CONFIG_NAME "config.json"
#define KITH_LOCK_NAME   "kith.lock"
/* There while a restore is under way: the names of the files it makes, one a line. */
#define KITH_RESTORE_NAME "restore.list"

#define KITH_OTHERS_ANY     077u /* permission bits */
#define KITH_OTHERS_WRITE   022u
#define KITH_HOME_FILE_MODE 0600u
#define KITH_PATH_TEXT_MAX  280 /* bytes of a path in a message: two fit */

struct kith_home {
    kith_env *env;
    char *folder;
};

/* A file of the home, and what must hold for it to be used. */
typedef struct kith_home_file {
    const char *name; /* in the home's folder, unless it is absolute */
    size_t max;
    uint32_t forbidden; /* permission bits */
} kith_home_file;

/* ---- saying what is wrong: each fills in the problem and returns the error ---- */
typedef struct kith_path_text {
    char text[KITH_PATH_TEXT_MAX];
} kith_path_text;

kith_err kith__say(kith_problem *problem, kith_err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
kith_err kith__say_plain(kith_problem *problem, kith_err err); /* an error about no file in particular */
/* What the disk said, with the name of the file it said it of and what was being done ("reading"). */
kith_err kith__say_disk(const kith_home *home, const char *name, const char *doing, kith_err err,
                        kith_problem *problem);
kith_err kith__say_decode(const kith_home *home, const char *name, kith_err err, const kith_reason *reason,
                          kith_problem *problem);
/* The path of `name` ("": none) in a folder for a message and as a word for a shell: in quotes where it has to be, and
 * where it is too long its end.  The same of a file of the home ("": the folder), or of an absolute path. */
kith_path_text kith__path_text(const char *folder, const char *name);
kith_path_text kith__home_path(const kith_home *home, const char *name);

/* ---- files ---- */
KITH_MUST_CHECK kith_err kith__home_stat(const kith_home *home, const char *name, kith_file_info *info);
/* The whole file, checked as `file` says; release *data with kith_free.  NO_FILE without a message: what that means is
 * the caller's to say. */
KITH_MUST_CHECK kith_err kith__home_read(const kith_home *home, const kith_home_file *file, uint8_t **data,
                                         size_t *size, kith_problem *problem);
/* Wait for the lock; close *out to let it go. */
KITH_MUST_CHECK kith_err kith__home_lock(const kith_home *home, kith_file **out, kith_problem *problem);
/* Under the lock. */
KITH_MUST_CHECK kith_err kith__home_write(const kith_home *home, const char *name, const void *data, size_t size,
                                          kith_problem *problem);
/* Make the folder, and those above it. */
KITH_MUST_CHECK kith_err kith__home_folders(const kith_home *home, kith_problem *problem);

/* ---- this device ---- */
/* What the two files of an identity say.  Missing ones are told by *has_device, *has_keys; then the rest is not set. */
typedef struct kith_identity {
    bool has_device, has_keys;
    bool elsewhere; /* device.json is another program's, in another place: not ours to write */
    bool flattened; /* the keys are (too) in device.json: kith__home_import moves them */
    kith_device device;
    kith_keys_file keys;
    uint8_t *device_data, *keys_data; /* as they are on disk, keys_data NULL when flattened alone */
    size_t device_size, keys_size;
} kith_identity;

void kith__identity_done(kith_identity *identity); /* zeroed is fine */
/* Where device.json is, in *elsewhere, to release with kith_free: untouched when it is in the home.  Only its form is
 * looked at.  NO_FILE without a message. */
KITH_MUST_CHECK kith_err kith__home_find_device(const kith_home *home, char **elsewhere, kith_problem *problem);
/* device.json alone; NO_FILE without a message when the home has none. */
KITH_MUST_CHECK kith_err kith__home_read_device(const kith_home *home, kith_identity *out, kith_problem *problem);
KITH_MUST_CHECK kith_err kith__home_read_identity(const kith_home *home, kith_identity *out, kith_problem *problem);
/* The same where an identity is needed: else NO_IDENTITY. */
KITH_MUST_CHECK kith_err kith__home_need_identity(const kith_home *home, kith_identity *out, kith_problem *problem);
/* Under the lock: keys that are inside device.json go into network_keys.json. */
KITH_MUST_CHECK kith_err kith__home_import(const kith_home *home, kith_identity *identity, kith_problem *problem);
/* Open the keys into guarded memory: release with kith_secret_free.  ARG, PASSWORD, DAMAGED, NOMEM. */
KITH_MUST_CHECK kith_err kith__home_open_keys(const kith_home *home, const kith_keys_file *keys, kith_bytes password,
                                              uint8_t **out, kith_problem *problem);
/* Seal `seed` for these keys (device id, creation time and KDF are set) with a fresh salt and nonce.  ARG, NOMEM. */
KITH_MUST_CHECK kith_err kith__home_seal_keys(kith_keys_file *keys, kith_bytes password, const uint8_t *seed,
                                              kith_rng *rng, kith_problem *problem);
/* Under the lock. */
KITH_MUST_CHECK kith_err kith__home_write_keys(const kith_home *home, const kith_identity *identity,
                                               kith_problem *problem);
KITH_MUST_CHECK kith_err kith__home_write_device(const kith_home *home, const kith_device *device, const void *old,
                                                 size_t old_size, kith_problem *problem);

void kith__describe(const kith_identity *identity, kith_home_self *out);
bool kith__no_kdf(const kith_kdf_params *kdf); /* all 0 */

/* ---- its settings ---- */
extern const kith_home_file kith__config_file;

/* ---- the others' side ---- */
/* trust.cbor with what the trust graph says; empty when there is no file. */
KITH_MUST_CHECK kith_err kith__home_read_trust(const kith_home *home, kith_trust **out, kith_problem *problem);
/* Under the lock; nothing is written when it says so already, or would be empty and there is none. */
KITH_MUST_CHECK kith_err kith__home_write_trust(const kith_home *home, const kith_trust *trust, kith_problem *problem);
/* What the trust graph, where there is one, says of own devices. */
KITH_MUST_CHECK kith_err kith__home_derive_trust(const kith_home *home, kith_trust *trust, kith_problem *problem);
/* Under the lock, in a home without a trust graph: this device founds one, with this recovery pair and its deposit
 * (NULL: none). */
KITH_MUST_CHECK kith_err kith__home_found_graph(const kith_home *home, const kith_identity *identity,
                                                const uint8_t *seed, const kith_recovery_public *pair, kith_rng *rng,
                                                int64_t now_ms, kith_problem *problem);

/* ---- the recovery code's side ---- */
/* master_key.json; one without a code when there is no file.  Release *out with kith_master_free. */
KITH_MUST_CHECK kith_err kith__home_read_master(const kith_home *home, kith_master **out, kith_problem *problem);
/* Put this device's deposit into `master`, which has a code.  CRYPTO, LIMIT, NOMEM. */
KITH_MUST_CHECK kith_err kith__home_deposit(const kith_identity *identity,
                                            const uint8_t seed[static KITH_ED25519_SEED_SIZE], kith_rng *rng,
                                            kith_master *master);
/* A device's seed out of its deposit, in guarded memory: release with kith_secret_free.  STATE, CODE, NOMEM. */
KITH_MUST_CHECK kith_err kith__home_open_deposit(const kith_master *master, const uint8_t uuid[static KITH_UUID_SIZE],
                                                 const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                                 const uint8_t code[static KITH_RECOVERY_CODE_SIZE], uint8_t **out,
                                                 kith_problem *problem);
/* Under the lock; nothing is written when it says so already. */
KITH_MUST_CHECK kith_err kith__home_write_master(const kith_home *home, const kith_master *master,
                                                 kith_problem *problem);

#endif
