/* The home on a real disk: what is made, what is refused and how that is said, and several processes at once.  What
 * faults of the disk do to it is in test_store_faults.c. */
#include "base/mem.h"
#include "crypto/secret.h"
#include "io/io.h"
#include "store/atomic.h"
#include "store/home.h"
#include "testlib.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASSWORD ((kith_bytes){"correct horse", 13})

static kith_io *io;
static kith_env *env;
static char folder[256], base[128];
static kith_home *home;
static kith_rng rng;
static kith_problem problem;

static const kith_kdf_params cheap = {.memory_kib = 16, .passes = 1, .lanes = 1};

/* Each test has a folder of its own under a new base, which goes with all in it. */
static int set_up(void **state)
{
    (void)state;
    uint8_t seed[KITH_RNG_SEED_SIZE] = {1};
    snprintf(base, sizeof base, "%s/kith-home-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(base)) return -1;
    snprintf(folder, sizeof folder, "%s/share/kith", base);
    kith_rng_init(&rng, seed);
    return kith_home_open(env, folder, &home);
}

static int tear_down(void **state)
{
    (void)state;
    char command[300];
    kith_home_close(home);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static char *path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *out = paths[next++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", folder, name);
    return out;
}

static test_bytes slurp(const char *name)
{
    test_bytes b = {0};
    FILE *f = fopen(path(name), "rb");
    if (!f) fail_msg("no %s", name);
    b.data = malloc(1 << 20);
    b.size = fread(b.data, 1, 1 << 20, f);
    fclose(f);
    return b;
}

static void spew(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
    assert_ok(chmod(path(name), 0600));
}

static kith_err init_as(const char *name, kith_bytes password, kith_home_self *self, bool *created)
{
    return kith_home_init(home,
                          &(kith_home_init_options){.name = name,
                                                    .os = "Linux",
                                                    .hardware_model = "X1",
                                                    .password = password,
                                                    .kdf = cheap,
                                                    .rng = &rng,
                                                    .now_ms = 1795490963123},
                          self, created, &problem);
}

static kith_home_self made(void)
{
    kith_home_self self;
    bool created = false;
    assert_ok(init_as("laptop", PASSWORD, &self, &created));
    assert_true(created);
    return self;
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    assert_ok(stat(path(name), &st));
    return st.st_mode & 07777;
}

static void says(const char *what)
{
    if (!strstr(problem.message, what)) fail_msg("\"%s\" does not say \"%s\"", problem.message, what);
}

static void init_makes_all(void **state)
{
    (void)state;
    kith_home_self self, again;
    bool created = true;
    uint8_t *seed, public_key[32], fingerprint[32];
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_NO_IDENTITY);
    assert_int_equal(problem.err, KITH_ERR_NO_IDENTITY);
    says("kith init");
    says(folder);
    assert_int_equal(access(base, F_OK) | access(folder, F_OK), -1); /* looking makes nothing */
    self = made();
    assert_int_equal(mode_of(""), 0700);
    assert_int_equal(mode_of("device.json"), 0600);
    assert_int_equal(mode_of("network_keys.json"), 0600);
    assert_string_equal(self.device.name, "laptop");
    assert_int_equal(self.device.id[6] >> 4, 4);
    assert_string_equal(problem.message, "");
    kith_fingerprint(self.device.id, self.public_key, fingerprint);
    assert_memory_equal(self.fingerprint, fingerprint, 32);
    assert_ok(kith_home_load(home, &again, &problem));
    assert_memory_equal(&self, &again, sizeof self);
    assert_ok(kith_home_unlock(home, PASSWORD, &seed, &problem));
    kith_ed25519_public(seed, public_key);
    assert_memory_equal(public_key, self.public_key, 32);
    kith_secret_free(seed);
    /* Again: nothing changes, whatever is asked. */
    test_bytes device = slurp("device.json"), keys = slurp("network_keys.json");
    assert_ok(init_as("\n", (kith_bytes){"", 0}, &again, &created));
    assert_false(created);
    assert_memory_equal(&self, &again, sizeof self);
    test_bytes device2 = slurp("device.json"), keys2 = slurp("network_keys.json");
    assert_int_equal(device.size, device2.size);
    assert_memory_equal(device.data, device2.data, device.size);
    assert_memory_equal(keys.data, keys2.data, keys.size);
    test_bytes_free(&device), test_bytes_free(&device2), test_bytes_free(&keys), test_bytes_free(&keys2);
}

static void two_homes_are_two_devices(void **state)
{
    (void)state;
    kith_home_self one = made(), two;
    assert_ok(rename(path("network_keys.json"), path("../old-keys")));
    assert_ok(rename(path("device.json"), path("../old-device")));
    two = made();
    assert_memory_not_equal(one.device.id, two.device.id, 16);
    assert_memory_not_equal(one.public_key, two.public_key, 32);
    /* The keys of one with the device.json of the other. */
    assert_ok(rename(path("../old-keys"), path("network_keys.json")));
    assert_int_equal(kith_home_load(home, &two, &problem), KITH_ERR_DAMAGED);
    says("two different devices");
}

/* 64 MiB, t = 3, p = 4 where nothing else is asked for. */
static void the_usual_cost(void **state)
{
    (void)state;
    kith_home_self self;
    bool created;
    uint8_t *seed;
    const kith_home_init_options options = {.name = "x", .password = PASSWORD, .rng = &rng};
    assert_ok(kith_home_init(home, &options, &self, &created, &problem));
    test_bytes keys = slurp("network_keys.json");
    json_t *file = json_loadb((char *)keys.data, keys.size, 0, NULL), *kdf = json_object_get(file, "kdf_params");
    assert_int_equal(json_integer_value(json_object_get(kdf, "memory_kib")), 65536);
    assert_int_equal(json_integer_value(json_object_get(kdf, "passes")), 3);
    assert_int_equal(json_integer_value(json_object_get(kdf, "lanes")), 4);
    assert_ok(kith_home_unlock(home, PASSWORD, &seed, &problem));
    kith_secret_free(seed);
    json_decref(file);
    test_bytes_free(&keys);
}

static void wrong_arguments_make_nothing(void **state)
{
    (void)state;
    kith_home_self self;
    bool created;
    assert_int_equal(init_as("a\nb", PASSWORD, &self, &created), KITH_ERR_ARG);
    says("name");
    assert_int_equal(init_as("laptop", (kith_bytes){"", 0}, &self, &created), KITH_ERR_ARG);
    says("password");
    assert_int_equal(access(path("device.json"), F_OK), -1);
    assert_int_equal(access(path("network_keys.json"), F_OK), -1);
    kith_home *none;
    assert_int_equal(kith_home_open(env, "", &none), KITH_ERR_ARG);
}

static const char host[] =
    "{\"id\":\"0192f3c1-9d0b-7c36-8a52-7f3c1d2e4b5a\",\"name\":\"Studio\",\"version\":\"0.1\",\"theme\":[1,2]}";

static void a_hosts_device_file_is_used(void **state)
{
    (void)state;
    kith_home_self self;
    bool created = false;
    char id[KITH_UUID_TEXT_SIZE];
    char above[160];
    snprintf(above, sizeof above, "%s/share", base);
    assert_ok(mkdir(above, 0755));
    assert_ok(mkdir(folder, 0755));
    spew("device.json", host, strlen(host));
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_NO_IDENTITY);
    assert_ok(init_as("other", PASSWORD, &self, &created));
    assert_true(created);
    assert_string_equal(self.device.name, "Studio");
    assert_string_equal(kith_uuid_text(self.device.id, id), "0192f3c1-9d0b-7c36-8a52-7f3c1d2e4b5a");
    test_bytes now = slurp("device.json");
    assert_int_equal(now.size, strlen(host));
    assert_memory_equal(now.data, host, now.size);
    test_bytes_free(&now);
    /* Renaming keeps what is the host's. */
    assert_ok(kith_home_set_name(home, " Atelier ", &problem));
    now = slurp("device.json");
    json_t *file = json_loadb((char *)now.data, now.size, 0, NULL);
    assert_string_equal(test_str(file, "name"), "Atelier");
    assert_string_equal(test_str(file, "version"), "0.1");
    assert_int_equal(json_array_size(json_object_get(file, "theme")), 2);
    assert_int_equal(kith_home_set_name(home, "\n", &problem), KITH_ERR_ARG);
    kith_home_self again;
    assert_ok(kith_home_load(home, &again, &problem));
    assert_memory_equal(self.fingerprint, again.fingerprint, 32);
    json_decref(file);
    test_bytes_free(&now);
}

static void passwords(void **state)
{
    (void)state;
    kith_home_self self = made(), again;
    uint8_t *seed = NULL, *other = NULL;
    const kith_bytes new_password = {"battery staple", 14};
    assert_int_equal(kith_home_unlock(home, new_password, &seed, &problem), KITH_ERR_PASSWORD);
    says("wrong password");
    assert_int_equal(kith_home_unlock(home, (kith_bytes){"", 0}, &seed, &problem), KITH_ERR_ARG);
    assert_null(seed);
    assert_ok(kith_home_unlock(home, PASSWORD, &seed, &problem));
    test_bytes before = slurp("network_keys.json");
    json_t *file = json_loadb((char *)before.data, before.size, 0, NULL);
    json_object_set_new(file, "note", json_string("mine"));
    char *text = json_dumps(file, 0);
    spew("network_keys.json", text, strlen(text));
    assert_int_equal(kith_home_change_password(home, new_password, PASSWORD, cheap, &rng, &problem), KITH_ERR_PASSWORD);
    assert_int_equal(kith_home_change_password(home, PASSWORD, (kith_bytes){"", 0}, cheap, &rng, &problem),
                     KITH_ERR_ARG);
    assert_ok(kith_home_change_password(home, PASSWORD, new_password, (kith_kdf_params){0}, &rng, &problem));
    assert_int_equal(kith_home_unlock(home, PASSWORD, &other, &problem), KITH_ERR_PASSWORD);
    assert_ok(kith_home_unlock(home, new_password, &other, &problem));
    assert_memory_equal(seed, other, 32);
    assert_ok(kith_home_load(home, &again, &problem));
    assert_memory_equal(&self, &again, sizeof self);
    test_bytes after = slurp("network_keys.json");
    json_t *now = json_loadb((char *)after.data, after.size, 0, NULL);
    assert_string_equal(test_str(now, "note"), "mine");
    assert_string_not_equal(test_str(now, "salt"), test_str(file, "salt"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(now, "kdf_params"), "memory_kib")), 16);
    assert_int_equal(mode_of("network_keys.json"), 0600);
    kith_secret_free(seed);
    kith_secret_free(other);
    free(text);
    json_decref(file);
    json_decref(now);
    test_bytes_free(&before);
    test_bytes_free(&after);
}

/* ---- what is refused ---- */

/* Every function that needs this file answers so, says so, and leaves the file as it is. */
static void refused(const char *name, kith_err want, const char *what)
{
    kith_home_self self;
    bool created;
    uint8_t *seed;
    test_bytes before = slurp(name);
    unsigned mode = mode_of(name);
    assert_int_equal(kith_home_load(home, &self, &problem), want);
    assert_int_equal(problem.err, want);
    says(what);
    says(path(name));
    assert_int_equal(init_as("laptop", PASSWORD, &self, &created), want);
    says(what);
    assert_int_equal(kith_home_unlock(home, PASSWORD, &seed, &problem), want);
    assert_int_equal(kith_home_change_password(home, PASSWORD, PASSWORD, cheap, &rng, &problem), want);
    test_bytes after = slurp(name);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    assert_int_equal(mode_of(name), mode);
    test_bytes_free(&before);
    test_bytes_free(&after);
}

static void damaged_files(void **state)
{
    (void)state;
    made();
    static const char *names[] = {"device.json", "network_keys.json"};
    for (size_t i = 0; i < 2; i++) {
        test_bytes whole = slurp(names[i]);
        static const char newer[] = "{\"version\": 7}";
        spew(names[i], "", 0);
        refused(names[i], KITH_ERR_DAMAGED, "backup");
        spew(names[i], whole.data, whole.size / 2);
        refused(names[i], KITH_ERR_DAMAGED, "line ");
        spew(names[i], newer, strlen(newer));
        refused(names[i], KITH_ERR_VERSION, "upgrade");
        uint8_t *large = calloc(1, 1 << 17);
        memset(large, ' ', 1 << 17);
        memcpy(large, whole.data, whole.size);
        spew(names[i], large, 1 << 17);
        refused(names[i], KITH_ERR_DAMAGED, "larger");
        free(large);
        spew(names[i], whole.data, whole.size);
        test_bytes_free(&whole);
    }
    /* One digit of the public key: not blamed on the password. */
    test_bytes keys = slurp("network_keys.json");
    char *digit = strstr((char *)keys.data, "\"public_key\": \"") + 16;
    *digit = *digit == '0' ? '1' : '0';
    spew("network_keys.json", keys.data, keys.size);
    refused("network_keys.json", KITH_ERR_DAMAGED, "checksum");
    test_bytes_free(&keys);
}

static void others_may_read(void **state)
{
    (void)state;
    char advice[400];
    made();
    static const mode_t modes[] = {0604, 0640, 0620, 0602, 0610, 0777};
    static const char *const names[] = {"network_keys.json", "device.json"};
    for (size_t i = 0; i < 12; i++) {
        const char *name = names[i % 2];
        assert_ok(chmod(path(name), modes[i / 2]));
        snprintf(advice, sizeof advice, "`chmod 600 %s`", path(name));
        refused(name, KITH_ERR_EXPOSED, advice);
        assert_ok(chmod(path(name), 0600));
    }
    assert_ok(chmod(path("network_keys.json"), 0400));
    kith_home_self self;
    assert_ok(kith_home_load(home, &self, &problem));
}

static void missing_files(void **state)
{
    (void)state;
    kith_home_self self;
    bool created;
    made();
    /* The keys without device.json: never a new device over them. */
    assert_ok(rename(path("device.json"), path("kept")));
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_DAMAGED);
    says("device.json is missing");
    assert_int_equal(init_as("laptop", PASSWORD, &self, &created), KITH_ERR_DAMAGED);
    assert_int_equal(access(path("device.json"), F_OK), -1);
    assert_int_equal(kith_home_set_name(home, "x", &problem), KITH_ERR_NO_IDENTITY);
    assert_ok(rename(path("kept"), path("device.json")));
    /* device.json without keys is half an identity, unless there are pinned devices: they know the lost key. */
    assert_ok(rename(path("network_keys.json"), path("kept")));
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_NO_IDENTITY);
    spew("trust.cbor", "", 0);
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_DAMAGED);
    says("network_keys.json is missing although trust.cbor is there");
    assert_int_equal(init_as("laptop", PASSWORD, &self, &created), KITH_ERR_DAMAGED);
    assert_ok(remove(path("device.json")));
    assert_int_equal(init_as("laptop", PASSWORD, &self, &created), KITH_ERR_DAMAGED);
    assert_int_equal(access(path("network_keys.json"), F_OK), -1);
    assert_int_equal(access(path("device.json"), F_OK), -1);
    assert_ok(remove(path("trust.cbor")));
    assert_ok(init_as("laptop", PASSWORD, &self, &created));
}

static void what_is_no_file(void **state)
{
    (void)state;
    kith_home_self self;
    made();
    assert_ok(rename(path("network_keys.json"), path("kept")));
    assert_ok(mkfifo(path("network_keys.json"), 0600));
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_DAMAGED); /* and does not wait for a writer */
    says(path("network_keys.json"));
    assert_ok(remove(path("network_keys.json")));
    assert_ok(mkdir(path("network_keys.json"), 0700));
    assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_DAMAGED);
    assert_ok(remove(path("network_keys.json")));
    assert_ok(symlink("kept", path("network_keys.json"))); /* kept elsewhere: fine */
    assert_ok(kith_home_load(home, &self, &problem));
    /* A home that is a file. */
    kith_home *other;
    bool created;
    assert_ok(kith_home_open(env, path("kept"), &other));
    assert_int_equal(
        kith_home_init(other, &(kith_home_init_options){.name = "x", .password = PASSWORD, .kdf = cheap, .rng = &rng},
                       &self, &created, &problem),
        KITH_ERR_EXISTS);
    says("not a folder");
    kith_home_close(other);
}

static void somebody_elses(void **state)
{
    (void)state;
    kith_home_self self;
    if (geteuid() != 0) skip(); /* only root can give files away */
    made();
    assert_ok(chown(path("network_keys.json"), 12345, (gid_t)-1));
    refused("network_keys.json", KITH_ERR_PERMISSION, "another user (12345)");
    says("chown 0 ");
    pid_t pid = fork();
    if (pid == 0) { /* as that other user, who may not even enter the folder */
        if (setuid(12345)) _exit(1);
        _exit(kith_home_load(home, &self, &problem) == KITH_ERR_PERMISSION && strstr(problem.message, "no permission")
                  ? 0
                  : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void awkward_paths(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
    } table[] = {{"a b", "'%s/network_keys.json'"}, {"a'b", "\"%s/network_keys.json\""}};
    kith_home_self self;
    bool created;
    char want[600];
    for (size_t i = 0; i < 2; i++) {
        kith_home_close(home);
        snprintf(folder, sizeof folder, "%s/%s", base, table[i].name);
        assert_ok(kith_home_open(env, folder, &home));
        made();
        assert_ok(chmod(path("network_keys.json"), 0644));
        assert_int_equal(kith_home_load(home, &self, &problem), KITH_ERR_EXPOSED);
        strcpy(want, "chmod 600 ");
        snprintf(want + strlen(want), 500, i ? "\"%s/network_keys.json\"" : "'%s/network_keys.json'", folder);
        says(want);
    }
    /* A path longer than a message: its end is said, with slashes at the end forgotten. */
    char *deep = malloc(3000);
    strcpy(deep, base);
    for (size_t i = 0; i < 100; i++) strcat(deep, "/0123456789");
    strcat(deep, "//");
    kith_home *other;
    assert_ok(kith_home_open(env, deep, &other));
    assert_int_equal(kith_home_load(other, &self, &problem), KITH_ERR_NO_IDENTITY);
    says("...");
    says("/0123456789)");
    assert_ok(kith_home_init(other,
                             &(kith_home_init_options){.name = "x", .password = PASSWORD, .kdf = cheap, .rng = &rng},
                             &self, &created, &problem));
    kith_home_close(other);
    free(deep);
}

/* ---- the others ---- */

static kith_peer device(uint8_t n)
{
    uint8_t uuid[16], seed[32], key[32];
    kith_peer peer;
    memset(uuid, n, sizeof uuid);
    memset(seed, n, sizeof seed);
    kith_ed25519_public(seed, key);
    assert_ok(kith_peer_make(uuid, key, "laptop", "Linux", "X1", KITH_PEER_OWN, 1000, &peer));
    return peer;
}

static kith_err add_peer(kith_trust *trust, void *user) { return kith_trust_add(trust, user, NULL); }
static kith_err no_change(kith_trust *trust, void *user)
{
    (void)trust, (void)user;
    return KITH_OK;
}
static kith_err change_mind(kith_trust *trust, void *user)
{
    kith_err err = kith_trust_add(trust, user, NULL);
    return err ? err : KITH_ERR_DECLINED;
}

static size_t count_trust(void)
{
    kith_trust *trust;
    assert_ok(kith_home_load_trust(home, &trust, &problem));
    size_t count = kith_trust_count(trust);
    kith_trust_free(trust);
    return count;
}

static void trusting(void **state)
{
    (void)state;
    kith_home_stamp stamp = {0};
    kith_peer one = device(1), two = device(2);
    assert_int_equal(kith_home_update_trust(home, add_peer, &one, &problem), KITH_ERR_NO_IDENTITY); /* no folder yet */
    made();
    assert_int_equal(count_trust(), 0);
    assert_true(kith_home_trust_changed(home, &stamp));
    assert_false(kith_home_trust_changed(home, &stamp));
    assert_ok(kith_home_update_trust(home, add_peer, &one, &problem));
    assert_true(kith_home_trust_changed(home, &stamp));
    assert_false(kith_home_trust_changed(home, &stamp));
    assert_int_equal(mode_of("trust.cbor"), 0600);
    assert_int_equal(kith_home_update_trust(home, change_mind, &two, &problem), KITH_ERR_DECLINED);
    assert_string_equal(problem.message, "");
    assert_int_equal(kith_home_update_trust(home, add_peer, &one, &problem), KITH_ERR_EXISTS);
    assert_ok(kith_home_update_trust(home, no_change, NULL, &problem));
    assert_false(kith_home_trust_changed(home, &stamp)); /* nothing new: not written */
    assert_int_equal(count_trust(), 1);
    assert_ok(kith_home_update_trust(home, add_peer, &two, &problem));
    assert_true(kith_home_trust_changed(home, &stamp));
    assert_int_equal(count_trust(), 2);

    kith_trust *trust = NULL;
    test_bytes whole = slurp("trust.cbor");
    spew("trust.cbor", whole.data, whole.size - 1);
    assert_int_equal(kith_home_load_trust(home, &trust, &problem), KITH_ERR_DAMAGED);
    says(path("trust.cbor"));
    says("byte ");
    assert_int_equal(kith_home_update_trust(home, add_peer, &one, &problem), KITH_ERR_DAMAGED);
    test_bytes after = slurp("trust.cbor");
    assert_int_equal(after.size, whole.size - 1);
    spew("trust.cbor", "", 0); /* empty is not the same as missing */
    assert_int_equal(kith_home_load_trust(home, &trust, &problem), KITH_ERR_DAMAGED);
    spew("trust.cbor", whole.data, whole.size);
    assert_ok(chmod(path("trust.cbor"), 0660));
    assert_int_equal(kith_home_load_trust(home, &trust, &problem), KITH_ERR_EXPOSED);
    says("change");
    assert_null(trust);
    test_bytes_free(&whole);
    test_bytes_free(&after);
}

static kith_err note_peer(kith_seen *seen, void *user)
{
    kith_addr addr = {.family = KITH_FAMILY_IPV4, .port = 7, .ip = {192, 0, 2, 1}};
    return kith_seen_note(seen, user, &addr, 1000);
}

static void seeing(void **state)
{
    (void)state;
    kith_seen *seen;
    uint8_t one[32] = {1}, two[32] = {2};
    made();
    assert_ok(kith_home_load_seen(home, &seen));
    assert_int_equal(kith_seen_count(seen), 0);
    kith_seen_free(seen);
    assert_ok(kith_home_update_seen(home, note_peer, one, &problem));
    assert_ok(kith_home_update_seen(home, note_peer, two, &problem));
    assert_ok(kith_home_load_seen(home, &seen));
    assert_int_equal(kith_seen_count(seen), 2);
    assert_int_equal(kith_seen_find(seen, one)->addrs[0].port, 7);
    kith_seen_free(seen);
    spew("seen.cbor", "junk", 4); /* harms nothing, and is replaced */
    assert_ok(kith_home_load_seen(home, &seen));
    assert_int_equal(kith_seen_count(seen), 0);
    kith_seen_free(seen);
    assert_ok(kith_home_update_seen(home, note_peer, two, &problem));
    assert_ok(kith_home_load_seen(home, &seen));
    assert_int_equal(kith_seen_count(seen), 1);
    kith_seen_free(seen);
}

/* ---- several processes ---- */

static void wait_for_children(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int status = -1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
}

static void no_update_is_lost(void **state)
{
    (void)state;
    enum { PROCESSES = 4, EACH = 12 };
    made();
    for (uint8_t p = 0; p < PROCESSES; p++) {
        if (fork() != 0) continue;
        for (uint8_t i = 0; i < EACH; i++) {
            kith_peer peer = device((uint8_t)(1 + p * EACH + i));
            if (kith_home_update_trust(home, add_peer, &peer, &problem)) _exit(1);
        }
        _exit(0);
    }
    /* A reader meanwhile never sees anything but a whole file. */
    for (size_t seen = 0; seen < PROCESSES * EACH;) {
        size_t now = count_trust();
        assert_true(now >= seen);
        seen = now;
        usleep(1000);
    }
    wait_for_children(PROCESSES);
    assert_int_equal(count_trust(), PROCESSES * EACH);
}

static void one_identity_of_many_inits(void **state)
{
    (void)state;
    enum { PROCESSES = 6 };
    int pipes[2];
    assert_ok(pipe(pipes));
    for (uint8_t p = 0; p < PROCESSES; p++) {
        if (fork() != 0) continue;
        kith_home_self self;
        bool created = false;
        uint8_t seed[KITH_RNG_SEED_SIZE] = {(uint8_t)(100 + p)}, report[33];
        kith_rng_init(&rng, seed);
        if (init_as("laptop", PASSWORD, &self, &created)) _exit(1);
        memcpy(report, self.fingerprint, 32);
        report[32] = created;
        _exit(write(pipes[1], report, sizeof report) == sizeof report ? 0 : 1);
    }
    wait_for_children(PROCESSES);
    size_t makers = 0;
    uint8_t first[33], report[33];
    for (size_t i = 0; i < PROCESSES; i++) {
        assert_int_equal(read(pipes[0], report, sizeof report), sizeof report);
        if (i == 0) memcpy(first, report, sizeof first);
        assert_memory_equal(first, report, 32);
        makers += report[32];
    }
    assert_int_equal(makers, 1);
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- atomic writing ---- */

static void writing_and_reading_whole(void **state)
{
    (void)state;
    uint8_t *data;
    size_t size;
    kith_file_info info;
    char *file = kith_path_join(base, "file");
    assert_string_equal(file + strlen(base), "/file");
    assert_int_equal(kith_read_whole(env, file, 10, &data, &size, NULL), KITH_ERR_NO_FILE);
    assert_ok(kith_atomic_write(env, base, "file", 0640, "0123456789", 10));
    assert_ok(kith_read_whole(env, file, 10, &data, &size, &info));
    assert_int_equal(size, 10);
    assert_memory_equal(data, "0123456789", 10);
    assert_int_equal(info.mode & ~(uint32_t)0640, 0);
    kith_free(data);
    assert_int_equal(kith_read_whole(env, file, 9, &data, &size, NULL), KITH_ERR_LIMIT);
    assert_int_equal(kith_read_whole(env, base, 9, &data, &size, NULL), KITH_ERR_NOT_REGULAR);
    assert_ok(kith_atomic_write(env, base, "file", 0600, "", 0));
    assert_ok(kith_read_whole(env, file, 0, &data, &size, NULL));
    assert_int_equal(size, 0);
    kith_free(data);
    kith_free(file);
    assert_int_equal(kith_atomic_write(env, folder, "file", 0600, "x", 1), KITH_ERR_NO_FILE); /* no such folder */
}

static size_t names_in(const char *where)
{
    size_t count = 0;
    DIR *dir = opendir(where);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void leftovers(void **state)
{
    (void)state;
    made();
    size_t before = names_in(folder);
    /* Temporary files of a crash, and names that only look like them. */
    static const char *stale[] = {"trust.cbor.tmp-0", "trust.cbor.tmp-1", "trust.cbor.tmp-63"};
    static const char *others[] = {"trust.cbor.tmp-", "trust.cbor.tmp-1x", "trust.cbor.bak", "device.json.tmp-0",
                                   "xtrust.cbor.tmp-0"};
    for (size_t i = 0; i < 3; i++) spew(stale[i], "junk", 4);
    for (size_t i = 0; i < 5; i++) spew(others[i], "kept", 4);
    assert_ok(symlink("/etc/passwd", path("trust.cbor.tmp-2")));
    kith_peer peer = device(1);
    assert_ok(kith_home_update_trust(home, add_peer, &peer, &problem));
    assert_int_equal(names_in(folder), before + 1 + 5);
    /* Without cleaning, another name is found; a link is not followed. */
    assert_ok(symlink("elsewhere", path("file.tmp-0")));
    assert_ok(kith_atomic_write(env, folder, "file", 0600, "x", 1));
    assert_int_equal(access(path("elsewhere"), F_OK), -1);
    char name[32];
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "file.tmp-%u", i);
        spew(name, "", 0);
    }
    assert_int_equal(kith_atomic_write(env, folder, "file", 0600, "y", 1), KITH_ERR_LIMIT);
    assert_ok(kith_atomic_clean(env, folder, "file"));
    assert_ok(kith_atomic_write(env, folder, "file", 0600, "y", 1));
}

/* ---- memory ---- */

static int all_of_it(void *arg)
{
    (void)arg;
    kith_home *h = NULL;
    kith_home_self self;
    bool created;
    uint8_t *seed = NULL;
    kith_trust *trust = NULL;
    kith_seen *seen = NULL;
    uint8_t one[32] = {1};
    kith_peer peer = device(1);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s/share'", base);
    if (system(command)) return -1;
    kith_err err = kith_home_open(env, folder, &h);
    kith_home *outer = home;
    home = h;
    if (!err) err = init_as("laptop", PASSWORD, &self, &created);
    if (!err) err = kith_home_load(h, &self, &problem);
    if (!err) err = kith_home_unlock(h, PASSWORD, &seed, &problem);
    if (!err) err = kith_home_change_password(h, PASSWORD, PASSWORD, cheap, &rng, &problem);
    if (!err) err = kith_home_set_name(h, "x", &problem);
    if (!err) err = kith_home_update_trust(h, add_peer, &peer, &problem);
    if (!err) err = kith_home_load_trust(h, &trust, &problem);
    if (!err) err = kith_home_update_seen(h, note_peer, one, &problem);
    if (!err) err = kith_home_load_seen(h, &seen);
    kith_secret_free(seed);
    kith_trust_free(trust);
    kith_seen_free(seen);
    kith_home_close(h);
    home = outer;
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

#define HOME_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(init_makes_all),
        HOME_TEST(two_homes_are_two_devices),
        HOME_TEST(the_usual_cost),
        HOME_TEST(wrong_arguments_make_nothing),
        HOME_TEST(a_hosts_device_file_is_used),
        HOME_TEST(passwords),
        HOME_TEST(damaged_files),
        HOME_TEST(others_may_read),
        HOME_TEST(missing_files),
        HOME_TEST(what_is_no_file),
        HOME_TEST(somebody_elses),
        HOME_TEST(awkward_paths),
        HOME_TEST(trusting),
        HOME_TEST(seeing),
        HOME_TEST(no_update_is_lost),
        HOME_TEST(one_identity_of_many_inits),
        HOME_TEST(writing_and_reading_whole),
        HOME_TEST(leftovers),
        HOME_TEST(failing_allocations),
    };
    umask(022);
    if (kith_io_new(&io) || kith_crypto_init()) return 1;
    env = kith_io_env(io);
    int failed = cmocka_run_group_tests_name("store/home", tests, NULL, NULL);
    kith_io_free(io);
    return failed;
}
