/* The recovery code and backups on a real disk: what they bring back, and what is refused.  (Faults of the disk are in
 * test_store_faults.c.) */
#include "base/mem.h"
#include "crypto/secret.h"
#include "identity/backup.h"
#include "io/io.h"
#include "store/atomic.h"
#include "store/home.h"
#include "testlib.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD ((kith_bytes){"correct horse", 13})
#define OTHER    ((kith_bytes){"battery staple", 14})

static kith_io *io;
static kith_env *env;
static char base[128];
static kith_rng rng;
static kith_problem problem;
static const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1}, as_was;
static uint8_t code[KITH_RECOVERY_CODE_SIZE] = {1}, new_code[KITH_RECOVERY_CODE_SIZE] = {2};

static int set_up(void **state)
{
    (void)state;
    uint8_t seed[KITH_RNG_SEED_SIZE] = {1};
    snprintf(base, sizeof base, "%s/kith-recovery-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    kith_rng_init(&rng, seed);
    return mkdtemp(base) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *out = paths[next++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", base, name);
    return out;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path(name), 0600);
}

static kith_home *home_in(const char *name)
{
    kith_home *home;
    assert_ok(kith_home_open(env, path(name), &home));
    return home;
}

/* A home, whose device is called as its folder; with a recovery code, when `with` is one. */
static kith_home *made(const char *name, const uint8_t *with, kith_home_self *self)
{
    kith_home *home = home_in(name);
    kith_recovery_public pair;
    bool created;
    if (with) kith_recovery_derive(with, &pair);
    const kith_home_init_options options = {.name = name,
                                            .password = PASSWORD,
                                            .kdf = cheap,
                                            .rng = &rng,
                                            .now_ms = 1795490963123,
                                            .recovery = with ? &pair : NULL};
    assert_ok(kith_home_init(home, &options, self, &created, &problem));
    return home;
}

static void opens(kith_home *home, kith_bytes password, const kith_home_self *self)
{
    uint8_t *seed, public_key[32];
    if (kith_home_unlock(home, password, &seed, &problem)) fail_msg("%s", problem.message);
    kith_ed25519_public(seed, public_key);
    assert_memory_equal(public_key, self->public_key, 32);
    kith_secret_free(seed);
}

static void says(const char *text)
{
    if (!strstr(problem.message, text)) fail_msg("\"%s\" is not in \"%s\"", text, problem.message);
}

static void a_forgotten_password(void **state)
{
    (void)state;
    kith_home_self self;
    kith_home *home = made("desk", code, &self);
    assert_int_equal(kith_home_reset_password(home, new_code, OTHER, as_was, &rng, &problem), KITH_ERR_CODE);
    says("not the recovery code");
    assert_int_equal(kith_home_check_password(home, PASSWORD, new_code, &problem), KITH_ERR_CODE);
    assert_ok(kith_home_check_password(home, OTHER, code, &problem));
    assert_int_equal(kith_home_check_password(home, OTHER, NULL, &problem), KITH_ERR_PASSWORD);
    assert_ok(kith_home_check_password(home, PASSWORD, NULL, &problem));
    opens(home, PASSWORD, &self);
    assert_int_equal(kith_home_reset_password(home, code, (kith_bytes){"", 0}, as_was, &rng, &problem), KITH_ERR_ARG);
    opens(home, PASSWORD, &self);
    assert_ok(kith_home_reset_password(home, code, OTHER, as_was, &rng, &problem));
    opens(home, OTHER, &self);
    kith_home_close(home);
    home = made("bare", NULL, &self);
    assert_int_equal(kith_home_check_password(home, OTHER, code, &problem), KITH_ERR_STATE);
    assert_int_equal(kith_home_reset_password(home, code, OTHER, as_was, &rng, &problem), KITH_ERR_STATE);
    says("kith recovery new");
    kith_home_close(home);
}

static kith_home_author author(kith_home *home, uint8_t **seed)
{
    assert_ok(kith_home_unlock(home, PASSWORD, seed, &problem));
    return (kith_home_author){.seed = *seed, .rng = &rng, .now_ms = 1795490970000};
}

static kith_err renew(kith_home *home, const uint8_t *old, const uint8_t *with, kith_recovery_change *out)
{
    uint8_t *seed;
    kith_recovery_public pair;
    const kith_home_author who = author(home, &seed);
    kith_recovery_derive(with, &pair);
    kith_err err = kith_home_new_recovery(home, &who, old, &pair, out, &problem);
    kith_secret_free(seed);
    return err;
}

static void in_force(kith_home *home, const uint8_t *with, size_t devices)
{
    kith_master *master;
    kith_recovery_public pair;
    kith_recovery_derive(with, &pair);
    assert_ok(kith_home_load_master(home, &master, &problem));
    assert_true(master->has_recovery && kith_recovery_same(&pair, &master->recovery));
    assert_int_equal(master->count, devices);
    kith_master_free(master);
}

static void another_code(void **state)
{
    (void)state;
    kith_home_self self;
    kith_recovery_change change;
    const uint8_t third[KITH_RECOVERY_CODE_SIZE] = {3};
    kith_home *home = made("desk", code, &self);
    assert_int_equal(renew(home, new_code, third, &change), KITH_ERR_CODE);
    says("--lost");
    in_force(home, code, 1);
    assert_ok(renew(home, code, new_code, &change));
    assert_true(change.in_force);
    in_force(home, new_code, 1);                                        /* and deposited for it */
    assert_int_equal(renew(home, code, third, &change), KITH_ERR_CODE); /* the old one is void */
    assert_int_equal(kith_home_reset_password(home, code, OTHER, as_was, &rng, &problem), KITH_ERR_CODE);
    assert_ok(renew(home, NULL, third, &change)); /* lost, and nobody to ask */
    assert_true(change.in_force);
    in_force(home, third, 1);
    assert_ok(kith_home_reset_password(home, third, OTHER, as_was, &rng, &problem));
    kith_home_close(home);
    home = made("bare", NULL, &self); /* of before there were codes */
    assert_int_equal(renew(home, code, new_code, &change), KITH_ERR_STATE);
    assert_ok(renew(home, NULL, code, &change));
    in_force(home, code, 1);
    assert_ok(kith_home_reset_password(home, code, OTHER, as_was, &rng, &problem));
    kith_home_close(home);
}

/* ---- two devices ---- */

static const kith_home_self *admitted;
static const uint8_t *admitting;
static const kith_home_self *admitter;

static kith_err admit(kith_graph *graph, void *user)
{
    (void)user;
    kith_graph_entry self, entry;
    kith_graph_entry_make(admitter->device.id, admitter->public_key, admitter->device.name, "", "", &self);
    kith_graph_entry_make(admitted->device.id, admitted->public_key, admitted->device.name, "", "", &entry);
    const kith_graph_author by = {.seed = admitting, .self = &self, .now_ms = 5};
    return kith_graph_admit(graph, &by, &entry);
}

/* What meeting does: each has all that the other has, and says what it has to. */
static kith_err take_all(kith_graph *graph, void *user)
{
    const kith_graph *from = user;
    for (size_t i = 0; i < kith_graph_count(from); i++) {
        size_t size;
        const uint8_t *data = kith_graph_bytes(from, i, &size);
        kith_err err = kith_graph_add(graph, data, size);
        if (err && err != KITH_ERR_EXISTS) return err;
    }
    return KITH_OK;
}

static void tell(kith_home *from, kith_home *to)
{
    kith_graph *graph;
    uint8_t *seed;
    bool founded;
    assert_ok(kith_home_load_graph(from, &graph, &problem));
    assert_ok(kith_home_update_graph(to, take_all, graph, &problem));
    kith_graph_free(graph);
    const kith_home_author who = author(to, &seed);
    assert_ok(kith_home_tend_graph(to, who.seed, who.rng, who.now_ms, &founded, &problem));
    kith_secret_free(seed);
}

static void meet(kith_home *one, kith_home *two)
{
    tell(one, two);
    tell(two, one);
    tell(one, two);
}

static void pair(kith_home *host, const kith_home_self *host_self, kith_home *joiner, const kith_home_self *joiner_self)
{
    kith_graph *graph;
    uint8_t *seed;
    (void)author(host, &seed);
    admitter = host_self, admitted = joiner_self, admitting = seed;
    assert_ok(kith_home_update_graph(host, admit, NULL, &problem));
    kith_secret_free(seed);
    assert_ok(kith_home_load_graph(host, &graph, &problem));
    assert_ok(kith_home_replace_graph(joiner, graph, &problem));
    kith_graph_free(graph);
    meet(joiner, host);
}

static void without_the_old_code_all_agree(void **state)
{
    (void)state;
    kith_home_self one_self, two_self;
    kith_recovery_change change;
    uint8_t *seed;
    kith_home *one = made("one", code, &one_self), *two = made("two", NULL, &two_self);
    pair(one, &one_self, two, &two_self);
    in_force(one, code, 2);
    assert_ok(renew(two, NULL, new_code, &change));
    assert_false(change.in_force);
    meet(two, one);
    in_force(one, code, 2);
    assert_ok(kith_home_waiting_recovery(one, &change, &problem));
    assert_true(change.waiting);
    assert_string_equal(change.waiting_by, "two");
    const kith_home_author who = author(one, &seed);
    uint8_t id[KITH_GRAPH_ID_SIZE];
    memcpy(id, change.waiting_id, sizeof id);
    id[0] ^= 1; /* another than was shown: it came meanwhile */
    assert_int_equal(kith_home_accept_recovery(one, &who, id, &change, &problem), KITH_ERR_NOT_FOUND);
    id[0] ^= 1;
    assert_ok(kith_home_accept_recovery(one, &who, id, &change, &problem));
    assert_true(change.in_force);
    assert_int_equal(kith_home_accept_recovery(one, &who, id, &change, &problem), KITH_ERR_NOT_FOUND);
    kith_secret_free(seed);
    meet(one, two);
    in_force(one, new_code, 2);
    in_force(two, new_code, 2);
    assert_ok(kith_home_waiting_recovery(two, &change, &problem));
    assert_false(change.waiting);
    kith_home_close(one);
    kith_home_close(two);
}

/* ---- a thief who lets others in ---- */

typedef struct letting_in {
    const kith_home_self *by;
    const uint8_t *seed, *uuid; /* uuid NULL: one for each */
    uint8_t first, count;
} letting_in;

static kith_err let_in(kith_graph *graph, void *user)
{
    const letting_in *l = user;
    kith_graph_entry self, entry;
    kith_err err = KITH_OK;
    kith_graph_entry_make(l->by->device.id, l->by->public_key, l->by->device.name, "", "", &self);
    const kith_graph_author by = {.seed = l->seed, .self = &self, .now_ms = 5};
    for (uint8_t i = 0; !err && i < l->count; i++) {
        uint8_t seed[32] = {l->first, i}, uuid[KITH_UUID_SIZE] = {l->first, i}, key[32];
        kith_ed25519_public(seed, key);
        kith_graph_entry_make(l->uuid ? l->uuid : uuid, key, "sibling", "", "", &entry);
        err = kith_graph_admit(graph, &by, &entry);
    }
    return err;
}

static size_t members(kith_home *home)
{
    kith_graph *graph;
    kith_verdict v;
    assert_ok(kith_home_load_graph(home, &graph, &problem));
    assert_ok(kith_graph_judge(graph, &v));
    size_t count = kith_verdict_members(&v);
    kith_verdict_done(&v);
    kith_graph_free(graph);
    return count;
}

static kith_err throw_out(kith_home *home, const kith_home_self *whom, const uint8_t *with, const uint8_t *other)
{
    uint8_t *seed;
    kith_recovery_public pair_of_other;
    kith_graph_entry gone;
    const kith_home_author who = author(home, &seed);
    if (other) kith_recovery_derive(other, &pair_of_other);
    kith_err err =
        kith_home_revoke(home, &who, whom->device.id, "", with, other ? &pair_of_other : NULL, &gone, &problem);
    kith_secret_free(seed);
    return err;
}

/* More than a reset has room for: those that he let in go with him.  Fewer stay: they may be the person's. */
static void with_the_code_a_flood_goes(void **state)
{
    (void)state;
    kith_home_self one_self, two_self;
    uint8_t *seed;
    kith_home *one = made("one", code, &one_self), *two = made("two", NULL, &two_self);
    pair(one, &one_self, two, &two_self);
    (void)author(two, &seed);
    letting_in some = {.by = &two_self, .seed = seed, .first = 100, .count = 3};
    assert_ok(kith_home_update_graph(one, let_in, &some, &problem));
    assert_ok(throw_out(one, &two_self, code, new_code));
    assert_int_equal(members(one), 1 + 3);
    kith_home_close(one);
    kith_home_close(two);
    kith_secret_free(seed);

    one = made("three", code, &one_self), two = made("four", NULL, &two_self);
    pair(one, &one_self, two, &two_self);
    (void)author(two, &seed);
    letting_in many = {.by = &two_self, .seed = seed, .first = 100, .count = KITH_GRAPH_ROSTER_MAX};
    assert_ok(kith_home_update_graph(one, let_in, &many, &problem));
    if (throw_out(one, &two_self, code, new_code)) fail_msg("%s", problem.message);
    assert_int_equal(members(one), 1);
    in_force(one, new_code, 1);
    kith_home_close(one);
    kith_home_close(two);
    kith_secret_free(seed);
}

/* He lets in another device under his own id, and one under this device's: who revokes the id revokes all that have it,
 * but himself. */
static void two_under_one_id(void **state)
{
    (void)state;
    kith_home_self one_self, two_self;
    uint8_t *seed;
    kith_home *one = made("one", code, &one_self), *two = made("two", NULL, &two_self);
    pair(one, &one_self, two, &two_self);
    (void)author(two, &seed);
    letting_in twin = {.by = &two_self, .seed = seed, .uuid = two_self.device.id, .first = 100, .count = 2};
    assert_ok(kith_home_update_graph(one, let_in, &twin, &problem));
    twin.uuid = one_self.device.id, twin.first = 101;
    assert_ok(kith_home_update_graph(one, let_in, &twin, &problem));
    assert_int_equal(members(one), 6);
    assert_ok(throw_out(one, &two_self, NULL, NULL));
    assert_int_equal(members(one), 3);
    assert_ok(throw_out(one, &one_self, NULL, NULL));
    assert_int_equal(members(one), 1);
    assert_int_equal(throw_out(one, &one_self, NULL, NULL), KITH_ERR_ARG);
    kith_home_close(one);
    kith_home_close(two);
    kith_secret_free(seed);
}

/* ---- backups ---- */

static kith_err restore(const char *into, const uint8_t *with, kith_bytes password, const char *device,
                        kith_home_self *self)
{
    kith_home *home = home_in(into);
    const kith_home_restore_options options = {.path = path("backup"),
                                               .password = password,
                                               .code = with,
                                               .device = device,
                                               .rng = &rng,
                                               .now_ms = 1795490990000};
    kith_err err = kith_home_restore(home, &options, self, &problem);
    kith_home_close(home);
    return err;
}

static void back_up(kith_home *home)
{
    (void)unlink(path("backup"));
    assert_ok(kith_home_backup(home, path("backup"), PASSWORD, cheap, &rng, 1795490980000, &problem));
}

static void the_device_comes_back(void **state)
{
    (void)state;
    kith_home_self self, again;
    kith_home *home = made("desk", code, &self), *other;
    assert_int_equal(kith_home_backup(home, path("backup"), OTHER, cheap, &rng, 1, &problem), KITH_ERR_PASSWORD);
    assert_int_equal(access(path("backup"), F_OK), -1);
    back_up(home);
    assert_int_equal(restore("desk", NULL, PASSWORD, NULL, &again), KITH_ERR_EXISTS);
    assert_ok(restore("second", NULL, PASSWORD, NULL, &again));
    assert_memory_equal(&self, &again, sizeof self);
    other = home_in("second");
    opens(other, PASSWORD, &self);
    kith_home_close(other);
    /* With the code, under a new password; also when the password was changed since. */
    assert_ok(restore("third", code, OTHER, NULL, &again));
    other = home_in("third");
    opens(other, OTHER, &self);
    kith_home_close(other);
    assert_int_equal(restore("fourth", new_code, OTHER, NULL, &again), KITH_ERR_CODE);
    assert_int_equal(restore("fourth", NULL, OTHER, NULL, &again), KITH_ERR_PASSWORD);
    assert_int_equal(restore("fourth", code, (kith_bytes){"", 0}, NULL, &again), KITH_ERR_ARG);
    assert_int_equal(restore("fourth", NULL, PASSWORD, "other", &again), KITH_ERR_ARG);
    assert_int_equal(access(path("fourth"), F_OK), -1);
    kith_home_close(home);
}

/* The application's file stays, when it is this device's; another's is in the way. */
/* Anybody who knows the code's public halves, as each own device does, can make a file that the code opens: of another
 * device with whatever he likes in it. */
static void a_backup_by_somebody_else(void **state)
{
    (void)state;
    kith_home_self self;
    kith_recovery_public to;
    kith_backup_content content;
    kith_reason reason;
    const kith_backup_random random = {.key = {1}};
    const uint8_t his[32] = {66};
    uint8_t *data, *forged, *seed;
    size_t size, forged_size;
    kith_home *home = made("desk", code, &self);
    (void)author(home, &seed);
    back_up(home);
    kith_home_close(home);
    kith_recovery_derive(code, &to);
    assert_ok(kith_read_whole(env, path("backup"), KITH_BACKUP_FILE_MAX, &data, &size, NULL));
    assert_ok(kith_backup_open(data, size, PASSWORD, &content, &reason));
    kith_free(data);
    for (int i = 0; i < 3; i++) {
        content.seed = i == 0 ? NULL : i == 1 ? his : seed;
        assert_ok(kith_backup_seal(&content, &cheap, PASSWORD, &to, &random, &forged, &forged_size));
        (void)unlink(path("backup"));
        assert_ok(kith_atomic_write_new(env, base, "backup", 0600, forged, forged_size));
        kith_free(forged);
        assert_int_equal(restore("new", code, OTHER, NULL, &self), i < 2 ? KITH_ERR_DAMAGED : KITH_OK);
        if (i < 2) says("not made by the device");
    }
    kith_backup_done(&content);
    kith_secret_free(seed);
}

static void beside_an_applications_file(void **state)
{
    (void)state;
    kith_home_self self, again;
    char id[KITH_UUID_TEXT_SIZE], text[200];
    kith_home *home = made("desk", code, &self);
    back_up(home);
    kith_home_close(home);
    assert_int_equal(mkdir(path("second"), 0700), 0);
    write_text("second/device.json", "{\"id\": \"0192f3c1-9d0b-4c36-8a52-7f3c1d2e4b5a\", \"name\": \"x\"}");
    assert_int_equal(restore("second", NULL, PASSWORD, NULL, &again), KITH_ERR_EXISTS);
    says("another device");
    write_text("second/device.json", "{\"id\": ");
    assert_int_equal(restore("second", NULL, PASSWORD, NULL, &again), KITH_ERR_DAMAGED);
    snprintf(text, sizeof text, "{\"id\": \"%s\", \"name\": \"mine\", \"theirs\": 1}",
             kith_uuid_text(self.device.id, id));
    write_text("second/device.json", text);
    assert_ok(restore("second", NULL, PASSWORD, NULL, &again));
    home = home_in("second");
    assert_ok(kith_home_load(home, &again, &problem));
    assert_string_equal(again.device.name, "mine");
    assert_memory_equal(again.fingerprint, self.fingerprint, 32);
    kith_home_close(home);
}

/* The lost device of two, from the other's backup. */
static void another_device_from_ones_backup(void **state)
{
    (void)state;
    kith_home_self one_self, two_self, again;
    kith_trust *trust;
    kith_home *one = made("one", code, &one_self), *two = made("two", NULL, &two_self), *lost;
    pair(one, &one_self, two, &two_self);
    back_up(one);
    assert_int_equal(restore("again", code, OTHER, "three", &again), KITH_ERR_NOT_FOUND);
    says("no own device \"three\"");
    assert_ok(restore("again", code, OTHER, "two", &again));
    assert_memory_equal(again.fingerprint, two_self.fingerprint, 32);
    assert_string_equal(again.device.name, "two");
    lost = home_in("again");
    opens(lost, OTHER, &two_self);
    assert_ok(kith_home_load_trust(lost, &trust, &problem));
    assert_int_equal(kith_trust_count(trust), 1);
    assert_non_null(kith_trust_by_fingerprint(trust, one_self.fingerprint));
    assert_null(kith_trust_by_fingerprint(trust, two_self.fingerprint));
    kith_trust_free(trust);
    kith_home_close(lost);
    kith_home_close(one);
    kith_home_close(two);
}

/* ---- an application's device.json ---- */

#define THEIRS "{\"id\": \"0192f3c1-9d0b-4c36-8a52-7f3c1d2e4b5a\", \"name\": \"theirs\", \"more\": [1]}"

static void a_device_file_elsewhere(void **state)
{
    (void)state;
    kith_home_self self, again;
    char text[200] = "";
    bool created;
    kith_home *home = home_in("desk");
    assert_int_equal(kith_home_refer(home, path("app.json"), &problem), KITH_ERR_NO_FILE);
    says("app.json");
    assert_int_equal(kith_home_refer(home, "app.json", &problem), KITH_ERR_ARG);
    write_text("app.json", THEIRS);
    chmod(path("app.json"), 0644); /* its id is no secret */
    assert_ok(kith_home_refer(home, path("app.json"), &problem));
    const kith_home_init_options options = {.name = "x", .password = PASSWORD, .kdf = cheap, .rng = &rng, .now_ms = 5};
    assert_ok(kith_home_init(home, &options, &self, &created, &problem));
    assert_string_equal(self.device.name, "theirs");
    assert_int_equal(kith_home_set_name(home, "y", &problem), KITH_ERR_UNSUPPORTED);
    says("application");
    opens(home, PASSWORD, &self);
    FILE *f = fopen(path("app.json"), "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, THEIRS);
    /* It moves; and another device's is not taken for it. */
    assert_int_equal(rename(path("app.json"), path("moved.json")), 0);
    assert_int_equal(kith_home_load(home, &again, &problem), KITH_ERR_DAMAGED);
    says("app.json is missing");
    assert_ok(kith_home_refer(home, path("moved.json"), &problem));
    write_text("other.json", "{\"id\": \"1192f3c1-9d0b-4c36-8a52-7f3c1d2e4b5a\", \"name\": \"other\"}");
    write_text("app.json", THEIRS);
    assert_int_equal(kith_home_refer(home, path("other.json"), &problem), KITH_ERR_DAMAGED);
    assert_ok(kith_home_refer(home, path("moved.json"), &problem));
    assert_ok(kith_home_load(home, &again, &problem));
    assert_memory_equal(self.fingerprint, again.fingerprint, 32);
    chmod(path("moved.json"), 0666);
    assert_int_equal(kith_home_load(home, &again, &problem), KITH_ERR_EXPOSED);
    kith_home_close(home);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_home *home = NULL, *other = NULL;
    kith_home_self self;
    kith_recovery_public pair_of;
    kith_recovery_change change;
    uint8_t *seed = NULL;
    bool created;
    (void)nftw(path("a"), remove_one, 8, FTW_DEPTH | FTW_PHYS);
    (void)nftw(path("b"), remove_one, 8, FTW_DEPTH | FTW_PHYS);
    (void)unlink(path("backup"));
    kith_recovery_derive(code, &pair_of);
    const kith_home_init_options options = {
        .name = "a", .password = PASSWORD, .kdf = cheap, .rng = &rng, .now_ms = 5, .recovery = &pair_of};
    const kith_home_restore_options how = {
        .path = path("backup"), .password = PASSWORD, .code = code, .rng = &rng, .now_ms = 5};
    kith_err err = kith_home_open(env, path("a"), &home);
    if (!err) err = kith_home_open(env, path("b"), &other);
    if (!err) err = kith_home_init(home, &options, &self, &created, &problem);
    if (!err) err = kith_home_reset_password(home, code, PASSWORD, as_was, &rng, &problem);
    if (!err) err = kith_home_backup(home, how.path, PASSWORD, cheap, &rng, 5, &problem);
    if (!err) err = kith_home_restore(other, &how, &self, &problem);
    if (!err) err = kith_home_unlock(other, PASSWORD, &seed, &problem);
    kith_recovery_derive(new_code, &pair_of);
    const kith_home_author who = {.seed = seed, .rng = &rng, .now_ms = 6};
    if (!err) err = kith_home_new_recovery(other, &who, code, &pair_of, &change, &problem);
    if (!err) err = kith_home_waiting_recovery(other, &change, &problem);
    kith_secret_free(seed);
    kith_home_close(home);
    kith_home_close(other);
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
        HOME_TEST(a_forgotten_password),
        HOME_TEST(another_code),
        HOME_TEST(without_the_old_code_all_agree),
        HOME_TEST(the_device_comes_back),
        HOME_TEST(beside_an_applications_file),
        HOME_TEST(another_device_from_ones_backup),
        HOME_TEST(a_device_file_elsewhere),
        HOME_TEST(failing_allocations),
        HOME_TEST(a_backup_by_somebody_else),
        HOME_TEST(with_the_code_a_flood_goes),
        HOME_TEST(two_under_one_id),
    };
    if (kith_io_new(&io) || kith_crypto_init()) return 1;
    env = kith_io_env(io);
    int failed = cmocka_run_group_tests_name("store/home_recovery", tests, NULL, NULL);
    kith_io_free(io);
    return failed;
}
