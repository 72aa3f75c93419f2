/* device.json and config.json, whose form is the same.  What decodes keeps the rules, and is what encoding it again,
 * alone or over the same file, decodes to; of settings each can be set anew or taken back, and the others stay. */
#include "base/mem.h"
#include "identity/config.h"
#include "identity/device.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const kith_device *device, const void *old, size_t old_size)
{
    kith_device again;
    kith_reason reason;
    uint8_t *out;
    size_t out_size;
    if (kith_device_encode(device, old, old_size, &out, &out_size, &reason)) abort();
    if (kith_device_decode(out, out_size, &again, &reason) || memcmp(device, &again, sizeof again) != 0) abort();
    kith_free(out);
}

/* NULL is like NULL. */
static int same(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static void change(const kith_config *config, int key, const char *text, const void *data, size_t size)
{
    kith_config again;
    kith_reason reason;
    uint8_t *out;
    size_t out_size;
    if (kith_config_change(data, size, (kith_config_key)key, text, &out, &out_size, &reason)) abort();
    if (kith_config_decode(out, out_size, &again, &reason)) abort();
    for (int i = 0; i < KITH_CONFIG_KEYS; i++) {
        /* A token goes with the relays that it is for. */
        bool taken_back = key == KITH_CONFIG_RELAY && !text && i == KITH_CONFIG_RELAY_TOKEN_FILE && !again.values[i];
        if (!taken_back && !same(again.values[i], i == key ? text : config->values[i])) abort();
    }
    kith_config_done(&again);
    kith_free(out);
}

static void check_config(const uint8_t *data, size_t size)
{
    kith_config config;
    kith_reason reason = {""};
    char *memory;
    const char *urls[KITH_OPTIONS_RELAYS_MAX];
    size_t count;
    kith_err err = kith_config_decode(data, size, &config, &reason);
    if (err && ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0])) abort();
    if (err) return;
    for (int i = 0; i < KITH_CONFIG_KEYS; i++) {
        change(&config, i, config.values[i], data, size);
        change(&config, i, NULL, data, size);
    }
    if (kith_config_relays(&config, &memory, urls, &count) || count > KITH_OPTIONS_RELAYS_MAX) abort();
    kith_free(memory);
    kith_config_done(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_device device;
    kith_reason reason = {""};
    check_config(data, size);
    kith_err err = kith_device_decode(data, size, &device, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return 0;
    }
    if (!kith_name_valid(device.name)) abort();
    check(&device, NULL, 0);
    check(&device, data, size);
    memcpy(device.name, "another", sizeof "another");
    memset(device.name + sizeof "another", 0, sizeof device.name - sizeof "another");
    check(&device, data, size);
    return 0;
}
