/* Who may use a relay: the file that `kith relay --token-file` names (kith-relay(5)).  Each line is
 *     NAME TOKEN [expires=2027-01-31T00:00:00Z] [quota=10G]
 * NAME is for logs and metrics, TOKEN what clients show; `quota` is bytes in 24 hours.  Tokens are kept as their
 * BLAKE3, and looked up by it. */
#ifndef KITH_RELAY_TOKENS_H
#define KITH_RELAY_TOKENS_H

#include "relay/settings.h"

#include <stdbool.h>

#define KITH_TOKENS_MAX     10000
#define KITH_TOKEN_NAME_MAX 31
#define KITH_TOKEN_LEAST    16 /* bytes of a token: shorter ones can be guessed */
#define KITH_TOKEN_QUOTA_MS 86400000

typedef struct kith_token {
    char name[KITH_TOKEN_NAME_MAX + 1];
    uint8_t hash[32];
    int64_t expires_ms;   /* since 1970-01-01 UTC; INT64_MAX: never */
    uint64_t quota_bytes; /* in KITH_TOKEN_QUOTA_MS; UINT64_MAX: none */
    uint64_t used_bytes, used_since_ns;
    bool gone; /* not in the file any more */
} kith_token;

typedef struct kith_tokens kith_tokens;

/* FORMAT, with the reason, which names no token; NOMEM. */
KITH_MUST_CHECK kith_err kith_tokens_read(const char *text, size_t size, kith_tokens **out, kith_relay_reason *reason);
void kith_tokens_free(kith_tokens *tokens); /* NULL is fine */
size_t kith_tokens_count(const kith_tokens *tokens);
kith_token *kith_tokens_at(kith_tokens *tokens, size_t index);
/* NULL: none is this. */
kith_token *kith_tokens_find(kith_tokens *tokens, const void *token, size_t size);
kith_token *kith_tokens_named(kith_tokens *tokens, const char *name);

#endif
