/* config.json: what a person has set for good, in place of saying it with each command.
 *
 *     {
 *       "version": 1,
 *       "relay": ["wss://relay.example"],       none: []
 *       "relay-token-file": "/home/me/token",
 *       "lan": false,
 *       "listen": "0.0.0.0:7777",
 *       "dir": "/home/me/in",
 *       "accept": "contacts",
 *       "conflict": "skip"
 *     }
 *
 * Every member but the version may be absent; others are kept.  A setting has a text, too, in which it is given and
 * printed: a relay's is its URLs with a blank between, or "none"; lan's "yes" or "no"; the others are texts. */
#ifndef KITH_IDENTITY_CONFIG_H
#define KITH_IDENTITY_CONFIG_H

#include "identity/reason.h"

#include <kith/kith.h>

#define KITH_CONFIG_VERSION  1
#define KITH_CONFIG_FILE_MAX 65536 /* bytes of the largest file that is read */

typedef enum kith_config_key {
    KITH_CONFIG_RELAY,
    KITH_CONFIG_RELAY_TOKEN_FILE,
    KITH_CONFIG_LAN,
    KITH_CONFIG_LISTEN,
    KITH_CONFIG_DIR,
    KITH_CONFIG_ACCEPT,
    KITH_CONFIG_CONFLICT,
    KITH_CONFIG_KEYS
} kith_config_key;

/* Texts in their clean form; NULL: not set.  Zeroed: nothing is. */
typedef struct kith_config {
    char *values[KITH_CONFIG_KEYS];
} kith_config;

void kith_config_done(kith_config *config);                 /* zeroed is fine */
const kith_setting *kith_config_about(kith_config_key key); /* static */
kith_config_key kith_config_find(const char *name);         /* KITH_CONFIG_KEYS: there is no such setting */
/* What counts: as set, else as nothing being set.  The config's, or static. */
const char *kith_config_text(const kith_config *config, kith_config_key key);
/* The relays that are set, into urls[0..KITH_OPTIONS_RELAYS_MAX), as views of *memory, to be released with kith_free
 * (NULL where there are none).  NOMEM. */
KITH_MUST_CHECK kith_err kith_config_relays(const kith_config *config, char **memory, const char **urls, size_t *count);

/* DAMAGED (syntax, a setting that is no good: the reason begins with its name), VERSION, NOMEM; then *out is untouched.
 * Release with kith_config_done. */
KITH_MUST_CHECK kith_err kith_config_decode(const void *data, size_t size, kith_config *out, kith_reason *reason);
/* The file's new bytes, with one setting changed to what `text` says (NULL: not set any more).  `old` (NULL: none) is
 * the file that is to be replaced, whose other members stay; only what this very setting was may be wrong in it.
 * But relay-token-file is taken back with relays of which it was, when there are none any more, or another one.
 * Release *out with kith_free.  ARG: the text is no good; of `old` the errors of decode, with a reason; NOMEM. */
KITH_MUST_CHECK kith_err kith_config_change(const void *old, size_t old_size, kith_config_key key, const char *text,
                                            uint8_t **out, size_t *size, kith_reason *reason);

#endif
