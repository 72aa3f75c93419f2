/* The home on a disk that fails: every operation in turn fails once, or is the last one before the process dies
 * or the power fails.  Afterwards the home holds the old state or the new, whole; what was begun can be done again; and
 * no key is ever replaced by another. */
#include "base/mem.h"
#include "crypto/secret.h"
#include "io/io.h"
#include "store/home.h"
#include "testlib.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const kith_bytes old_password = {"old password", 12}, new_password = {"new password", 12};
static const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};

/* ---- a disk that fails ---- */

/* The operations on `real` are counted; number `fail_at` fails with `error` and so do, once the process is `dead`, all
 * after it.  A write that fails has written half.  Handles are the real ones. */
static const kith_env_file *real;
static uint64_t operations, fail_at;
static bool dies, dead;
static kith_err error;

static bool failing(void)
{
    if (dead || ++operations == fail_at) {
        dead = dies;
        return true;
    }
    return false;
}

static char base[200], folder[256], kept[256] /* of backups */;

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static void remove_all(const char *below)
{
    char path[300];
    snprintf(path, sizeof path, "%s%s", base, below);
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* there may be nothing */
}

/* ---- what is durable ---- */

/* Contents as they were last synced, by inode, and the names in the home as they were when it was last synced.  What
 * was never synced is an empty file after a power failure, the worst that file systems do. */
enum { INODES = 512, NAMES = 16, CONTENT_MAX = 8192 };
static struct content {
    uint64_t inode;
    size_t size;
    uint8_t data[CONTENT_MAX];
} contents[INODES];
static size_t content_count;
static struct durable_name {
    char name[64];
    uint64_t inode;
} names[NAMES];
static size_t name_count;
static bool home_durable, above_durable; /* the folders themselves */

static struct content *content_of(uint64_t inode)
{
    for (size_t i = 0; i < content_count; i++)
        if (contents[i].inode == inode) return &contents[i];
    assert_true(content_count < INODES);
    contents[content_count] = (struct content){.inode = inode};
    return &contents[content_count++];
}

static void content_synced(kith_file *file)
{
    kith_file_info info;
    assert_ok(real->info(file, &info));
    struct content *c = content_of(info.inode);
    assert_ok(real->read(file, 0, c->data, sizeof c->data, &c->size));
    assert_true(c->size < sizeof c->data);
}

static void path_in_home(const char *name, char out[2048]) { snprintf(out, 2048, "%s/%s", folder, name); }

static void remember_name(void *user, const char *name)
{
    (void)user;
    kith_file_info info;
    char path[2048];
    path_in_home(name, path);
    assert_ok(real->stat(NULL, path, false, &info));
    assert_true(name_count < NAMES);
    snprintf(names[name_count].name, sizeof names[0].name, "%s", name);
    names[name_count++].inode = info.inode;
}

static void names_synced(void)
{
    name_count = 0;
    (void)real->list(NULL, folder, remember_name, NULL); /* none when there is no folder */
}

static void sync_name(void *user, const char *name)
{
    (void)user;
    kith_file *file;
    char path[2048];
    path_in_home(name, path);
    assert_ok(real->open(NULL, path, KITH_FILE_READ, 0, &file));
    content_synced(file);
    real->close(file);
}

/* All that is there is durable. */
static void all_synced(bool home_is_there)
{
    content_count = 0;
    home_durable = above_durable = home_is_there;
    (void)real->list(NULL, folder, sync_name, NULL);
    names_synced();
}

/* The power fails: the home holds the durable names, or (renames and creations may have reached the disk by themselves)
 * those it has now; either with durable contents. */
static void power_failure(bool names_as_they_are)
{
    kith_file *file;
    char path[2048];
    if (names_as_they_are) names_synced();
    remove_all(above_durable || names_as_they_are ? "/share/kith" : "/share");
    if (!names_as_they_are && (!home_durable || !above_durable)) return;
    if (name_count == 0 && !home_durable) return;
    assert_ok(real->make_folder(NULL, folder, 0700));
    for (size_t i = 0; i < name_count; i++) {
        const struct content *c = content_of(names[i].inode);
        path_in_home(names[i].name, path);
        assert_ok(real->open(NULL, path, KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE, 0600, &file));
        assert_ok(real->write(file, 0, c->data, c->size));
        real->close(file);
    }
}

/* ---- the table ---- */

static kith_err f_open(kith_env *e, const char *path, unsigned flags, uint32_t mode, kith_file **out)
{
    kith_file_info info;
    if (failing()) return error;
    kith_err err = real->open(e, path, flags | KITH_FILE_READ, mode, out); /* content_synced reads */
    /* A new file has nothing durable yet, though its inode may have been another's. */
    if (!err && flags & KITH_FILE_EXCLUSIVE && real->info(*out, &info) == KITH_OK) content_of(info.inode)->size = 0;
    return err;
}
static kith_err f_read(kith_file *file, uint64_t offset, void *out, size_t size, size_t *got)
{
    return failing() ? error : real->read(file, offset, out, size, got);
}
static kith_err f_write(kith_file *file, uint64_t offset, const void *data, size_t size)
{
    bool was_dead = dead;
    if (!failing()) return real->write(file, offset, data, size);
    if (!was_dead) assert_ok(real->write(file, offset, data, size / 2));
    return error;
}
static kith_err f_info(kith_file *file, kith_file_info *out) { return failing() ? error : real->info(file, out); }
static kith_err f_sync(kith_file *file)
{
    if (failing()) return error;
    content_synced(file); /* which is all that it means here: the real disk need not */
    return KITH_OK;
}
static kith_err f_lock(kith_file *file, bool wait) { return failing() ? error : real->lock(file, wait); }
static void f_close(kith_file *file) { real->close(file); }
static kith_err f_stat(kith_env *e, const char *path, bool follow, kith_file_info *out)
{
    return failing() ? error : real->stat(e, path, follow, out);
}
static kith_err f_rename(kith_env *e, const char *from, const char *to)
{
    return failing() ? error : real->rename(e, from, to);
}
static kith_err f_rename_new(kith_env *e, const char *from, const char *to)
{
    return failing() ? error : real->rename_new(e, from, to);
}
static kith_err f_remove(kith_env *e, const char *path) { return failing() ? error : real->remove(e, path); }
static kith_err f_make_folder(kith_env *e, const char *path, uint32_t mode)
{
    return failing() ? error : real->make_folder(e, path, mode);
}
static kith_err f_sync_folder(kith_env *e, const char *path)
{
    if (failing()) return error;
    size_t length = strlen(path);
    if (strcmp(path, folder) == 0)
        names_synced();
    else if (strcmp(path, base) == 0)
        above_durable = true;
    else if (strncmp(path, folder, length) == 0)
        home_durable = true;
    (void)e;
    return KITH_OK;
}
static kith_err f_list(kith_env *e, const char *path, void (*each)(void *user, const char *name), void *user)
{
    return failing() ? error : real->list(e, path, each, user);
}

static const kith_env_file faulty = {
    .open = f_open,
    .read = f_read,
    .write = f_write,
    .info = f_info,
    .sync = f_sync,
    .lock = f_lock,
    .close = f_close,
    .stat = f_stat,
    .rename = f_rename,
    .rename_new = f_rename_new,
    .remove = f_remove,
    .make_folder = f_make_folder,
    .sync_folder = f_sync_folder,
    .list = f_list,
};

/* ---- a home, and what can be done to it ---- */

static kith_env env = {.file = &faulty};
static const uint8_t code[KITH_RECOVERY_CODE_SIZE] = {42};
static bool with_code; /* what init makes has a recovery code, and with it a trust graph */
static kith_rng rng;
static kith_problem problem;

static kith_home *home_of(void)
{
    kith_home *home;
    assert_ok(kith_home_open(&env, folder, &home));
    return home;
}

static kith_err init(kith_home *home, kith_home_self *self)
{
    bool created;
    kith_recovery_public recovery;
    kith_recovery_derive(code, &recovery);
    const kith_home_init_options options = {.name = "laptop",
                                            .os = "Linux",
                                            .password = old_password,
                                            .kdf = cheap,
                                            .rng = &rng,
                                            .now_ms = 1795490963123,
                                            .recovery = with_code ? &recovery : NULL};
    return kith_home_init(home, &options, self, &created, &problem);
}

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
static kith_err note_peer(kith_seen *seen, void *user) { return kith_seen_note(seen, user, NULL, 1000); }

/* What is done, and what must hold afterwards on a disk that works: `check` fails the test if not and says whether it
 * was done. */
typedef struct change {
    const char *name;
    bool from_nothing; /* starts without a home; else with an identity and one pinned device */
    kith_err (*run)(kith_home *home);
    bool (*check)(kith_home *home);
} change;

static kith_home_self self; /* of the home that a change starts with */

static kith_err run_init(kith_home *home)
{
    kith_home_self ignored;
    return init(home, &ignored);
}

static bool check_init(kith_home *home)
{
    kith_home_self found, again;
    uint8_t *seed;
    kith_err err = kith_home_load(home, &found, &problem);
    if (err) assert_int_equal(err, KITH_ERR_NO_IDENTITY);
    assert_ok(init(home, &again)); /* what was half made is completed */
    if (!err) assert_memory_equal(&found, &again, sizeof again);
    assert_ok(kith_home_unlock(home, old_password, &seed, &problem));
    kith_secret_free(seed);
    return !err;
}

static kith_err run_trust(kith_home *home)
{
    kith_peer peer = device(2);
    return kith_home_update_trust(home, add_peer, &peer, &problem);
}

static bool check_trust(kith_home *home)
{
    kith_trust *trust;
    kith_peer first = device(1);
    assert_ok(kith_home_load_trust(home, &trust, &problem));
    size_t count = kith_trust_count(trust);
    assert_true(count == 1 || count == 2);
    assert_non_null(kith_trust_by_fingerprint(trust, first.fingerprint));
    kith_trust_free(trust);
    if (count == 1) assert_ok(run_trust(home));
    return count == 2;
}

static kith_err run_password(kith_home *home)
{
    return kith_home_change_password(home, old_password, new_password, cheap, &rng, &problem);
}

static bool check_password(kith_home *home)
{
    uint8_t *seed = NULL, public_key[32];
    kith_err with_old = kith_home_unlock(home, old_password, &seed, &problem);
    if (with_old) {
        assert_int_equal(with_old, KITH_ERR_PASSWORD);
        assert_ok(kith_home_unlock(home, new_password, &seed, &problem));
    }
    kith_ed25519_public(seed, public_key);
    assert_memory_equal(public_key, self.public_key, 32);
    kith_secret_free(seed);
    if (!with_old) assert_ok(run_password(home));
    return with_old;
}

static kith_err run_reset(kith_home *home)
{
    return kith_home_reset_password(home, code, new_password, cheap, &rng, &problem);
}

static bool check_reset(kith_home *home)
{
    uint8_t *seed = NULL;
    if (kith_home_unlock(home, new_password, &seed, &problem) == KITH_OK) {
        kith_secret_free(seed);
        return true;
    }
    return check_password(home);
}

/* ---- backups ---- */

static char backup_path[300];

static kith_err run_backup(kith_home *home)
{
    return kith_home_backup(home, backup_path, old_password, cheap, &rng, 1795490963123, &problem);
}

static kith_err restore_into(kith_home *home)
{
    kith_home_self found;
    const kith_home_restore_options options = {.path = backup_path, .password = old_password, .rng = &rng};
    return kith_home_restore(home, &options, &found, &problem);
}

/* What is there is whole: it can be restored. */
static bool check_backup(kith_home *home)
{
    kith_file_info info;
    kith_home *other;
    kith_home_self found;
    char place[300];
    bool done = real->stat(NULL, backup_path, true, &info) == KITH_OK;
    if (!done) assert_ok(run_backup(home));
    assert_ok(real->stat(NULL, backup_path, true, &info));
    assert_int_equal(info.mode & 0777, 0600);
    snprintf(place, sizeof place, "%s/other", kept);
    assert_ok(kith_home_open(&env, place, &other));
    assert_ok(restore_into(other));
    assert_ok(kith_home_load(other, &found, &problem));
    assert_memory_equal(found.fingerprint, self.fingerprint, 32);
    kith_home_close(other);
    assert_int_equal(run_backup(home), KITH_ERR_EXISTS);
    return done;
}

/* Into no home at all: afterwards there is none, or a whole one, and never one that could be taken for new. */
static kith_err run_restore(kith_home *home) { return restore_into(home); }

static bool check_restore(kith_home *home)
{
    kith_home_self found;
    kith_trust *trust;
    kith_master *master;
    uint8_t *seed;
    kith_peer first = device(1);
    kith_err err = kith_home_load(home, &found, &problem);
    if (err) {
        assert_true(err == KITH_ERR_NO_IDENTITY ||
                    (err == KITH_ERR_DAMAGED && strstr(problem.message, "kith restore")));
        if (err == KITH_ERR_DAMAGED) assert_int_equal(init(home, &found), KITH_ERR_DAMAGED);
        assert_ok(restore_into(home));
        assert_ok(kith_home_load(home, &found, &problem));
    }
    assert_memory_equal(found.fingerprint, self.fingerprint, 32);
    assert_ok(kith_home_unlock(home, old_password, &seed, &problem));
    kith_secret_free(seed);
    assert_ok(kith_home_load_trust(home, &trust, &problem));
    assert_non_null(kith_trust_by_fingerprint(trust, first.fingerprint));
    kith_trust_free(trust);
    assert_ok(kith_home_load_master(home, &master, &problem));
    assert_non_null(kith_master_find(master, self.device.id));
    kith_master_free(master);
    assert_int_equal(restore_into(home), KITH_ERR_EXISTS);
    return !err;
}

/* ---- keys inside device.json ---- */

static void put_file(const char *name, const void *data, size_t size)
{
    kith_file *file;
    char path[2048];
    path_in_home(name, path);
    (void)real->remove(NULL, path);
    assert_ok(real->open(NULL, path, KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE, 0600, &file));
    assert_ok(real->write(file, 0, data, size));
    real->close(file);
}

/* As an application has them: the home's two files become one. */
static void flatten(void)
{
    json_error_t error_of;
    char path[2048];
    path_in_home("network_keys.json", path);
    json_t *keys = json_load_file(path, 0, &error_of);
    assert_ok(real->remove(NULL, path));
    path_in_home("device.json", path);
    json_t *file = json_load_file(path, 0, &error_of);
    json_object_set(file, "network_identity_created_at", json_object_get(keys, "network_identity_created_at"));
    json_object_set_new(file, "network_keys", keys);
    char *text = json_dumps(file, 0);
    assert_non_null(text);
    put_file("device.json", text, strlen(text));
    free(text);
    json_decref(file);
}

static kith_err run_import(kith_home *home)
{
    uint8_t *seed = NULL;
    kith_err err = kith_home_unlock(home, old_password, &seed, &problem);
    kith_secret_free(seed);
    return err;
}

static bool is_inside(void)
{
    json_error_t error_of;
    char path[2048];
    path_in_home("device.json", path);
    json_t *file = json_load_file(path, 0, &error_of);
    bool inside = json_object_get(file, "network_keys") != NULL;
    assert_string_equal(json_string_value(json_object_get(file, "name")), "laptop");
    json_decref(file);
    return inside;
}

static bool check_import(kith_home *home)
{
    kith_home_self found;
    bool done = !is_inside();
    assert_ok(kith_home_load(home, &found, &problem));
    assert_memory_equal(found.fingerprint, self.fingerprint, 32);
    assert_ok(run_import(home));
    assert_false(is_inside());
    assert_ok(run_import(home));
    return done;
}

static kith_err run_name(kith_home *home) { return kith_home_set_name(home, "desktop", &problem); }

static bool check_name(kith_home *home)
{
    kith_home_self found;
    assert_ok(kith_home_load(home, &found, &problem));
    bool renamed = strcmp(found.device.name, "desktop") == 0;
    if (!renamed) assert_string_equal(found.device.name, "laptop");
    if (!renamed) assert_ok(run_name(home));
    return renamed;
}

static kith_err run_seen(kith_home *home)
{
    uint8_t one[32] = {1};
    return kith_home_update_seen(home, note_peer, one, &problem);
}

static bool check_seen(kith_home *home)
{
    kith_seen *seen;
    assert_ok(kith_home_load_seen(home, &seen));
    size_t count = kith_seen_count(seen);
    kith_seen_free(seen);
    if (count == 0) assert_ok(run_seen(home));
    return count;
}

/* Twice: a new file, and one that is replaced. */
static kith_err run_config(kith_home *home)
{
    kith_err err = kith_home_set_config(home, KITH_CONFIG_RELAY, "ws://a", &problem);
    return err ? err : kith_home_set_config(home, KITH_CONFIG_RELAY, "ws://a ws://b", &problem);
}

static bool check_config(kith_home *home)
{
    kith_config config;
    assert_ok(kith_home_load_config(home, &config, &problem));
    const char *relay = config.values[KITH_CONFIG_RELAY];
    bool done = relay && strcmp(relay, "ws://a ws://b") == 0;
    if (relay && !done) assert_string_equal(relay, "ws://a");
    kith_config_done(&config);
    assert_ok(kith_home_set_config(home, KITH_CONFIG_LAN, "no", &problem));
    return done;
}

/* ---- the trust graph ---- */

/* Devices that the graph says are members. */
static size_t members_of(const kith_graph *graph)
{
    kith_verdict verdict;
    if (kith_graph_count(graph) == 0) return 0;
    assert_ok(kith_graph_judge(graph, &verdict));
    size_t count = kith_verdict_members(&verdict);
    kith_verdict_done(&verdict);
    return count;
}

static const uint8_t *signing; /* the seed that admit_second signs with */

static kith_err admit_second(kith_graph *graph, void *user)
{
    kith_graph_entry own, second;
    kith_peer peer = device(2);
    (void)user;
    kith_graph_entry_make(self.device.id, self.public_key, "laptop", "Linux", "", &own);
    kith_graph_entry_make(peer.uuid, peer.ed25519, "phone", "Linux", "", &second);
    kith_graph_author author = {.seed = signing, .self = &own, .now_ms = 5};
    kith_err err = kith_graph_count(graph) ? KITH_OK : kith_graph_found(graph, &author, NULL, NULL);
    return err || members_of(graph) > 1 ? err : kith_graph_admit(graph, &author, &second);
}

static kith_err run_graph(kith_home *home)
{
    uint8_t *seed = NULL;
    kith_err err = kith_home_unlock(home, old_password, &seed, &problem);
    if (err) return err;
    signing = seed;
    err = kith_home_update_graph(home, admit_second, NULL, &problem);
    kith_secret_free(seed);
    return err;
}

/* Whatever of the files was written, the pins are what the graph says; and running it again completes the rest. */
static bool check_graph(kith_home *home)
{
    kith_graph *graph;
    kith_trust *trust;
    kith_master *master;
    kith_peer second = device(2);
    assert_ok(kith_home_load_graph(home, &graph, &problem));
    size_t members = members_of(graph);
    kith_graph_free(graph);
    assert_true(members == 0 || members == 2);
    assert_ok(kith_home_load_trust(home, &trust, &problem));
    assert_int_equal(kith_trust_by_fingerprint(trust, second.fingerprint) != NULL, members == 2);
    assert_int_equal(kith_trust_count(trust), members == 2 ? 2 : 1); /* the one of before stays */
    kith_trust_free(trust);
    assert_ok(run_graph(home));
    assert_ok(kith_home_load_master(home, &master, &problem));
    assert_false(master->has_recovery);
    kith_master_free(master);
    return members == 2;
}

static kith_err run_tend(kith_home *home)
{
    uint8_t *seed = NULL;
    bool founded;
    kith_err err = kith_home_unlock(home, old_password, &seed, &problem);
    if (!err) err = kith_home_tend_graph(home, seed, &rng, 7, &founded, &problem);
    kith_secret_free(seed);
    return err;
}

static bool check_tend(kith_home *home)
{
    kith_graph *graph;
    assert_ok(kith_home_load_graph(home, &graph, &problem));
    size_t members = members_of(graph);
    kith_graph_free(graph);
    assert_ok(run_tend(home));
    assert_ok(run_tend(home)); /* there is nothing left to say */
    assert_ok(kith_home_load_graph(home, &graph, &problem));
    assert_int_equal(kith_graph_count(graph), 1);
    kith_graph_free(graph);
    return members == 1;
}

/* Into a network of two, which a device of its own founded. */
static kith_err run_replace(kith_home *home)
{
    uint8_t founder[32];
    kith_graph *graph;
    kith_peer peer = device(3);
    kith_graph_entry own, first;
    memset(founder, 3, sizeof founder);
    kith_graph_entry_make(self.device.id, self.public_key, "laptop", "Linux", "", &own);
    kith_graph_entry_make(peer.uuid, peer.ed25519, "desk", "Linux", "", &first);
    kith_graph_author author = {.seed = founder, .self = &first, .now_ms = 5};
    assert_ok(kith_graph_new(&graph));
    assert_ok(kith_graph_found(graph, &author, NULL, NULL));
    assert_ok(kith_graph_admit(graph, &author, &own));
    kith_err err = kith_home_replace_graph(home, graph, &problem);
    kith_graph_free(graph);
    return err;
}

static bool check_replace(kith_home *home)
{
    kith_trust *trust;
    kith_peer first = device(1), founder = device(3);
    assert_ok(kith_home_load_trust(home, &trust, &problem));
    kith_graph *graph;
    assert_ok(kith_home_load_graph(home, &graph, &problem));
    bool done = members_of(graph) == 2;
    if (done) assert_null(kith_trust_by_fingerprint(trust, first.fingerprint));
    if (done) assert_non_null(kith_trust_by_fingerprint(trust, founder.fingerprint));
    kith_graph_free(graph);
    kith_trust_free(trust);
    assert_ok(run_replace(home));
    assert_ok(kith_home_load_trust(home, &trust, &problem));
    assert_int_equal(kith_trust_count(trust), 1);
    assert_null(kith_trust_by_fingerprint(trust, first.fingerprint)); /* the network that was left */
    kith_trust_free(trust);
    return done;
}

static const change changes[] = {
    {"graph", false, run_graph, check_graph},       {"tend", false, run_tend, check_tend},
    {"replace", false, run_replace, check_replace}, {"init", true, run_init, check_init},
    {"trust", false, run_trust, check_trust},       {"password", false, run_password, check_password},
    {"name", false, run_name, check_name},          {"seen", false, run_seen, check_seen},
    {"reset", false, run_reset, check_reset},       {"backup", false, run_backup, check_backup},
    {"restore", true, run_restore, check_restore},  {"import", false, run_import, check_import},
    {"config", false, run_config, check_config},
};

/* ---- failing ---- */

static void no_faults(void) { operations = fail_at = 0, dies = dead = false; }

/* Temporary files in the home. */
static size_t leftovers(void)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) count += strstr(e->d_name, ".tmp-") != NULL;
    if (dir) closedir(dir);
    return count;
}

static void start(const change *c)
{
    kith_peer first = device(1);
    no_faults();
    content_count = 0;
    remove_all("/share");
    remove_all("/kept");
    assert_ok(real->make_folder(NULL, kept, 0700));
    with_code = c->run == run_init || c->run == run_reset || c->run == run_backup || c->run == run_restore;
    kith_home *home = home_of();
    assert_ok(init(home, &self));
    assert_ok(kith_home_update_trust(home, add_peer, &first, &problem));
    if (c->run == run_restore) assert_ok(run_backup(home));
    kith_home_close(home);
    if (c->from_nothing) remove_all("/share");
    if (c->run == run_import) flatten();
    all_synced(!c->from_nothing);
}

typedef struct fault {
    kith_err err;
    bool dies;  /* the process, or everything when */
    bool power; /* fails */
    bool names_as_they_are;
} fault;

/* `c` with its n-th operation failing.  Returns whether it came to that. */
static bool fail_nth(const change *c, uint64_t n, const fault *f)
{
    start(c);
    kith_home *home = home_of();
    operations = 0, fail_at = n, error = f->err, dies = f->dies;
    problem = (kith_problem){0};
    kith_err err = c->run(home);
    bool reached = operations >= n;
    if (err && (!problem.message[0] || problem.err != err))
        fail_msg("%s, operation %u: error %d without a sentence", c->name, (unsigned)n, err);
    kith_home_close(home);
    no_faults();
    if (f->power) power_failure(f->names_as_they_are);
    size_t left = leftovers();
    /* Only a remove that fails leaves one, after something else failed: not here. */
    if (!f->dies) assert_int_equal(left, 0);
    home = home_of();
    bool done = c->check(home);
    if (!err && !done) fail_msg("%s, operation %u: said it was done and was not", c->name, (unsigned)n);
    /* What a crash left went with the next change of that file; master_key.json is not written again by init. */
    assert_true(leftovers() <= (c->run == run_init));
    if (!c->from_nothing) {
        kith_home_self found;
        assert_ok(kith_home_load(home, &found, &problem));
        assert_memory_equal(found.fingerprint, self.fingerprint, 32);
    }
    kith_home_close(home);
    return reached;
}

static void every_operation(const fault *f)
{
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        uint64_t n = 1;
        while (fail_nth(&changes[i], n, f)) n++;
        printf("%s: %u operations\n", changes[i].name, (unsigned)n - 1);
        assert_true(n > 8); /* the loop does go through the change */
    }
}

static void each_operation_fails(void **state)
{
    (void)state;
    every_operation(&(fault){.err = KITH_ERR_IO});
}

static void no_space_at_each_operation(void **state)
{
    (void)state;
    every_operation(&(fault){.err = KITH_ERR_NO_SPACE});
}

static void the_process_dies_at_each_operation(void **state)
{
    (void)state;
    every_operation(&(fault){.err = KITH_ERR_IO, .dies = true});
}

static void the_power_fails_at_each_operation(void **state)
{
    (void)state;
    every_operation(&(fault){.err = KITH_ERR_IO, .dies = true, .power = true});
}

static void the_power_fails_and_names_are_ahead(void **state)
{
    (void)state;
    every_operation(&(fault){.err = KITH_ERR_IO, .dies = true, .power = true, .names_as_they_are = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_operation_fails),
        TEST(no_space_at_each_operation),
        TEST(the_process_dies_at_each_operation),
        TEST(the_power_fails_at_each_operation),
        TEST(the_power_fails_and_names_are_ahead),
    };
    kith_io *io;
    uint8_t seed[KITH_RNG_SEED_SIZE] = {1};
    kith_rng_init(&rng, seed);
    snprintf(base, sizeof base, "%s/kith-faults-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (kith_io_new(&io) || kith_crypto_init() || !mkdtemp(base)) return 1;
    real = kith_io_env(io)->file;
    snprintf(folder, sizeof folder, "%s/share/kith", base);
    snprintf(kept, sizeof kept, "%s/kept", base);
    snprintf(backup_path, sizeof backup_path, "%s/backup", kept);
    int failed = cmocka_run_group_tests_name("store/faults", tests, NULL, NULL);
    remove_all("");
    kith_io_free(io);
    return failed;
}
