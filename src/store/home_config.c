/* The home's settings: config.json, and what they name. */
#include "store/home_internal.h"

#include "base/mem.h"
#include "store/atomic.h"
#include "wire/relay.h"

#include <string.h>

#define TOKEN_FILE_MAX 4096 /* bytes; of them the first line counts */

const kith_home_file kith__config_file = {KITH_CONFIG_NAME, KITH_CONFIG_FILE_MAX, KITH_OTHERS_ANY};

kith_err kith_home_load_config(kith_home *home, kith_config *out, kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    *problem = (kith_problem){0};
    kith_err err = kith__home_read(home, &kith__config_file, &data, &size, problem);
    if (err == KITH_ERR_NO_FILE) {
        *out = (kith_config){{NULL}};
        return KITH_OK;
    }
    if (err) return err;
    err = kith_config_decode(data, size, out, &reason);
    kith_free(data);
    return err ? kith__say_decode(home, KITH_CONFIG_NAME, err, &reason, problem) : KITH_OK;
}

static kith_err say_change(const kith_home *home, kith_config_key key, const char *text, kith_err err,
                           const kith_reason *reason, kith_problem *problem)
{
    const kith_setting *about = kith_config_about(key);
    char shown[KITH_PATH_TEXT_MAX];
    if (err != KITH_ERR_ARG || !text) return kith__say_decode(home, KITH_CONFIG_NAME, err, reason, problem);
    kith_printable(text, strlen(text), shown, sizeof shown);
    return kith__say(problem, err, "\"%s\" is no good for %s: give %s", shown, about->key, about->allowed);
}

/* Under the lock. */
static kith_err change(const kith_home *home, kith_config_key key, const char *text, kith_problem *problem)
{
    kith_reason reason;
    uint8_t *old = NULL, *data = NULL;
    size_t old_size = 0, size = 0;
    kith_err err = kith__home_read(home, &kith__config_file, &old, &old_size, problem);
    if (err && err != KITH_ERR_NO_FILE) return err;
    err = kith_config_change(old, old_size, key, text, &data, &size, &reason);
    if (err)
        err = say_change(home, key, text, err, &reason, problem);
    else if (!old || old_size != size || memcmp(old, data, size) != 0)
        err = kith__home_write(home, KITH_CONFIG_NAME, data, size, problem);
    kith_free(data);
    kith_free(old);
    return err;
}

kith_err kith_home_set_config(kith_home *home, kith_config_key key, const char *text, kith_problem *problem)
{
    kith_file *lock = NULL;
    kith_file_info info;
    *problem = (kith_problem){0};
    if (!text && kith__home_stat(home, KITH_CONFIG_NAME, &info) == KITH_ERR_NO_FILE) return KITH_OK;
    kith_err err = kith__home_folders(home, problem);
    if (!err) err = kith__home_lock(home, &lock, problem);
    if (!err) err = change(home, key, text, problem);
    home->env->file->close(lock);
    return err;
}

/* ---- the relays' token ---- */

static kith_err take_token(const uint8_t *data, size_t size, char **out)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    if (n && data[n - 1] == '\r') n--;
    if (n == 0 || n > KITH_RELAY_TOKEN_MAX || memchr(data, 0, n)) return KITH_ERR_FORMAT;
    char *token = kith_calloc(1, n + 1);
    if (!token) return KITH_ERR_NOMEM;
    memcpy(token, data, n);
    *out = token;
    return KITH_OK;
}

kith_err kith_home_relay_token(kith_home *home, const kith_config *config, char **out, kith_problem *problem)
{
    const char *path = config->values[KITH_CONFIG_RELAY_TOKEN_FILE];
    uint8_t *data = NULL;
    size_t size = 0;
    *out = NULL;
    if (!path) return KITH_OK;
    kith_err err = kith_read_whole(home->env, path, TOKEN_FILE_MAX, &data, &size, NULL);
    if (!err) err = take_token(data, size, out);
    if (data) kith_wipe(data, size);
    kith_free(data);
    if (!err) return KITH_OK;
    if (err == KITH_ERR_NOMEM) return kith__say_plain(problem, err);
    kith_path_text file = kith__path_text(path, ""), config_file = kith__home_path(home, KITH_CONFIG_NAME);
    if (err == KITH_ERR_FORMAT || err == KITH_ERR_LIMIT || err == KITH_ERR_NOT_REGULAR)
        return kith__say(problem, KITH_ERR_DAMAGED,
                         "the first line of %s, which relay-token-file in %s names, must be a token of 1 to %d bytes",
                         file.text, config_file.text, KITH_RELAY_TOKEN_MAX);
    return kith__say(problem, err, "%s, which relay-token-file in %s names, cannot be read: %s", file.text,
                     config_file.text, kith_err_text(err));
}
