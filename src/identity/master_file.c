#include "identity/master_file.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/blake3.h"
#include "identity/json.h"

#include <stdio.h>
#include <string.h>

#define CHECKSUM      "kith 2026-11 master_key.json: checksum"
#define CHECKSUM_SIZE 16

_Static_assert(sizeof(kith_master_device) == KITH_UUID_SIZE + KITH_ED25519_PUBLIC_SIZE + KITH_DEPOSIT_SIZE, "packed");

kith_err kith_master_new(kith_master **out)
{
    kith_master *master = kith_calloc(1, sizeof *master);
    if (!master) return KITH_ERR_NOMEM;
    *out = master;
    return KITH_OK;
}

void kith_master_free(kith_master *master) { kith_free(master); }

/* Where the device is, or would be. */
static size_t place_of(const kith_master *master, const uint8_t *uuid)
{
    size_t low = 0, high = master->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(master->devices[middle].uuid, uuid, KITH_UUID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const kith_master_device *kith_master_find(const kith_master *master, const uint8_t uuid[static KITH_UUID_SIZE])
{
    size_t at = place_of(master, uuid);
    bool there = at < master->count && memcmp(master->devices[at].uuid, uuid, KITH_UUID_SIZE) == 0;
    return there ? &master->devices[at] : NULL;
}

kith_err kith_master_put(kith_master *master, const kith_master_device *device)
{
    size_t at = place_of(master, device->uuid);
    if (!master->has_recovery) return KITH_ERR_STATE;
    if (!kith_master_find(master, device->uuid)) {
        if (master->count == KITH_MASTER_DEVICES_MAX) return KITH_ERR_LIMIT;
        memmove(&master->devices[at + 1], &master->devices[at], (master->count - at) * sizeof *master->devices);
        master->count++;
    }
    master->devices[at] = *device;
    return KITH_OK;
}

/* Over the values, not their spelling. */
static kith_err checksum(const kith_master *master, uint8_t out[static CHECKSUM_SIZE])
{
    const size_t devices = master->count * sizeof *master->devices,
                 size = 4 + 1 + sizeof master->recovery + 16 + devices;
    uint8_t *all = kith_malloc(size);
    if (!all) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(all, size);
    kith_write_u32(&w, KITH_MASTER_VERSION);
    kith_write_u8(&w, master->has_recovery);
    kith_write_bytes(&w, &master->recovery, sizeof master->recovery);
    kith_write_u64(&w, master->epoch);
    kith_write_u64(&w, (uint64_t)master->created_at_ms);
    kith_write_bytes(&w, master->devices, devices);
    kith_blake3_derive(CHECKSUM, all, kith_writer_size(&w), out, CHECKSUM_SIZE);
    kith_free(all);
    return KITH_OK;
}

/* ---- reading ---- */

static kith_err read_recovery(const json_t *root, kith_master *out, kith_reason *reason)
{
    const json_t *recovery = json_object_get(root, "recovery");
    int64_t epoch;
    if (json_is_null(recovery)) return KITH_OK;
    if (!json_is_object(recovery)) return kith__json_bad(reason, "recovery", "missing, or not an object");
    out->has_recovery = true;
    kith_err err = kith__json_hex(recovery, "sign", out->recovery.sign, sizeof out->recovery.sign, reason);
    if (!err) err = kith__json_hex(recovery, "open", out->recovery.open, sizeof out->recovery.open, reason);
    if (!err) err = kith__json_number(recovery, "epoch", 0, INT64_MAX, &epoch, reason);
    if (!err) err = kith__json_time(recovery, "created_at", &out->created_at_ms, reason);
    if (!err) out->epoch = (uint64_t)epoch;
    return err;
}

static kith_err read_devices(json_t *root, kith_master *out, kith_reason *reason)
{
    json_t *all = json_object_get(root, "device_private_keys"), *member;
    const char *name;
    if (!json_is_object(all)) return kith__json_bad(reason, "device_private_keys", "missing, or not an object");
    if (json_object_size(all) > KITH_MASTER_DEVICES_MAX)
        return kith__json_bad(reason, "device_private_keys", "more devices than there can be");
    if (json_object_size(all) && !out->has_recovery)
        return kith__json_bad(reason, "device_private_keys", "there are some without a recovery code");
    json_object_foreach (all, name, member) {
        kith_master_device device;
        if (kith_uuid_parse(name, device.uuid))
            return kith__json_bad(reason, "device_private_keys", "a name is not a UUID");
        kith_err err = kith__json_hex(member, "public_key", device.public_key, sizeof device.public_key, reason);
        if (!err) err = kith__json_hex(member, "sealed", device.deposit, sizeof device.deposit, reason);
        if (err) return err;
        if (kith_master_find(out, device.uuid)) /* in another spelling */
            return kith__json_bad(reason, "device_private_keys", "a UUID is there twice");
        if ((err = kith_master_put(out, &device))) return err;
    }
    return KITH_OK;
}

static kith_err read_members(json_t *root, kith_master *out, kith_reason *reason)
{
    uint8_t found[CHECKSUM_SIZE], right[CHECKSUM_SIZE];
    kith_err err = kith__json_version(root, "version", KITH_MASTER_VERSION, reason);
    if (!err) err = read_recovery(root, out, reason);
    if (!err) err = read_devices(root, out, reason);
    if (!err) err = kith__json_hex(root, "checksum", found, sizeof found, reason);
    if (!err) err = checksum(out, right);
    if (err || memcmp(found, right, sizeof right) == 0) return err;
    return kith__json_bad(reason, "checksum", "does not fit the rest of the file");
}

kith_err kith_master_decode(const void *data, size_t size, kith_master **out, kith_reason *reason)
{
    json_t *root = NULL;
    kith_master *master = NULL;
    kith_err err = kith__json_load(data, size, &root, reason);
    if (!err) err = kith_master_new(&master);
    if (!err) err = read_members(root, master, reason);
    json_decref(root);
    if (!err)
        *out = master;
    else
        kith_master_free(master);
    return err;
}

/* ---- writing ---- */

/* NULL when there was no memory. */
static json_t *recovery_object(const kith_master *master)
{
    json_t *object = master->has_recovery ? json_object() : json_null();
    if (!object || !master->has_recovery) return object;
    if (kith__json_set_hex(object, "sign", master->recovery.sign, sizeof master->recovery.sign) &&
        kith__json_set_hex(object, "open", master->recovery.open, sizeof master->recovery.open) &&
        kith__json_set_number(object, "epoch", (int64_t)master->epoch) &&
        kith__json_set_time(object, "created_at", master->created_at_ms))
        return object;
    json_decref(object);
    return NULL;
}

static bool set_device(json_t *all, const kith_master_device *device)
{
    char name[KITH_UUID_TEXT_SIZE];
    json_t *object = json_object();
    return json_object_set_new(all, kith_uuid_text(device->uuid, name), object) == 0 &&
           kith__json_set_hex(object, "public_key", device->public_key, sizeof device->public_key) &&
           kith__json_set_hex(object, "sealed", device->deposit, sizeof device->deposit);
}

static bool set_members(json_t *root, const kith_master *master, const uint8_t *sum)
{
    json_t *all = json_object();
    if (!kith__json_set_number(root, "version", KITH_MASTER_VERSION) ||
        json_object_set_new(root, "recovery", recovery_object(master))) {
        json_decref(all);
        return false;
    }
    if (json_object_set_new(root, "device_private_keys", all)) return false;
    for (size_t i = 0; i < master->count; i++)
        if (!set_device(all, &master->devices[i])) return false;
    return kith__json_set_hex(root, "checksum", sum, CHECKSUM_SIZE);
}

kith_err kith_master_encode(const kith_master *master, uint8_t **out, size_t *size)
{
    uint8_t sum[CHECKSUM_SIZE];
    json_t *root = NULL;
    kith_err err = checksum(master, sum);
    if (!err && !(root = json_object())) err = KITH_ERR_NOMEM;
    if (!err && !set_members(root, master, sum)) err = KITH_ERR_NOMEM;
    if (!err) err = kith__json_dump(root, out, size);
    json_decref(root);
    return err;
}
