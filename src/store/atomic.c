#include "store/atomic.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TEMPORARY_MARK ".tmp-"
#define TEMPORARY_MAX  64 /* left over by crashes, before we say that something is wrong */

char *kith_path_join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + 1 + strlen(name) + 1;
    char *path = kith_malloc(size);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* A new file beside `path`; its path in temporary[0..size). */
static kith_err create_temporary(kith_env *env, const char *path, uint32_t mode, char *temporary, size_t size,
                                 kith_file **out)
{
    const unsigned flags = KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE;
    for (unsigned n = 0; n < TEMPORARY_MAX; n++) {
        snprintf(temporary, size, "%s" TEMPORARY_MARK "%u", path, n);
        kith_err err = env->file->open(env, temporary, flags, mode, out);
        if (err != KITH_ERR_EXISTS) return err;
    }
    return KITH_ERR_LIMIT;
}

static kith_err write_by(kith_env *env, kith_err (*put)(kith_env *env, const char *from, const char *to),
                         const char *folder, const char *name, uint32_t mode, const void *data, size_t size)
{
    kith_err err = KITH_ERR_NOMEM;
    kith_file *file = NULL;
    char *path = kith_path_join(folder, name), *temporary = NULL;
    size_t temporary_size = path ? strlen(path) + sizeof TEMPORARY_MARK + 8 : 0;
    if (path) temporary = kith_malloc(temporary_size);
    if (!temporary) goto done;
    err = create_temporary(env, path, mode, temporary, temporary_size, &file);
    if (err) goto done;
    err = env->file->write(file, 0, data, size);
    if (!err) err = env->file->sync(file);
    env->file->close(file);
    if (!err) err = put(env, temporary, path);
    if (err)
        (void)env->file->remove(env, temporary); /* the error to report is the first one */
    else
        err = env->file->sync_folder(env, folder);
done:
    kith_free(temporary);
    kith_free(path);
    return err;
}

kith_err kith_atomic_write(kith_env *env, const char *folder, const char *name, uint32_t mode, const void *data,
                           size_t size)
{
    return write_by(env, env->file->rename, folder, name, mode, data, size);
}

kith_err kith_atomic_write_new(kith_env *env, const char *folder, const char *name, uint32_t mode, const void *data,
                               size_t size)
{
    return write_by(env, env->file->rename_new, folder, name, mode, data, size);
}

/* Names must not be removed while the folder is listed, so one is found at a time. */
typedef struct leftover {
    const char *name;
    char *found;
    bool nomem;
} leftover;

static void find_leftover(void *user, const char *name)
{
    leftover *l = user;
    size_t length = strlen(l->name), mark = strlen(TEMPORARY_MARK);
    if (l->found || strncmp(name, l->name, length) != 0 || strncmp(name + length, TEMPORARY_MARK, mark) != 0) return;
    const char *number = name + length + mark;
    if (!*number || strspn(number, "0123456789") != strlen(number)) return;
    l->found = kith_strdup(name);
    l->nomem = !l->found;
}

kith_err kith_atomic_clean(kith_env *env, const char *folder, const char *name)
{
    kith_err err = KITH_OK;
    for (unsigned n = 0; n < TEMPORARY_MAX && !err; n++) {
        leftover l = {.name = name};
        err = env->file->list(env, folder, find_leftover, &l);
        if (l.nomem) err = KITH_ERR_NOMEM;
        if (!l.found) break;
        char *path = kith_path_join(folder, l.found);
        err = path ? env->file->remove(env, path) : KITH_ERR_NOMEM;
        kith_free(path);
        kith_free(l.found);
    }
    return err == KITH_ERR_NOMEM ? err : KITH_OK;
}

kith_err kith_read_whole(kith_env *env, const char *path, size_t max, uint8_t **data, size_t *size,
                         kith_file_info *info)
{
    kith_file *file = NULL;
    kith_file_info found = {0};
    uint8_t *memory = NULL;
    size_t got = 0;
    kith_err err = env->file->open(env, path, KITH_FILE_READ, 0, &file);
    if (err) return err;
    err = env->file->info(file, &found);
    if (!err && found.kind != KITH_FILE_REGULAR) err = KITH_ERR_NOT_REGULAR;
    if (!err && found.size > max) err = KITH_ERR_LIMIT;
    if (!err && !(memory = kith_malloc((size_t)found.size + 1))) err = KITH_ERR_NOMEM;
    /* One byte more than it should have, so that a file that is growing is not taken for whole. */
    if (!err) err = env->file->read(file, 0, memory, (size_t)found.size + 1, &got);
    if (!err && got > found.size) err = KITH_ERR_CHANGED;
    env->file->close(file);
    if (err) {
        kith_free(memory);
        return err;
    }
    *data = memory;
    *size = got;
    if (info) *info = found;
    return KITH_OK;
}
