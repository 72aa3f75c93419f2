#include "identity/device.h"

#include "base/mem.h"
#include "identity/json.h"

#include <string.h>

kith_err kith_device_make(const uint8_t random[static KITH_UUID_SIZE], const char *name, const char *os,
                          const char *hardware_model, int64_t now_ms, kith_device *out)
{
    kith_device device = {.created_at_ms = now_ms};
    kith_err err = kith_name_check(name, strlen(name), device.name);
    if (err) return err;
    memcpy(device.id, random, KITH_UUID_SIZE);
    device.id[6] = (uint8_t)((device.id[6] & 0x0f) | 0x40); /* version 4 */
    device.id[8] = (uint8_t)((device.id[8] & 0x3f) | 0x80); /* variant 10 */
    kith_name_clean(os ? os : "", os ? strlen(os) : 0, device.os, sizeof device.os);
    kith_name_clean(hardware_model ? hardware_model : "", hardware_model ? strlen(hardware_model) : 0,
                    device.hardware_model, sizeof device.hardware_model);
    *out = device;
    return KITH_OK;
}

static bool absent(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    return !member || json_is_null(member);
}

static kith_err read_text(const json_t *object, const char *name, char out[static KITH_NAME_SIZE], kith_reason *reason)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (absent(object, name)) {
        out[0] = 0;
        return KITH_OK;
    }
    if (!text) return kith__json_bad(reason, name, "not a string");
    kith_name_clean(text, strlen(text), out, KITH_NAME_SIZE);
    return KITH_OK;
}

static kith_err read_members(const json_t *object, kith_device *out, kith_reason *reason)
{
    static const uint8_t nil[KITH_UUID_SIZE];
    const char *id = json_string_value(json_object_get(object, "id"));
    const char *name = json_string_value(json_object_get(object, "name"));
    kith_err err = KITH_OK;
    if (json_is_number(json_object_get(object, "version")))
        err = kith__json_version(object, "version", KITH_DEVICE_VERSION, reason);
    if (err) return err;
    if (!id || kith_uuid_parse(id, out->id) || memcmp(out->id, nil, sizeof nil) == 0)
        return kith__json_bad(reason, "id", "missing, or not a UUID");
    if (!name || kith_name_check(name, strlen(name), out->name))
        return kith__json_bad(reason, "name", "missing, or not 1 to 63 bytes of plain text");
    if ((err = read_text(object, "os", out->os, reason))) return err;
    if ((err = read_text(object, "hardware_model", out->hardware_model, reason))) return err;
    out->created_at_ms = 0;
    return absent(object, "created_at") ? KITH_OK : kith__json_time(object, "created_at", &out->created_at_ms, reason);
}

kith_err kith_device_decode(const void *data, size_t size, kith_device *out, kith_reason *reason)
{
    json_t *root = NULL;
    kith_device device = {0};
    kith_err err = kith__json_load(data, size, &root, reason);
    if (!err) err = read_members(root, &device, reason);
    json_decref(root);
    if (!err) *out = device;
    return err;
}

/* Only what differs from `was` is set, so that the rest keeps the host application's spelling. */
static bool set_members(json_t *object, const kith_device *device, const kith_device *was)
{
    char id[KITH_UUID_TEXT_SIZE];
    bool good = true;
    if (absent(object, "version")) good = good && kith__json_set_number(object, "version", KITH_DEVICE_VERSION);
    if (memcmp(device->id, was->id, sizeof was->id) != 0)
        good = good && kith__json_set_text(object, "id", kith_uuid_text(device->id, id));
    if (strcmp(device->name, was->name) != 0) good = good && kith__json_set_text(object, "name", device->name);
    if (strcmp(device->os, was->os) != 0) good = good && kith__json_set_text(object, "os", device->os);
    if (strcmp(device->hardware_model, was->hardware_model) != 0)
        good = good && kith__json_set_text(object, "hardware_model", device->hardware_model);
    if (device->created_at_ms != was->created_at_ms)
        good = good && kith__json_set_time(object, "created_at", device->created_at_ms);
    return good;
}

kith_err kith_device_encode(const kith_device *device, const void *old, size_t old_size, uint8_t **out,
                            size_t *out_size, kith_reason *reason)
{
    kith_device was = {0};
    json_t *root = NULL;
    kith_err err = KITH_OK;
    if (old) {
        err = kith__json_load(old, old_size, &root, reason);
        if (!err) err = read_members(root, &was, reason);
    } else if (!(root = json_object())) {
        err = KITH_ERR_NOMEM;
    }
    if (!err && !set_members(root, device, &was)) err = KITH_ERR_NOMEM;
    if (!err) err = kith__json_dump(root, out, out_size);
    json_decref(root);
    return err;
}

/* ---- where it is ---- */

static kith_err read_reference(const json_t *root, char **out, kith_reason *reason)
{
    const char *path = json_string_value(json_object_get(root, "file"));
    if (json_object_get(root, "id") || !path) return KITH_ERR_NOT_FOUND;
    kith_err err = kith__json_version(root, "version", KITH_DEVICE_VERSION, reason);
    if (!err && *path != '/') err = kith__json_bad(reason, "file", "not a path that begins with \"/\"");
    if (err) return err;
    *out = kith_strdup(path);
    return *out ? KITH_OK : KITH_ERR_NOMEM;
}

kith_err kith_device_decode_reference(const void *data, size_t size, char **out, kith_reason *reason)
{
    json_t *root = NULL;
    kith_err err = kith__json_load(data, size, &root, reason);
    if (!err) err = read_reference(root, out, reason);
    json_decref(root);
    return err;
}

kith_err kith_device_encode_reference(const char *path, uint8_t **out, size_t *size)
{
    json_t *root = json_object();
    kith_err err =
        root && kith__json_set_number(root, "version", KITH_DEVICE_VERSION) && kith__json_set_text(root, "file", path)
            ? kith__json_dump(root, out, size)
            : KITH_ERR_NOMEM;
    json_decref(root);
    return err;
}
