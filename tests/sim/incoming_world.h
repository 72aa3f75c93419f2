/* A process in the simulator that receives files into FOLDER through a table that counts what it reads and writes of
 * the part. */
#ifndef KITH_TEST_INCOMING_WORLD_H
#define KITH_TEST_INCOMING_WORLD_H

#include "base/mem.h"
#include "sim/sim.h"
#include "store/incoming.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED    __attribute__((unused))
#define MIB       ((size_t)KITH_GROUP_SIZE)
#define LARGEST   (3 * MIB + MIB / 2)
#define GROUP_MAX 4
#define FOLDER    "/in"

static UNUSED uint8_t content[LARGEST];

static UNUSED int make_content(void **state)
{
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return 0;
}

static UNUSED size_t groups_of(size_t size) { return size ? (size + MIB - 1) / MIB : 1; }
static UNUSED size_t group_size(size_t size, size_t i) { return size - i * MIB < MIB ? size - i * MIB : MIB; }

/* The CVs of the first `size` bytes of content; asked for often, so kept. */
static UNUSED const uint8_t *cv_of(size_t size, size_t i)
{
    static uint8_t cvs[GROUP_MAX][KITH_BLAKE3_SIZE];
    static size_t cvs_size = SIZE_MAX;
    for (size_t k = 0; size != cvs_size && k < groups_of(size); k++)
        kith_group_cv(content + k * MIB, group_size(size, k), k, groups_of(size) == 1, cvs[k]);
    cvs_size = size;
    return cvs[i];
}

/* ---- a process whose reading and writing is counted ---- */
typedef struct process {
    kith_env env; /* what the code under test sees */
    kith_env *real;
} process;

typedef struct counts {
    uint64_t part_read, part_written; /* bytes */
    bool fail_sync;
    kith_incoming *finish_on_open;            /* somebody else who finishes just then, */
    const kith_incoming_config *open_on_open; /* and another one who begins with the same, */
    kith_incoming *opened;                    /* this one */
    const char *take_name;                    /* somebody takes this name just before we do */
} counts;

static UNUSED counts counted;
static UNUSED kith_file *part_handle;
static UNUSED kith_env_file table;
static UNUSED const kith_env_file *real_table;

static UNUSED kith_env *real_of(kith_env *env) { return ((process *)(void *)env)->real; }

static UNUSED bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static UNUSED kith_err counting_open(kith_env *env, const char *path, unsigned flags, uint32_t mode, kith_file **out)
{
    kith_err err = real_table->open(real_of(env), path, flags, mode, out);
    if (!err && ends_with(path, ".part")) part_handle = *out;
    kith_incoming *other = counted.finish_on_open;
    const kith_incoming_config *config = counted.open_on_open;
    counted.finish_on_open = NULL; /* these open files, too */
    counted.open_on_open = NULL;
    if (!err && other) {
        kith_incoming_result result;
        assert_ok(kith_incoming_finish(other, &(kith_incoming_place){.name = "file.bin"}, &result));
        kith_incoming_close(other);
    }

    if (!err && config) {
        kith_tree resume;
        assert_ok(kith_incoming_open(config, &resume, &counted.opened));
    }
    return err;
}

static UNUSED kith_err counting_read(kith_file *file, uint64_t offset, void *out, size_t size, size_t *got)
{
    if (file == part_handle) counted.part_read += size;
    return real_table->read(file, offset, out, size, got);
}

static UNUSED kith_err counting_write(kith_file *file, uint64_t offset, const void *data, size_t size)
{
    if (file == part_handle) counted.part_written += size;
    return real_table->write(file, offset, data, size);
}

static UNUSED kith_err failing_sync(kith_file *file)
{
    if (!counted.fail_sync) return real_table->sync(file);
    counted.fail_sync = false;
    return KITH_ERR_IO;
}

static UNUSED void counting_close(kith_file *file)
{
    if (file && file == part_handle) part_handle = NULL;
    real_table->close(file);
}

static UNUSED kith_err pass_stat(kith_env *env, const char *path, bool follow, kith_file_info *out)
{
    return real_table->stat(real_of(env), path, follow, out);
}
static UNUSED kith_err pass_rename(kith_env *env, const char *from, const char *to)
{
    return real_table->rename(real_of(env), from, to);
}
static UNUSED kith_err racing_rename_new(kith_env *env, const char *from, const char *to)
{
    kith_file *file;
    if (counted.take_name && ends_with(to, counted.take_name)) {
        assert_ok(real_table->open(real_of(env), to, KITH_FILE_WRITE | KITH_FILE_CREATE, 0600, &file));
        assert_ok(real_table->write(file, 0, "mine", 4));
        real_table->close(file);
        counted.take_name = NULL;
    }
    return real_table->rename_new(real_of(env), from, to);
}
static UNUSED kith_err pass_remove(kith_env *env, const char *path) { return real_table->remove(real_of(env), path); }
static UNUSED kith_err pass_sync_folder(kith_env *env, const char *path)
{
    return real_table->sync_folder(real_of(env), path);
}

/* ---- a world ---- */
typedef struct world {
    kith_sim *sim;
    kith_sim_host *host;
    process *p;
} world;

static UNUSED void start(world *w)
{
    free(w->p);
    w->p = calloc(1, sizeof *w->p);
    assert_ok(kith_sim_env_new(w->host, &w->p->real));
    w->p->env = *w->p->real;
    real_table = w->p->real->file;
    table = *real_table;
    table.open = counting_open;
    table.read = counting_read;
    table.write = counting_write;
    table.sync = failing_sync;
    table.close = counting_close;
    table.stat = pass_stat;
    table.rename = pass_rename;
    table.rename_new = racing_rename_new;
    table.remove = pass_remove;
    table.sync_folder = pass_sync_folder;
    w->p->env.file = &table;
    counted = (counts){0};
    part_handle = NULL;
}

static UNUSED world world_new(uint64_t seed)
{
    world w = {0};
    assert_ok(kith_sim_new(seed, &w.sim));
    assert_ok(kith_sim_host_new(w.sim, "host", &w.host));
    assert_ok(kith_sim_put_folder(w.host, FOLDER, 0755));
    start(&w);
    return w;
}

static UNUSED void world_free(world *w)
{
    kith_sim_free(w->sim);
    free(w->p);
}

static UNUSED kith_incoming_config config_of(world *w, size_t size)
{
    kith_incoming_config c = {.env = &w->p->env, .folder = FOLDER, .id = {.size = size}};
    memset(c.id.sender, 1, sizeof c.id.sender);
    memset(c.id.tag, 2, sizeof c.id.tag);
    w->p->real->base->boot_id(w->p->real, c.boot_id);
    return c;
}

static UNUSED void check_tree(const kith_tree *got, size_t size)
{
    kith_tree want;
    kith_tree_init(&want);
    assert_true(got->groups <= groups_of(size));
    for (size_t i = 0; i < got->groups; i++) kith_tree_add(&want, cv_of(size, i));
    assert_int_equal(got->depth, want.depth);
    assert_memory_equal(got->stack, want.stack, want.depth * KITH_BLAKE3_SIZE);
}

static UNUSED kith_err keep(kith_incoming *in, size_t size, size_t i)
{
    return kith_incoming_keep(in, i, content + i * MIB, group_size(size, i), cv_of(size, i));
}

/* One attempt, keeping at most `most` groups; with all of them it is finished. */
static UNUSED kith_err attempt(world *w, size_t size, size_t most, const kith_incoming_place *place, kith_tree *resume,
                               kith_incoming_result *result)
{
    kith_incoming *in = NULL;
    kith_incoming_config c = config_of(w, size);
    kith_err err = kith_incoming_open(&c, resume, &in);
    if (err) return err;
    check_tree(resume, size);
    err = kith_incoming_reserve(in);
    for (size_t i = (size_t)resume->groups; !err && i < groups_of(size) && i < most; i++) err = keep(in, size, i);
    if (!err && most >= groups_of(size)) err = kith_incoming_finish(in, place, result);
    kith_incoming_close(in);
    return err;
}

static UNUSED const kith_incoming_place plain = {.name = "file.bin", .modified_ms = 1234567890123};

static UNUSED kith_err attempt_plain(world *w, size_t size, size_t most, kith_incoming_result *result)
{
    kith_tree resume;
    kith_incoming_result ignored;
    return attempt(w, size, most, &plain, &resume, result ? result : &ignored);
}

static UNUSED void check_file(world *w, const char *name, const void *data, size_t size)
{
    char path[512];
    uint8_t *found;
    size_t found_size;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    kith_err err = kith_sim_get_file(w->host, path, &found, &found_size);
    if (err) fail_msg("%s: %s", name, kith_err_name(err));
    assert_int_equal(found_size, size);
    assert_memory_equal(found, data, size);
    kith_free(found);
}

static UNUSED void count_name(void *user, const char *name)
{
    size_t *own = user;
    own[strncmp(name, KITH_FILE_NAME_OWN, strlen(KITH_FILE_NAME_OWN)) == 0]++;
}

/* Files of other people, and of ours. */
static UNUSED void check_folder(world *w, size_t others, size_t ours)
{
    size_t n[2] = {0};
    assert_ok(real_table->list(w->p->real, FOLDER, count_name, n));
    if (n[0] != others || n[1] != ours) fail_msg("%zu files and %zu of ours", n[0], n[1]);
}

static UNUSED kith_file_info info_of(world *w, const char *name)
{
    char path[512];
    kith_file_info info;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    assert_ok(real_table->stat(w->p->real, path, false, &info));
    return info;
}

/* The name of our file in the folder that ends so. */
typedef struct search {
    const char *end;
    char path[512];
} search;
static UNUSED void match(void *user, const char *name)
{
    search *s = user;
    if (strncmp(name, KITH_FILE_NAME_OWN, strlen(KITH_FILE_NAME_OWN)) == 0 && ends_with(name, s->end))
        snprintf(s->path, sizeof s->path, FOLDER "/%s", name);
}
static UNUSED search own_path(world *w, const char *end)
{
    search s = {.end = end};
    assert_ok(real_table->list(w->p->real, FOLDER, match, &s));
    assert_true(*s.path);
    return s;
}

#endif
