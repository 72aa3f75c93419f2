#include "identity/keys_file.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/blake3.h"
#include "identity/json.h"

#include <string.h>

#define ALGORITHM     "argon2id"
#define DOMAIN        "kith network_keys.json"
#define CHECKSUM      "kith 2026-11 network_keys.json: checksum"
#define CHECKSUM_SIZE 16
#define LANE_MIN_KIB  8 /* RFC 9106 section 3.1: memory is at least 8 KiB a lane */

/* Everything that is authenticated: fixed sizes and two constants, so no two contents share one form. */
#define BOUND_SIZE (sizeof DOMAIN + 4 + 16 + 32 + 32 + sizeof ALGORITHM + 12 + 8)

static void bound(const kith_keys_file *keys, uint8_t out[static BOUND_SIZE])
{
    kith_writer w = kith_writer_of(out, BOUND_SIZE);
    kith_write_bytes(&w, DOMAIN, sizeof DOMAIN);
    kith_write_u32(&w, KITH_KEYS_VERSION);
    kith_write_bytes(&w, keys->device_id, sizeof keys->device_id);
    kith_write_bytes(&w, keys->public_key, sizeof keys->public_key);
    kith_write_bytes(&w, keys->salt, sizeof keys->salt);
    kith_write_bytes(&w, ALGORITHM, sizeof ALGORITHM);
    kith_write_u32(&w, keys->kdf.memory_kib);
    kith_write_u32(&w, keys->kdf.passes);
    kith_write_u32(&w, keys->kdf.lanes);
    kith_write_u64(&w, (uint64_t)keys->created_at_ms);
}

static void checksum(const kith_keys_file *keys, uint8_t out[static CHECKSUM_SIZE])
{
    uint8_t all[BOUND_SIZE + KITH_KEYS_SEALED_SIZE];
    bound(keys, all);
    memcpy(all + BOUND_SIZE, keys->sealed, KITH_KEYS_SEALED_SIZE);
    kith_blake3_derive(CHECKSUM, all, sizeof all, out, CHECKSUM_SIZE);
}

static bool within_bounds(const kith_kdf_params *kdf)
{
    return kdf->lanes >= 1 && kdf->lanes <= KITH_KDF_LANES_MAX && kdf->passes >= 1 &&
           kdf->passes <= KITH_KDF_PASSES_MAX && kdf->memory_kib >= KITH_KDF_MEMORY_MIN_KIB &&
           kdf->memory_kib >= LANE_MIN_KIB * kdf->lanes && kdf->memory_kib <= KITH_KDF_MEMORY_MAX_KIB;
}

kith_err kith_keys_password_key(const kith_keys_file *keys, kith_bytes password,
                                uint8_t key[static KITH_PASSWORD_KEY_SIZE])
{
    const kith_bytes none = {NULL, 0};
    if (password.size == 0) return KITH_ERR_ARG;
    if (!within_bounds(&keys->kdf)) return KITH_ERR_DAMAGED;
    return kith_kdf(&keys->kdf, password, (kith_bytes){keys->salt, sizeof keys->salt}, none, none, key,
                    KITH_PASSWORD_KEY_SIZE);
}

kith_err kith_keys_slot_seal(const kith_keys_file *keys, const uint8_t key[static KITH_PASSWORD_KEY_SIZE],
                             const char *context, const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *secret,
                             size_t size, uint8_t *out)
{
    uint8_t ad[BOUND_SIZE], subkey[KITH_AEAD_KEY_SIZE];
    bound(keys, ad);
    kith_blake3_derive(context, key, KITH_PASSWORD_KEY_SIZE, subkey, sizeof subkey);
    memcpy(out, nonce, KITH_AEAD_NONCE_SIZE);
    kith_err err = kith_aead_seal_once(subkey, nonce, ad, sizeof ad, secret, size, out + KITH_AEAD_NONCE_SIZE);
    kith_wipe(subkey, sizeof subkey);
    return err;
}

kith_err kith_keys_slot_open(const kith_keys_file *keys, const uint8_t key[static KITH_PASSWORD_KEY_SIZE],
                             const char *context, const uint8_t *sealed, size_t size, uint8_t *out)
{
    uint8_t ad[BOUND_SIZE], subkey[KITH_AEAD_KEY_SIZE];
    if (size < KITH_KEYS_OVERHEAD) return KITH_ERR_PASSWORD;
    bound(keys, ad);
    kith_blake3_derive(context, key, KITH_PASSWORD_KEY_SIZE, subkey, sizeof subkey);
    kith_err err = kith_aead_open_once(subkey, sealed, ad, sizeof ad, sealed + KITH_AEAD_NONCE_SIZE,
                                       size - KITH_AEAD_NONCE_SIZE, out);
    kith_wipe(subkey, sizeof subkey);
    return err == KITH_ERR_CRYPTO ? KITH_ERR_PASSWORD : err;
}

kith_err kith_keys_seal(kith_keys_file *keys, kith_bytes password, const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                        const uint8_t nonce[static KITH_AEAD_NONCE_SIZE])
{
    uint8_t key[KITH_PASSWORD_KEY_SIZE];
    kith_keys_file made = *keys;
    kith_err err = kith_crypto_init();
    if (!err) err = kith_keys_password_key(&made, password, key);
    if (err) return err == KITH_ERR_DAMAGED ? KITH_ERR_ARG : err;
    kith_ed25519_public(seed, made.public_key);
    err = kith_keys_slot_seal(&made, key, KITH_KEYS_SEED, nonce, seed, KITH_ED25519_SEED_SIZE, made.sealed);
    kith_wipe(key, sizeof key);
    if (!err) *keys = made;
    return err;
}

kith_err kith_keys_open(const kith_keys_file *keys, kith_bytes password, uint8_t seed[static KITH_ED25519_SEED_SIZE])
{
    uint8_t key[KITH_PASSWORD_KEY_SIZE], opened[KITH_ED25519_SEED_SIZE], public_key[KITH_ED25519_PUBLIC_SIZE];
    kith_err err = kith_crypto_init();
    if (!err) err = kith_keys_password_key(keys, password, key);
    if (err) return err;
    err = kith_keys_slot_open(keys, key, KITH_KEYS_SEED, keys->sealed, sizeof keys->sealed, opened);
    kith_wipe(key, sizeof key);
    if (!err) {
        kith_ed25519_public(opened, public_key);
        if (memcmp(public_key, keys->public_key, sizeof public_key) != 0) err = KITH_ERR_DAMAGED;
    }
    if (!err) memcpy(seed, opened, sizeof opened);
    kith_wipe(opened, sizeof opened);
    return err;
}

static kith_err read_kdf(const json_t *object, kith_kdf_params *out, kith_reason *reason)
{
    const json_t *kdf = json_object_get(object, "kdf_params");
    const char *algorithm = json_string_value(json_object_get(kdf, "algorithm"));
    const uint32_t max_memory = KITH_KDF_MEMORY_MAX_KIB;
    int64_t memory, passes, lanes;
    if (!algorithm || strcmp(algorithm, ALGORITHM) != 0)
        return kith__json_bad(reason, "kdf_params.algorithm", "not \"argon2id\"");
    kith_err err = kith__json_number(kdf, "memory_kib", KITH_KDF_MEMORY_MIN_KIB, max_memory, &memory, reason);
    if (!err) err = kith__json_number(kdf, "passes", 1, KITH_KDF_PASSES_MAX, &passes, reason);
    if (!err) err = kith__json_number(kdf, "lanes", 1, KITH_KDF_LANES_MAX, &lanes, reason);
    if (err) return err;
    *out = (kith_kdf_params){.memory_kib = (uint32_t)memory, .passes = (uint32_t)passes, .lanes = (uint32_t)lanes};
    return within_bounds(out) ? KITH_OK : kith__json_bad(reason, "memory_kib", "less than 8 for each lane");
}

static kith_err read_members(const json_t *root, kith_keys_file *out, kith_reason *reason)
{
    const char *id = json_string_value(json_object_get(root, "device_id"));
    uint8_t found[CHECKSUM_SIZE], right[CHECKSUM_SIZE];
    kith_err err = kith__json_version(root, "version", KITH_KEYS_VERSION, reason);
    if (err) return err;
    if (!id || kith_uuid_parse(id, out->device_id))
        return kith__json_bad(reason, "device_id", "missing, or not a UUID");
    err = kith__json_hex(root, "public_key", out->public_key, sizeof out->public_key, reason);
    if (!err) err = kith__json_hex(root, "encrypted_private_key", out->sealed, sizeof out->sealed, reason);
    if (!err) err = kith__json_hex(root, "salt", out->salt, sizeof out->salt, reason);
    if (!err) err = read_kdf(root, &out->kdf, reason);
    if (!err) err = kith__json_time(root, "network_identity_created_at", &out->created_at_ms, reason);
    if (!err) err = kith__json_hex(root, "checksum", found, sizeof found, reason);
    if (err) return err;
    checksum(out, right);
    return memcmp(found, right, sizeof right) == 0
               ? KITH_OK
               : kith__json_bad(reason, "checksum", "does not fit the rest of the file");
}

kith_err kith_keys_decode(const void *data, size_t size, kith_keys_file *out, kith_reason *reason)
{
    json_t *root = NULL;
    kith_keys_file keys;
    kith_err err = kith__json_load(data, size, &root, reason);
    if (!err) err = read_members(root, &keys, reason);
    json_decref(root);
    if (!err) *out = keys;
    return err;
}

/* The KDF's parameters, beside members of kdf_params that we do not know. */
static bool set_kdf(json_t *root, const kith_kdf_params *kdf)
{
    if (!json_is_object(json_object_get(root, "kdf_params")) && json_object_set_new(root, "kdf_params", json_object()))
        return false;
    json_t *object = json_object_get(root, "kdf_params");
    return kith__json_set_text(object, "algorithm", ALGORITHM) &&
           kith__json_set_number(object, "memory_kib", kdf->memory_kib) &&
           kith__json_set_number(object, "passes", kdf->passes) && kith__json_set_number(object, "lanes", kdf->lanes);
}

static bool set_members(json_t *root, const kith_keys_file *keys)
{
    char id[KITH_UUID_TEXT_SIZE];
    uint8_t sum[CHECKSUM_SIZE];
    checksum(keys, sum);
    return kith__json_set_number(root, "version", KITH_KEYS_VERSION) &&
           kith__json_set_text(root, "device_id", kith_uuid_text(keys->device_id, id)) &&
           kith__json_set_hex(root, "public_key", keys->public_key, sizeof keys->public_key) &&
           kith__json_set_hex(root, "encrypted_private_key", keys->sealed, sizeof keys->sealed) &&
           kith__json_set_hex(root, "salt", keys->salt, sizeof keys->salt) && set_kdf(root, &keys->kdf) &&
           kith__json_set_time(root, "network_identity_created_at", keys->created_at_ms) &&
           kith__json_set_hex(root, "checksum", sum, sizeof sum);
}

kith_err kith_keys_encode(const kith_keys_file *keys, const void *old, size_t old_size, uint8_t **out, size_t *out_size,
                          kith_reason *reason)
{
    kith_keys_file was;
    json_t *root = NULL;
    kith_err err = KITH_OK;
    if (old) {
        err = kith__json_load(old, old_size, &root, reason);
        if (!err) err = read_members(root, &was, reason);
    } else if (!(root = json_object())) {
        err = KITH_ERR_NOMEM;
    }
    if (!err && !set_members(root, keys)) err = KITH_ERR_NOMEM;
    if (!err) err = kith__json_dump(root, out, out_size);
    json_decref(root);
    return err;
}

/* ---- keys inside device.json ---- */

#define FLATTENED         "network_keys"
#define FLATTENED_CREATED "network_identity_created_at"

/* Exactly `size` bytes: in hex, or an array of numbers. */
static kith_err read_bytes(const json_t *object, const char *name, uint8_t *out, size_t size, kith_reason *reason)
{
    const json_t *array = json_object_get(object, name);
    if (!json_is_array(array)) return kith__json_hex(object, name, out, size, reason);
    if (json_array_size(array) != size) return kith__json_bad(reason, name, "not as many bytes as there should be");
    for (size_t i = 0; i < size; i++) {
        const json_t *byte = json_array_get(array, i);
        json_int_t value = json_is_integer(byte) ? json_integer_value(byte) : -1;
        if (value < 0 || value > UINT8_MAX) return kith__json_bad(reason, name, "not an array of bytes");
        out[i] = (uint8_t)value;
    }
    return KITH_OK;
}

static kith_err read_flattened(const json_t *root, kith_keys_file *out, kith_reason *reason)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    const json_t *keys = json_object_get(root, FLATTENED);
    if (!keys || json_is_null(keys)) return KITH_ERR_NOT_FOUND;
    if (!id || kith_uuid_parse(id, out->device_id)) return kith__json_bad(reason, "id", "missing, or not a UUID");
    kith_err err = read_bytes(keys, "public_key", out->public_key, sizeof out->public_key, reason);
    if (!err) err = read_bytes(keys, "encrypted_private_key", out->sealed, sizeof out->sealed, reason);
    if (!err) err = read_bytes(keys, "salt", out->salt, sizeof out->salt, reason);
    if (!err) err = read_kdf(keys, &out->kdf, reason);
    return err ? err : kith__json_time(root, FLATTENED_CREATED, &out->created_at_ms, reason);
}

kith_err kith_keys_decode_flattened(const void *device_file, size_t size, kith_keys_file *out, kith_reason *reason)
{
    json_t *root = NULL;
    kith_keys_file keys;
    kith_err err = kith__json_load(device_file, size, &root, reason);
    if (!err) err = read_flattened(root, &keys, reason);
    json_decref(root);
    if (!err) *out = keys;
    return err;
}

kith_err kith_keys_strip_flattened(const void *device_file, size_t size, uint8_t **out, size_t *out_size,
                                   kith_reason *reason)
{
    json_t *root = NULL;
    kith_err err = kith__json_load(device_file, size, &root, reason);
    if (err) return err;
    (void)json_object_del(root, FLATTENED); /* not being there is fine */
    (void)json_object_del(root, FLATTENED_CREATED);
    err = kith__json_dump(root, out, out_size);
    json_decref(root);
    return err;
}
