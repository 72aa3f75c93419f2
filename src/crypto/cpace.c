#include "crypto/cpace.h"

#include "base/mem.h"
#include "crypto/cpace_internal.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define DSI        "CPaceRistretto255"
#define DSI_ISK    "CPaceRistretto255_ISK"
#define MAC_PREFIX "CPaceMac"
#define HASH_BLOCK 128             /* s_in_bytes of SHA-512 */
#define LEB128_MAX 10              /* bytes of a size_t */
#define FIELD_MAX  ((size_t)65536) /* of each field: ours are under 1 KiB */

_Static_assert(crypto_auth_hmacsha512_BYTES == KITH_CPACE_TAG_SIZE, "the tag is HMAC-SHA-512");
_Static_assert(crypto_hash_sha512_BYTES == KITH_CPACE_ISK_SIZE, "the ISK is SHA-512");
_Static_assert(crypto_core_ristretto255_BYTES == KITH_CPACE_SHARE_SIZE, "the group is ristretto255");

typedef enum { STARTED, FINISHED, CONFIRMED, FAILED } stage;

struct kith_cpace {
    stage stage;
    bool initiator;
    uint8_t scalar[32];
    uint8_t share[KITH_CPACE_SHARE_SIZE];
    uint8_t isk[KITH_CPACE_ISK_SIZE];
    uint8_t tag[KITH_CPACE_TAG_SIZE], peer_tag[KITH_CPACE_TAG_SIZE]; /* ours, and what the peer's must be */
    size_t sid_size, ad_size;
    uint8_t fields[]; /* sid, ad */
};

static size_t cpace_size(const kith_cpace *cpace) { return sizeof *cpace + cpace->sid_size + cpace->ad_size; }

static size_t leb128_size(size_t n)
{
    size_t size = 1;
    while (n >>= 7) size++;
    return size;
}

static kith_bytes text_bytes(const char *text) { return (kith_bytes){text, strlen(text)}; }

void kith__cpace_write_lv(kith_writer *w, kith_bytes piece)
{
    size_t n = piece.size;
    for (; n >= 0x80; n >>= 7) kith_write_u8(w, (uint8_t)(n | 0x80));
    kith_write_u8(w, (uint8_t)n);
    kith_write_bytes(w, piece.data, piece.size);
}

void kith__cpace_write_generator_string(kith_writer *w, kith_bytes prs, kith_bytes ci, kith_bytes sid)
{
    static const uint8_t zeroes[HASH_BLOCK];
    /* Zeroes fill the hash's first block, so that hashing the password takes the same time whatever follows. */
    size_t dsi_size = text_bytes(DSI).size, used = leb128_size(dsi_size) + dsi_size + leb128_size(prs.size) + prs.size;
    size_t padding = used + 1 < HASH_BLOCK ? HASH_BLOCK - 1 - used : 0;
    kith__cpace_write_lv(w, text_bytes(DSI));
    kith__cpace_write_lv(w, prs);
    kith__cpace_write_lv(w, (kith_bytes){zeroes, padding});
    kith__cpace_write_lv(w, ci);
    kith__cpace_write_lv(w, sid);
}

void kith__cpace_write_isk_input(kith_writer *w, kith_bytes sid, kith_bytes k, kith_bytes ya, kith_bytes ada,
                                 kith_bytes yb, kith_bytes adb)
{
    kith__cpace_write_lv(w, text_bytes(DSI_ISK));
    kith__cpace_write_lv(w, sid);
    kith__cpace_write_lv(w, k);
    kith__cpace_write_lv(w, ya);
    kith__cpace_write_lv(w, ada);
    kith__cpace_write_lv(w, yb);
    kith__cpace_write_lv(w, adb);
}

bool kith__cpace_multiply(const uint8_t scalar[static 32], const uint8_t element[static KITH_CPACE_SHARE_SIZE],
                          uint8_t out[static KITH_CPACE_SHARE_SIZE])
{
    return crypto_scalarmult_ristretto255(out, scalar, element) == 0;
}

static bool fits(kith_bytes field) { return field.size <= FIELD_MAX; }

/* Our share: the scalar times the password's generator. */
static kith_err make_share(kith_cpace *cpace, kith_bytes prs, kith_bytes ci)
{
    kith_bytes sid = {cpace->fields, cpace->sid_size};
    size_t size = HASH_BLOCK + prs.size + ci.size + sid.size + 5 * LEB128_MAX;
    uint8_t *memory = kith_malloc(size), hash[KITH_CPACE_HASH_SIZE], generator[crypto_core_ristretto255_BYTES];
    if (!memory) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(memory, size);
    kith__cpace_write_generator_string(&w, prs, ci, sid);
    assert(!w.bad);
    crypto_hash_sha512(hash, memory, kith_writer_size(&w));
    crypto_core_ristretto255_from_hash(generator, hash);
    bool good = kith__cpace_multiply(cpace->scalar, generator, cpace->share); /* not so for a scalar of 0 */
    kith_wipe(memory, size);
    kith_free(memory);
    kith_wipe(hash, sizeof hash);
    kith_wipe(generator, sizeof generator); /* enough to try passwords offline */
    return good ? KITH_OK : KITH_ERR_CRYPTO;
}

static void copy_field(uint8_t *to, kith_bytes field)
{
    if (field.size) memcpy(to, field.data, field.size);
}

kith_err kith_cpace_new_scalar(const kith_cpace_config *config, const uint8_t scalar[static 32], kith_cpace **out)
{
    if (!fits(config->prs) || !fits(config->ci) || !fits(config->sid) || !fits(config->ad)) return KITH_ERR_LIMIT;
    if (sodium_init() < 0) return KITH_ERR_INTERNAL;
    kith_cpace *cpace = kith_calloc(1, sizeof *cpace + config->sid.size + config->ad.size);
    if (!cpace) return KITH_ERR_NOMEM;
    cpace->initiator = config->initiator;
    cpace->sid_size = config->sid.size;
    cpace->ad_size = config->ad.size;
    memcpy(cpace->scalar, scalar, sizeof cpace->scalar);
    copy_field(cpace->fields, config->sid);
    copy_field(cpace->fields + cpace->sid_size, config->ad);
    kith_err err = make_share(cpace, config->prs, config->ci);
    if (err) {
        kith_cpace_free(cpace);
        return err;
    }
    *out = cpace;
    return KITH_OK;
}

kith_err kith_cpace_new(const kith_cpace_config *config, kith_cpace **out)
{
    if (!config->scalar) return KITH_ERR_ARG;
    uint8_t scalar[crypto_core_ristretto255_SCALARBYTES];
    crypto_core_ristretto255_scalar_reduce(scalar, config->scalar);
    kith_err err = kith_cpace_new_scalar(config, scalar, out);
    kith_wipe(scalar, sizeof scalar);
    return err;
}

void kith_cpace_free(kith_cpace *cpace)
{
    if (!cpace) return;
    kith_wipe(cpace, cpace_size(cpace));
    kith_free(cpace);
}

void kith_cpace_share(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_SHARE_SIZE])
{
    memcpy(out, cpace->share, KITH_CPACE_SHARE_SIZE);
}

/* MAC(mac_key, lv_cat(share, ad)): each side tags what it sent.  `scratch` has room for it. */
static void make_tag(const uint8_t mac_key[KITH_CPACE_HASH_SIZE], kith_bytes share, kith_bytes ad, kith_writer scratch,
                     uint8_t tag[KITH_CPACE_TAG_SIZE])
{
    crypto_auth_hmacsha512_state mac;
    kith__cpace_write_lv(&scratch, share);
    kith__cpace_write_lv(&scratch, ad);
    crypto_auth_hmacsha512_init(&mac, mac_key, KITH_CPACE_HASH_SIZE);
    crypto_auth_hmacsha512_update(&mac, scratch.start, kith_writer_size(&scratch));
    crypto_auth_hmacsha512_final(&mac, tag);
    kith_wipe(&mac, sizeof mac);
}

/* mac_key = H("CPaceMac" || sid || ISK), as the draft's section on explicit key confirmation suggests. */
static void make_mac_key(const kith_cpace *cpace, uint8_t mac_key[KITH_CPACE_HASH_SIZE])
{
    crypto_hash_sha512_state hash;
    crypto_hash_sha512_init(&hash);
    crypto_hash_sha512_update(&hash, (const uint8_t *)MAC_PREFIX, strlen(MAC_PREFIX));
    if (cpace->sid_size) crypto_hash_sha512_update(&hash, cpace->fields, cpace->sid_size);
    crypto_hash_sha512_update(&hash, cpace->isk, sizeof cpace->isk);
    crypto_hash_sha512_final(&hash, mac_key);
    kith_wipe(&hash, sizeof hash);
}

/* The ISK and both tags, from K and what both sides sent. */
static kith_err derive(kith_cpace *cpace, kith_bytes k, kith_bytes peer, kith_bytes peer_ad)
{
    kith_bytes sid = {cpace->fields, cpace->sid_size}, ad = {cpace->fields + cpace->sid_size, cpace->ad_size};
    kith_bytes share = {cpace->share, sizeof cpace->share};
    size_t size =
        strlen(DSI_ISK) + sid.size + k.size + share.size + ad.size + peer.size + peer_ad.size + 7 * LEB128_MAX;
    uint8_t *memory = kith_malloc(size), mac_key[KITH_CPACE_HASH_SIZE];
    if (!memory) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(memory, size), scratch = w;
    if (cpace->initiator)
        kith__cpace_write_isk_input(&w, sid, k, share, ad, peer, peer_ad);
    else
        kith__cpace_write_isk_input(&w, sid, k, peer, peer_ad, share, ad);
    assert(!w.bad);
    crypto_hash_sha512(cpace->isk, memory, kith_writer_size(&w));
    make_mac_key(cpace, mac_key);
    make_tag(mac_key, share, ad, scratch, cpace->tag);
    make_tag(mac_key, peer, peer_ad, scratch, cpace->peer_tag);
    kith_wipe(mac_key, sizeof mac_key);
    kith_wipe(memory, size);
    kith_free(memory);
    return KITH_OK;
}

kith_err kith_cpace_finish(kith_cpace *cpace, const uint8_t peer[static KITH_CPACE_SHARE_SIZE], kith_bytes peer_ad)
{
    if (cpace->stage != STARTED) return KITH_ERR_STATE;
    if (!fits(peer_ad)) return KITH_ERR_LIMIT;
    uint8_t k[KITH_CPACE_SHARE_SIZE];
    kith_err err = KITH_ERR_CRYPTO;
    /* Our share sent back: its sender would otherwise get our own tag to send back as well. */
    bool reflected = sodium_memcmp(peer, cpace->share, KITH_CPACE_SHARE_SIZE) == 0;
    if (!reflected && kith__cpace_multiply(cpace->scalar, peer, k))
        err = derive(cpace, (kith_bytes){k, sizeof k}, (kith_bytes){peer, KITH_CPACE_SHARE_SIZE}, peer_ad);
    kith_wipe(k, sizeof k);
    if (err == KITH_ERR_NOMEM) return err; /* may be tried again */
    kith_wipe(cpace->scalar, sizeof cpace->scalar);
    cpace->stage = err ? FAILED : FINISHED;
    return err;
}

kith_err kith_cpace_tag(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_TAG_SIZE])
{
    if (cpace->stage != FINISHED && cpace->stage != CONFIRMED) return KITH_ERR_STATE;
    memcpy(out, cpace->tag, KITH_CPACE_TAG_SIZE);
    return KITH_OK;
}

kith_err kith_cpace_check(kith_cpace *cpace, const uint8_t tag[static KITH_CPACE_TAG_SIZE])
{
    if (cpace->stage != FINISHED) return KITH_ERR_STATE;
    if (sodium_memcmp(tag, cpace->peer_tag, KITH_CPACE_TAG_SIZE) == 0) {
        cpace->stage = CONFIRMED;
        return KITH_OK;
    }
    cpace->stage = FAILED; /* one guess, and nothing that follows from the key leaves */
    kith_wipe(cpace->isk, sizeof cpace->isk);
    kith_wipe(cpace->tag, sizeof cpace->tag);
    kith_wipe(cpace->peer_tag, sizeof cpace->peer_tag);
    return KITH_ERR_CODE;
}

kith_err kith_cpace_isk(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_ISK_SIZE])
{
    if (cpace->stage != CONFIRMED) return KITH_ERR_STATE;
    memcpy(out, cpace->isk, KITH_CPACE_ISK_SIZE);
    return KITH_OK;
}

void kith_cpace_isk_unconfirmed(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_ISK_SIZE])
{
    memcpy(out, cpace->isk, KITH_CPACE_ISK_SIZE);
}
