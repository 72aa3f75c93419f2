/* kith.h without a network, for the command's own tests: the home is two small files, and what a node says follows a
 * script.
 *
 * $KITH_FAKE_SCRIPT names a file with a line for each event, "OPERATION EVENT member=value...", told in order once
 * OPERATION began: pair code words=a_b_c_d_e_f expires_ms=1000       _ stands for a blank, %XX for a byte pair ask
 * name=laptop fingerprint=00...            waits for the answer: no ends the operation as declined pair wait ms=50
 * nothing happens so long pair end err=-24 message=... Without a line "end" an operation goes on until it is cancelled.
 * After an ask or offer with open=1 the script goes on without the answer.  An operation that begins again is told what
 * then remains. $KITH_FAKE_TRACE names a file to which each call that does something is appended. */
#include "base/mem.h"
#include "base/text.h"
#include "identity/config.h"

#include "../../relay/serve.h"

#include <kith/kith.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LINE        2048
#define STEPS_MAX   64
#define DEVICES_MAX 8
#define SELF_ID     "01890000-0000-7000-8000-000000000001"
#define SELF_PRINT  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER_ID    "01890000-0000-7000-8000-0000000000aa"
#define OTHER_PRINT "a1b2c3d4e5f60718a1b2c3d4e5f60718a1b2c3d4e5f60718a1b2c3d4e5f60718"

static const char *const words[] = {"acid",  "acorn", "apple", "april",  "banana", "cherry",
                                    "grape", "lemon", "melon", "orange", "peach",  "tender"};

static void trace(const char *format, ...)
{
    const char *path = getenv("KITH_FAKE_TRACE");
    FILE *f = path ? fopen(path, "ae") : NULL;
    va_list list;
    if (!f) return;
    va_start(list, format);
    vfprintf(f, format, list);
    va_end(list);
    fputc('\n', f);
    fclose(f);
}

static kith_err problem_set(kith_problem *problem, kith_err err, const char *message)
{
    *problem = (kith_problem){.err = err};
    snprintf(problem->message, sizeof problem->message, "%s", message ? message : kith_err_text(err));
    return err;
}

/* ---- the home: "identity" is a name and a password, "devices" a line each: name id fingerprint own|contact ---- */

static FILE *home_file(const char *home, const char *name, const char *how)
{
    char path[LINE];
    snprintf(path, sizeof path, "%s/%s", home, name);
    return fopen(path, how);
}

static bool read_identity(const char *home, char name[KITH_NAME_TEXT], char password[128])
{
    FILE *f = home_file(home, "identity", "re");
    if (!f) return false;
    bool ok = fscanf(f, "%64[^\n]\n%127[^\n]", name, password) == 2;
    fclose(f);
    return ok;
}

static void describe_self(const char *name, kith_device_info *self)
{
    *self = (kith_device_info){.id = SELF_ID, .fingerprint = SELF_PRINT, .os = "Linux"};
    snprintf(self->name, sizeof self->name, "%s", name);
}

/* The recovery code of every fake home that has one ("recovery" in it): all words of the list, twice. */
static void fake_code(char out[KITH_RECOVERY_TEXT])
{
    *out = 0;
    for (size_t i = 0; i < KITH_RECOVERY_WORDS; i++) {
        if (i) strcat(out, " ");
        strcat(out, words[i % 12]);
    }
}

static bool has_recovery(const char *home)
{
    FILE *f = home_file(home, "recovery", "re");
    if (f) fclose(f);
    return f != NULL;
}

static bool write_identity(const char *home, const char *name, const void *password, size_t size)
{
    mkdir(home, 0700);
    FILE *f = home_file(home, "identity", "we");
    if (!f) return false;
    fprintf(f, "%s\n%.*s\n", name, (int)size, (const char *)password);
    fclose(f);
    return true;
}

kith_err kith_init(const char *home, const kith_init_options *options, kith_init_result *result, kith_problem *problem)
{
    char old[KITH_NAME_TEXT], secret[128];
    if (options->size != sizeof *options || result->size != sizeof *result)
        return problem_set(problem, KITH_ERR_ARG, "size");
    trace("init recovery=%d", !options->no_recovery);
    *result->recovery_code = 0;
    result->created = !read_identity(home, old, secret);
    if (result->created) {
        snprintf(old, sizeof old, "%s", options->name ? options->name : "host");
        if (!write_identity(home, old, options->password, options->password_size))
            return problem_set(problem, KITH_ERR_PERMISSION, NULL);
        FILE *f = options->no_recovery ? NULL : home_file(home, "recovery", "we");
        if (f) fake_code(result->recovery_code);
        if (f) fclose(f);
    }
    describe_self(old, &result->self);
    return KITH_OK;
}

/* KITH_FAKE_DERIVING: it takes until there is a file of that name. */
static bool right(const char *secret, const void *given, size_t size)
{
    const char *until = getenv("KITH_FAKE_DERIVING");
    while (until && access(until, F_OK)) poll(NULL, 0, 10);
    return strlen(secret) == size && !memcmp(secret, given, size);
}

kith_err kith_change_password(const char *home, const kith_password_change *c, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128], code[KITH_RECOVERY_TEXT];
    if (c->size != sizeof *c) return problem_set(problem, KITH_ERR_ARG, "size");
    if (!read_identity(home, name, secret)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    fake_code(code);
    if (!c->check) trace("passwd recovery=%d", c->recovery_code != NULL);
    if (c->recovery_code && !has_recovery(home)) return problem_set(problem, KITH_ERR_STATE, "no code");
    if (c->recovery_code && strcmp(c->recovery_code, code) != 0) return problem_set(problem, KITH_ERR_CODE, NULL);
    if (!c->recovery_code && !right(secret, c->old_password, c->old_password_size))
        return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    if (!c->check) write_identity(home, name, c->new_password, c->new_password_size);
    return KITH_OK;
}

/* The number in "recovery": each other one is another code. */
static long recovery_changes(const char *home)
{
    long n = 0;
    FILE *f = home_file(home, "recovery", "re");
    if (f && fscanf(f, "%ld", &n) != 1) n = 0;
    if (f) fclose(f);
    return n;
}

static bool has_file(const char *home, const char *name)
{
    FILE *f = home_file(home, name, "re");
    if (f) fclose(f);
    return f != NULL;
}

/* "damaged" in the home: master_key.json is. */
kith_err kith_recovery(const char *home, kith_recovery_info *info, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128];
    if (!read_identity(home, name, secret)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    FILE *damaged = home_file(home, "damaged", "re");
    if (damaged) fclose(damaged);
    if (damaged) return problem_set(problem, KITH_ERR_DAMAGED, "master_key.json is damaged: move it away");
    bool exists = has_recovery(home);
    *info = (kith_recovery_info){.size = sizeof *info, .exists = exists, .deposited = exists, .devices = exists};
    if (exists) info->created_ms = 1795490963123 + recovery_changes(home);
    info->waiting = has_file(home, "waiting"); /* a code that another device made */
    if (info->waiting) strcpy(info->waiting_by, "laptop");
    if (info->waiting) strcpy(info->waiting_id, "00aa");
    info->waiting_several = has_file(home, "several");
    info->ended = has_file(home, "ended");
    if (info->ended) strcpy(info->ended_by, "laptop");
    if (info->ended) info->ended_ms = 1795490963123;
    return KITH_OK;
}

/* "revoked" in the home: this device was. */
kith_err kith_revoked(const char *home, char message[KITH_REVOKED_TEXT], kith_problem *problem)
{
    (void)problem;
    FILE *f = home_file(home, "revoked", "re");
    if (f) fclose(f);
    snprintf(message, KITH_REVOKED_TEXT, "%s", f ? "this device was revoked by pad: sold" : "");
    return KITH_OK;
}

kith_err kith_recovery_new(const char *home, const kith_recovery_options *o, kith_recovery_result *result,
                           kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128], code[KITH_RECOVERY_TEXT];
    if (o->size != sizeof *o || result->size != sizeof *result) return problem_set(problem, KITH_ERR_ARG, "size");
    if (!read_identity(home, name, secret)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    fake_code(code);
    trace("recovery old=%d lost=%d%s", o->old_code != NULL, o->lost, o->check ? " check" : o->new_code ? " shown" : "");
    if (!right(secret, o->password, o->password_size)) return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    if (o->old_code && strcmp(o->old_code, code) != 0) return problem_set(problem, KITH_ERR_CODE, NULL);
    if (!o->check && strcmp(o->new_code, code) != 0) return problem_set(problem, KITH_ERR_ARG, "another code");
    FILE *full = o->check ? NULL : home_file(home, "full", "re");
    if (full) fclose(full);
    if (full) return problem_set(problem, KITH_ERR_NO_SPACE, NULL);
    strcpy(result->recovery_code, code);
    result->in_force = !o->lost;
    return KITH_OK;
}

kith_err kith_recovery_accept(const char *home, const char *id, const void *password, size_t size, bool *in_force,
                              kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128];
    if (strcmp(id, "00aa") != 0) return problem_set(problem, KITH_ERR_NOT_FOUND, "another id than was shown");
    if (!read_identity(home, name, secret) || !right(secret, password, size))
        return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    trace("accept");
    *in_force = true;
    return KITH_OK;
}

kith_err kith_backup(const char *home, const char *path, const void *password, size_t size, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128];
    if (!read_identity(home, name, secret)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    if (!right(secret, password, size)) return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    FILE *f = fopen(path, "wxe");
    if (!f) return problem_set(problem, KITH_ERR_EXISTS, NULL);
    fprintf(f, "%s\n%s\n", name, secret);
    fclose(f);
    return KITH_OK;
}

kith_err kith_restore(const char *home, const kith_restore_options *o, kith_device_info *self, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128], code[KITH_RECOVERY_TEXT];
    if (o->size != sizeof *o) return problem_set(problem, KITH_ERR_ARG, "size");
    fake_code(code);
    if (!o->check) trace("restore device=%s recovery=%d", o->device ? o->device : "-", o->recovery_code != NULL);
    FILE *f = fopen(o->path, "re");
    if (!f) return problem_set(problem, KITH_ERR_NO_FILE, NULL);
    bool ok = fscanf(f, "%64[^\n]\n%127[^\n]", name, secret) == 2;
    fclose(f);
    if (!ok) return problem_set(problem, KITH_ERR_DAMAGED, NULL);
    if (o->recovery_code && strcmp(o->recovery_code, code) != 0) return problem_set(problem, KITH_ERR_CODE, NULL);
    if (!o->recovery_code && !right(secret, o->password, o->password_size))
        return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    if (o->check) return KITH_OK;
    write_identity(home, o->device ? o->device : name, o->password, o->password_size);
    describe_self(o->device ? o->device : name, self);
    return KITH_OK;
}

kith_err kith_self(const char *home, kith_device_info *self, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], password[128];
    if (!read_identity(home, name, password)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    describe_self(name, self);
    return KITH_OK;
}

static size_t read_devices(const char *home, kith_device_info *list)
{
    FILE *f = home_file(home, "devices", "re");
    char kind[16];
    size_t count = 0;
    if (!f) return 0;
    while (count < DEVICES_MAX) {
        kith_device_info *d = &list[count];
        *d = (kith_device_info){.os = "Linux"};
        if (fscanf(f, "%64s %36s %64s %15s", d->name, d->id, d->fingerprint, kind) != 4) break;
        d->trust = strcmp(kind, "own") ? KITH_RELATION_CONTACT : KITH_RELATION_OWN;
        count++;
    }
    fclose(f);
    return count;
}

static void write_devices(const char *home, const kith_device_info *list, size_t count)
{
    FILE *f = home_file(home, "devices", "we");
    for (size_t i = 0; f && i < count; i++)
        fprintf(f, "%s %s %s %s\n", list[i].name, list[i].id, list[i].fingerprint,
                list[i].trust == KITH_RELATION_OWN ? "own" : "contact");
    if (f) fclose(f);
}

kith_err kith_devices(const char *home, kith_device_info **devices, size_t *count, kith_problem *problem)
{
    kith_device_info self;
    kith_err err = kith_self(home, &self, problem);
    if (err) return err;
    *devices = calloc(DEVICES_MAX, sizeof **devices);
    *count = read_devices(home, *devices);
    return KITH_OK;
}

void kith_free_devices(kith_device_info *devices) { free(devices); }

kith_err kith_find(const char *home, const char *text, kith_device_info *device, kith_problem *problem)
{
    kith_device_info list[DEVICES_MAX];
    size_t count = read_devices(home, list), found = 0;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, text) || !strcmp(list[i].id, text)) {
            *device = list[i];
            return KITH_OK;
        }
    for (size_t i = 0; i < count; i++)
        if (strlen(text) >= 4 && !strncmp(list[i].fingerprint, text, strlen(text))) {
            *device = list[i];
            found++;
        }
    if (found == 1) return KITH_OK;
    if (found) return problem_set(problem, KITH_ERR_AMBIGUOUS, "fits several devices: one, two");
    return problem_set(problem, KITH_ERR_NOT_FOUND, "no such device is paired here: `kith devices` lists them");
}

kith_err kith_rename(const char *home, const char *id, const char *name, kith_device_info *device,
                     kith_problem *problem)
{
    kith_device_info list[DEVICES_MAX];
    size_t count = read_devices(home, list);
    bool taken = false;
    for (size_t i = 0; i < count; i++) taken = taken || (!strcmp(list[i].name, name) && strcmp(list[i].id, id) != 0);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].id, id)) {
            snprintf(list[i].name, sizeof list[i].name, "%.60s%s", name, taken ? "-2" : "");
            *device = list[i];
            write_devices(home, list, count);
            return KITH_OK;
        }
    if (kith_self(home, device, problem) || strcmp(device->id, id) != 0)
        return problem_set(problem, KITH_ERR_NOT_FOUND, NULL);
    snprintf(device->name, sizeof device->name, "%s", name);
    return KITH_OK;
}

kith_err kith_verify_digits(const char *home, const char *id, char digits[KITH_DIGITS_TEXT], kith_problem *problem)
{
    (void)home, (void)id, (void)problem;
    for (size_t i = 0; i < KITH_DIGITS_TEXT - 1; i++) digits[i] = i % 6 == 5 ? ' ' : (char)('0' + i / 6 % 10);
    digits[KITH_DIGITS_TEXT - 1] = 0;
    return KITH_OK;
}

kith_err kith_mark_verified(const char *home, const char *id, bool verified, kith_problem *problem)
{
    (void)home, (void)problem;
    trace("verified %s %d", id, verified);
    return KITH_OK;
}

kith_err kith_permit(const char *home, const char *id, const char *service, kith_permission permission,
                     kith_problem *problem)
{
    (void)home;
    if (strcmp(service, "file") != 0) return problem_set(problem, KITH_ERR_ARG, "there is no such service");
    trace("permit %s %s %d", id, service, (int)permission);
    return KITH_OK;
}

kith_err kith_permits(const char *home, const char *id, kith_permit_info *out, size_t cap, size_t *count,
                      kith_problem *problem)
{
    (void)home, (void)id, (void)problem, (void)cap;
    out[0] = (kith_permit_info){.service = "ping", .effective = KITH_PERMISSION_ALLOW};
    out[1] = (kith_permit_info){.service = "file", .said = KITH_PERMISSION_DENY, .effective = KITH_PERMISSION_DENY};
    *count = 2;
    return KITH_OK;
}

kith_err kith_forget(const char *home, const char *id, kith_problem *problem)
{
    kith_device_info list[DEVICES_MAX];
    size_t count = read_devices(home, list);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].id, id)) {
            list[i] = list[count - 1];
            write_devices(home, list, count - 1);
            return KITH_OK;
        }
    return problem_set(problem, KITH_ERR_NOT_FOUND, NULL);
}

/* ---- settings: config.json is a real one ---- */

const kith_setting *kith_setting_at(unsigned i)
{
    return i < KITH_CONFIG_KEYS ? kith_config_about((kith_config_key)i) : NULL;
}

static kith_err no_setting(kith_problem *problem) { return problem_set(problem, KITH_ERR_ARG, "there is no setting"); }

/* As it is; *size 0: there is none. */
static void read_config(const char *home, uint8_t data[KITH_CONFIG_FILE_MAX], size_t *size)
{
    FILE *f = home_file(home, "config.json", "re");
    *size = f ? fread(data, 1, KITH_CONFIG_FILE_MAX, f) : 0;
    if (f) fclose(f);
}

kith_err kith_config_get(const char *home, const char *key, char value[KITH_SETTING_TEXT], bool *set,
                         kith_problem *problem)
{
    uint8_t data[KITH_CONFIG_FILE_MAX];
    size_t size;
    kith_config config = {{NULL}};
    kith_reason reason;
    kith_config_key which = kith_config_find(key);
    if (which == KITH_CONFIG_KEYS) return no_setting(problem);
    read_config(home, data, &size);
    kith_err err = size ? kith_config_decode(data, size, &config, &reason) : KITH_OK;
    if (err) return problem_set(problem, err, reason.text);
    snprintf(value, KITH_SETTING_TEXT, "%s", kith_config_text(&config, which));
    *set = config.values[which] != NULL;
    kith_config_done(&config);
    return KITH_OK;
}

kith_err kith_config_set(const char *home, const char *key, const char *value, kith_problem *problem)
{
    uint8_t data[KITH_CONFIG_FILE_MAX], *out;
    size_t size, out_size;
    kith_reason reason;
    kith_config_key which = kith_config_find(key);
    if (which == KITH_CONFIG_KEYS) return no_setting(problem);
    read_config(home, data, &size);
    kith_err err = kith_config_change(size ? data : NULL, size, which, value, &out, &out_size, &reason);
    if (err == KITH_ERR_ARG) return problem_set(problem, err, kith_config_about(which)->allowed);
    if (err) return problem_set(problem, err, reason.text);
    FILE *f = home_file(home, "config.json", "we");
    if (!f) abort();
    fwrite(out, 1, out_size, f);
    fclose(f);
    kith_free(out);
    return KITH_OK;
}

/* ---- the node: a timer is readable while the script has something to tell ---- */

typedef struct step {
    char line[LINE];
    bool told;
} step;

struct kith_node {
    int timer;
    bool keys, attached;
    step steps[STEPS_MAX];
    size_t count;
    kith_op op;
    char name[16]; /* of the operation under way; "": none */
    kith_op question;
    bool cancelled, declined, waited, ready;
    void (*log)(void *user, kith_level level, const char *line);
    kith_level log_level;
};

static void arm(kith_node *node, long ms)
{
    struct itimerspec at = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 + 1}};
    if (ms < 0) at.it_value = (struct timespec){0};
    if (timerfd_settime(node->timer, 0, &at, NULL)) abort();
}

kith_err kith_open(const kith_options *options, kith_node **out, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], password[128];
    const char *path = getenv("KITH_FAKE_SCRIPT");
    const char *daemon = getenv("KITH_FAKE_DAEMON"); /* "": one runs; "old": of another version; "hangs" (for
                                                         as long as it may, or with KITH_FAKE_PATIENCE for ever) */
    bool attached = daemon && options->daemon != KITH_DAEMON_NEVER;
    if (options->size != sizeof *options) return problem_set(problem, KITH_ERR_ARG, "size");
    if (options->daemon == KITH_DAEMON_ONLY && !daemon) return problem_set(problem, KITH_ERR_NOT_FOUND, "none runs");
    if (attached && !strcmp(daemon, "hangs")) {
        trace("patience=%u", options->daemon_patience_ms);
        poll(NULL, 0, getenv("KITH_FAKE_PATIENCE") ? INT_MAX : (int)options->daemon_patience_ms);
        return problem_set(problem, KITH_ERR_TIMEOUT, "it does not answer: kill -9 it");
    }
    if (attached && *daemon) return problem_set(problem, KITH_ERR_UNSUPPORTED, "another version: restart it");
    if (!read_identity(options->home, name, password)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    if (options->password &&
        (strlen(password) != options->password_size || memcmp(password, options->password, options->password_size)))
        return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    kith_node *node = calloc(1, sizeof *node);
    if (!node) abort();
    FILE *f = path ? fopen(path, "re") : NULL;
    while (f && node->count < STEPS_MAX && fgets(node->steps[node->count].line, LINE, f)) node->count++;
    if (f) fclose(f);
    node->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    node->keys = options->password != NULL || attached;
    node->attached = attached;
    node->log = options->log;
    node->log_level = options->log_level;
    trace(attached ? "attach" : "open listen=%s no_lan=%d log=%d level=%d", options->listen ? options->listen : "-",
          options->no_lan, options->log != NULL, (int)options->log_level);
    if (!attached && options->lan) trace("lan");
    for (size_t i = 0; !attached && options->relays && i < options->relay_count; i++)
        trace("relay %s token=%s", options->relays[i], options->relay_token ? options->relay_token : "-");
    if (!attached && options->relays && !options->relay_count) trace("no relays");
    if (node->log && node->log_level >= KITH_LOG_INFO) node->log(options->log_user, KITH_LOG_INFO, "the fake listens");
    *out = node;
    return KITH_OK;
}

void kith_close(kith_node *node)
{
    if (!node) return;
    trace("close");
    close(node->timer);
    free(node);
}

int kith_fd(const kith_node *node) { return node->timer; }

size_t kith_addresses(kith_node *node, char (*out)[KITH_ADDRESS_TEXT], size_t cap)
{
    (void)node;
    if (cap) snprintf(out[0], KITH_ADDRESS_TEXT, "192.0.2.7:53211");
    return 1;
}

/* "member=value" of a step, decoded; false when it is not there. */
static bool member(const step *s, const char *name, char *out, size_t size)
{
    char pattern[64];
    size_t n = 0;
    snprintf(pattern, sizeof pattern, " %s=", name);
    const char *at = strstr(s->line, pattern);
    if (!at) return false;
    for (at += strlen(pattern); *at && *at != ' ' && *at != '\n' && n + 1 < size; at++) {
        unsigned byte;
        if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1) {
            out[n++] = (char)byte;
            at += 2;
        } else {
            out[n++] = *at == '_' ? ' ' : *at;
        }
    }
    out[n] = 0;
    return true;
}

static int64_t number(const step *s, const char *name)
{
    char text[32];
    return member(s, name, text, sizeof text) ? strtoll(text, NULL, 10) : 0;
}

static void fill(const kith_node *node, const step *s, kith_event *e)
{
    char text[32] = "";
    *e = (kith_event){.op = node->op,
                      .transfer = (kith_op)number(s, "transfer"),
                      .err = (kith_err)number(s, "err"),
                      .path = "udp",
                      .scope = "lan"};
    e->device = (kith_device_info){
        .id = OTHER_ID, .name = "laptop", .fingerprint = OTHER_PRINT, .os = "Linux", .trust = KITH_RELATION_OWN};
    strcpy(e->address, "192.0.2.9:4433");
    member(s, "message", e->message, sizeof e->message);
    member(s, "device", e->device.name, sizeof e->device.name);
    member(s, "id", e->device.id, sizeof e->device.id);
    member(s, "name", e->name, sizeof e->name);
    member(s, "words", e->words, sizeof e->words);
    member(s, "path_name", e->path_name, sizeof e->path_name);
    member(s, "hash", e->hash, sizeof e->hash);
    if (member(s, "trust", text, sizeof text) && !strcmp(text, "contact")) e->device.trust = KITH_RELATION_CONTACT;
    if (!strcmp(text, "stranger")) e->device.trust = 0;
    e->expires_ms = number(s, "expires_ms");
    e->bytes = (uint64_t)number(s, "bytes");
    e->bytes_total = (uint64_t)number(s, "total");
    e->rtt_ns = (uint64_t)number(s, "rtt_ns");
    e->seconds = (double)number(s, "seconds");
    e->already = number(s, "already") != 0;
    e->state = (kith_finding)number(s, "state");
    e->skew_ms = number(s, "skew_ms");
    member(s, "check", e->check, sizeof e->check);
    member(s, "result", e->result, sizeof e->result);
    member(s, "cure", e->cure, sizeof e->cure);
    member(s, "address", e->address, sizeof e->address);
}

static bool end(kith_node *node, kith_event *e, kith_err err, const char *message)
{
    *e = (kith_event){.kind = KITH_EVENT_END, .op = node->op, .err = err};
    snprintf(e->message, sizeof e->message, "%s", message ? message : "");
    *node->name = 0;
    node->question = 0;
    arm(node, -1);
    return true;
}

static kith_event_kind kind_of(const char *name)
{
    static const char *const names[] = {
        "",          "end",      "code",     "expiring", "attempt",  "ask",  "paired",  "pong",   "sighted",
        "connected", "waiting",  "offer",    "start",    "progress", "file", "sent",    "failed", "incoming",
        "message",   "writable", "datagram", "finding",  "live",     "twin", "revoked", "looked", "ready"};
    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return (kith_event_kind)i;
    fprintf(stderr, "fake: no event \"%s\"\n", name);
    abort();
}

bool kith_next_event(kith_node *node, kith_event *e)
{
    if (!*node->name || node->question) return false;
    if (node->ready) {
        *e = (kith_event){.kind = KITH_EVENT_READY, .op = node->op};
        node->ready = false;
        return true;
    }
    if (node->cancelled) return end(node, e, KITH_ERR_CANCELLED, NULL);
    if (node->declined) return end(node, e, KITH_ERR_DECLINED, NULL);
    for (size_t i = 0; i < node->count; i++) {
        step *s = &node->steps[i];
        char op[16], what[16], message[640] = "";
        struct itimerspec left;
        if (s->told || sscanf(s->line, "%15s %15s", op, what) != 2 || strcmp(op, node->name)) continue;
        if (!strcmp(what, "wait")) {
            if (!node->waited) arm(node, (long)number(s, "ms"));
            node->waited = true;
            if (timerfd_gettime(node->timer, &left) || left.it_value.tv_sec || left.it_value.tv_nsec) return false;
            node->waited = false;
            s->told = true;
            arm(node, 0);
            continue;
        }
        s->told = true;
        if (!strcmp(what, "end")) {
            member(s, "message", message, sizeof message);
            return end(node, e, (kith_err)number(s, "err"), message);
        }
        fill(node, s, e);
        e->kind = kind_of(what);
        if (e->kind == KITH_EVENT_ASK && !number(s, "open")) node->question = node->op;
        if (e->kind == KITH_EVENT_OFFER && !number(s, "open")) node->question = e->transfer;
        if (node->question) arm(node, -1);
        return true;
    }
    arm(node, -1);
    return false;
}

static kith_err begin(kith_node *node, const char *name, kith_op *op)
{
    *op = ++node->op;
    node->cancelled = node->declined = node->waited = false;
    snprintf(node->name, sizeof node->name, "%s", name);
    if (!node->keys && strcmp(name, "look") != 0 && strcmp(name, "doctor") != 0) return KITH_ERR_PASSWORD;
    arm(node, 0);
    return KITH_OK;
}

kith_err kith_pair(kith_node *node, const kith_pair_options *options, kith_op *op)
{
    trace("pair contact=%d yes=%d expires=%u", options->contact, options->yes, options->expires_s);
    return begin(node, "pair", op);
}

kith_err kith_join(kith_node *node, const char *code, const kith_pair_options *options, kith_op *op)
{
    trace("join %s contact=%d yes=%d", code, options->contact, options->yes);
    return begin(node, "join", op);
}

kith_err kith_answer(kith_node *node, kith_op question, bool yes)
{
    trace("answer %s", yes ? "yes" : "no");
    if (node->question != question) return KITH_ERR_NOT_FOUND;
    if (!yes && question == node->op) node->declined = true;
    node->question = 0;
    arm(node, 0);
    return KITH_OK;
}

kith_err kith_ping(kith_node *node, const char *device_id, uint32_t count, kith_op *op)
{
    trace("ping %s count=%u", device_id, count);
    return begin(node, "ping", op);
}

kith_err kith_look(kith_node *node, kith_op *op) { return begin(node, "look", op); }

kith_err kith_nearby(kith_node *node, kith_op *op)
{
    trace("nearby");
    return begin(node, "look", op);
}

kith_err kith_pin(kith_node *node, const char *device, const kith_pin_options *options, kith_op *op)
{
    trace("pin %s name=%s yes=%d", device, options->name ? options->name : "-", options->yes);
    return begin(node, "pin", op);
}

kith_err kith_doctor(kith_node *node, const kith_doctor_options *options, kith_op *op)
{
    for (size_t i = 0; i < options->stun_count; i++) trace("stun %s", options->stun[i]);
    trace("doctor keys=%d", node->keys);
    return begin(node, "doctor", op);
}

kith_err kith_send_file(kith_node *node, const char *device_id, const char *path, const kith_send_options *options,
                        kith_op *op)
{
    static const char *const paths[] = {"any", "udp", "tcp"};
    trace("send %s %s path=%s name=%s", device_id, path, paths[options->path], options->name ? options->name : "-");
    return begin(node, "send", op);
}

kith_err kith_receive(kith_node *node, const kith_receive_options *options, kith_op *op)
{
    trace("receive %s from=%s yes=%d once=%d conflict=%d", options->folder, options->from ? options->from : "-",
          options->yes, options->once, (int)options->conflict);
    node->ready = true;
    return begin(node, "receive", op);
}

kith_err kith_daemon(kith_node *node, kith_op *op)
{
    trace("daemon");
    return begin(node, "daemon", op);
}

kith_err kith_down(kith_node *node, kith_op *op)
{
    trace("down");
    return begin(node, "down", op);
}

kith_err kith_inbox(kith_node *node, kith_op *op)
{
    trace("inbox");
    return begin(node, "inbox", op);
}

kith_err kith_inbox_answer(kith_node *node, uint64_t number, bool yes, kith_op *op)
{
    trace("inbox answer %llu %s", (unsigned long long)number, yes ? "yes" : "no");
    return begin(node, "answer", op);
}

bool kith_daemon_of(const kith_node *node, kith_daemon_info *out)
{
    *out = (kith_daemon_info){0};
    if (!node->attached) return false;
    *out = (kith_daemon_info){
        .pid = 4711, .version = "0.1.0", .folder = "/in", .relays = {{"ws://x", true}, {"ws://y", false}}};
    if (getenv("KITH_FAKE_SINCE")) out->since_ms = strtoll(getenv("KITH_FAKE_SINCE"), NULL, 10);
    if (getenv("KITH_FAKE_TWIN")) snprintf(out->twin, sizeof out->twin, "%s", getenv("KITH_FAKE_TWIN"));
    return true;
}

void kith_cancel(kith_node *node, kith_op op)
{
    trace("cancel");
    if (op != node->op || !*node->name) return;
    if (getenv("KITH_FAKE_DEAF")) return; /* an operation that hangs */
    node->cancelled = true;
    node->question = 0;
    arm(node, 0);
}

/* ---- words and text ---- */

const char *kith_version(void) { return "0.1.0"; }
const char *kith_word(unsigned i) { return i < sizeof words / sizeof *words ? words[i] : NULL; }
char *kith_printable_name(const char *name, char *out, size_t out_size)
{
    return kith_printable(name, strlen(name), out, out_size);
}

static kith_err check(const char *text, size_t want, const char *what, char *out, size_t size, kith_problem *problem)
{
    char copy[1024], *rest = copy;
    size_t count = 0, n = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word; (word = strsep(&rest, " ,-")) != NULL;) {
        size_t i = 0;
        if (!*word || word[strspn(word, "0123456789")] == 0) continue;
        while (kith_word((unsigned)i) && strcmp(kith_word((unsigned)i), word) != 0) i++;
        if (!kith_word((unsigned)i)) {
            char message[300];
            snprintf(message, sizeof message, "\"%s\" is no word of a code: did you mean \"apple\"?", word);
            return problem_set(problem, KITH_ERR_CODE, message);
        }
        if (count++ < want) n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " " : "", word);
    }
    return count == want ? KITH_OK : problem_set(problem, KITH_ERR_CODE, what);
}

kith_err kith_words_check(const char *text, char out[KITH_WORDS_TEXT], kith_problem *problem)
{
    return check(text, KITH_WORDS, "a code is six words", out, KITH_WORDS_TEXT, problem);
}

kith_err kith_recovery_check(const char *text, char out[KITH_RECOVERY_TEXT], kith_problem *problem)
{
    return check(text, KITH_RECOVERY_WORDS, "a recovery code is 24 words", out, KITH_RECOVERY_TEXT, problem);
}

/* ---- the relay: it says that it listens, and ends ---- */

kith_err kith_relay_serve(const kith_relay_options *options, const kith_relay_said *said,
                          char why[static KITH_RELAY_WHY_SIZE])
{
    if (options->limits && strcmp(options->limits, "bad") == 0) {
        snprintf(why, KITH_RELAY_WHY_SIZE, "bad: line 1: there is no setting x");
        return KITH_ERR_FORMAT;
    }
    if (!options->check) {
        said->listening(said->user, options->listen, options->admin_listen);
        said->log(said->user, false, "a line");
    }
    return KITH_OK;
}

kith_err kith_revoke(const char *home, const char *id, const kith_revoke_options *o, kith_recovery_result *result,
                     kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128], code[KITH_RECOVERY_TEXT];
    if (o->size != sizeof *o || !read_identity(home, name, secret)) return problem_set(problem, KITH_ERR_ARG, "size");
    if (!o->check) trace("revoke why=%s code=%d", o->why ? o->why : "", o->recovery_code != NULL);
    if (!right(secret, o->password, o->password_size)) return problem_set(problem, KITH_ERR_PASSWORD, NULL);
    fake_code(code);
    if (o->recovery_code && strcmp(o->recovery_code, code) != 0) return problem_set(problem, KITH_ERR_CODE, NULL);
    if (o->recovery_code) strcpy(result->recovery_code, code);
    if (o->check) return KITH_OK;
    return kith_forget(home, id, problem);
}

kith_err kith_history(const char *home, kith_history_record **records, size_t *count, kith_problem *problem)
{
    char name[KITH_NAME_TEXT], secret[128];
    if (!read_identity(home, name, secret)) return problem_set(problem, KITH_ERR_NO_IDENTITY, NULL);
    kith_history_record *list = calloc(2, sizeof *list);
    list[0] =
        (kith_history_record){.id = "aaaaaaaaaa", .kind = KITH_HISTORY_FOUND, .state = KITH_HISTORY_GOOD, .time_ms = 1};
    list[1] = (kith_history_record){.id = "bbbbbbbbbb",
                                    .kind = KITH_HISTORY_REVOKE,
                                    .state = KITH_HISTORY_VOID_REVOKED,
                                    .void_by = "cccccccccc",
                                    .time_ms = 2,
                                    .device = "pad\x1b[1m",
                                    .why = "sold"};
    snprintf(list[0].signer, sizeof list[0].signer, "%s", name);
    snprintf(list[1].signer, sizeof list[1].signer, "%s", name);
    *records = list;
    *count = 2;
    return KITH_OK;
}

void kith_free_history(kith_history_record *records) { free(records); }
