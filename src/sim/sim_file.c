/* The `file` part of the env: permissions, rules and faults in front of the disk. */
#include "base/mem.h"
#include "sim/sim_disk.h"

struct kith_file {
    kith_link link;
    sim_process *process;
    sim_inode *inode; /* NULL once the process is dead */
    unsigned flags;
};

static sim_disk *disk_of(sim_process *process) { return &process->host->disk; }

/* ---- faults ---- */

typedef struct verdict { /* on a modifying operation */
    bool skip, part, kill;
    kith_err err;
} verdict;

static verdict judge(sim_process *process, const char *kind, const void *data, size_t size)
{
    verdict v = {.skip = process->dead, .err = process->dead ? KITH_ERR_IO : KITH_OK};
    if (process->dead) return v;
    uint64_t op = ++process->file_ops;
    kith__sim_note(process->sim, kind, process->host, size, data, size);
    bool forever = process->fail_how == KITH_SIM_FAIL_ON;
    if (!process->fail_at || op < process->fail_at || (op > process->fail_at && !forever)) return v;
    v.err = process->fail_err;
    v.kill = process->fail_how == KITH_SIM_FAIL_KILL;
    uint64_t fate = v.kill ? kith__sim_rng_below(&disk_of(process)->rng, 3) : 0;
    v.skip = fate == 0;
    v.part = fate == 1;
    return v;
}

/* After the operation, if it was not to be skipped. */
static kith_err conclude(sim_process *process, const verdict *v, kith_err err)
{
    if (v->kill) kith__sim_process_kill(process);
    return v->err ? v->err : err;
}

void kith_sim_fail_file_at(kith_env *env, uint64_t n, kith_err err, kith_sim_fail how)
{
    sim_process *process = sim_process_of(env);
    process->fail_at = n ? process->file_ops + n : 0;
    process->fail_err = err;
    process->fail_how = how;
}

uint64_t kith_sim_file_ops(const kith_env *env) { return ((const sim_process *)(const void *)env)->file_ops; }

/* ---- one file ---- */

static bool good_flags(unsigned flags)
{
    if (!(flags & (KITH_FILE_READ | KITH_FILE_WRITE))) return false;
    if (flags & KITH_FILE_TRUNCATE && !(flags & KITH_FILE_WRITE)) return false;
    return !(flags & KITH_FILE_EXCLUSIVE) || flags & KITH_FILE_CREATE;
}

static kith_err may_change(const sim_inode *folder)
{
    return (folder->now.mode & 0300) == 0300 ? KITH_OK : KITH_ERR_PERMISSION;
}

static kith_err check_open(const sim_place *place, unsigned flags)
{
    const sim_inode *inode = place->inode;
    if (!inode) return flags & KITH_FILE_CREATE ? may_change(sim_folder_of(place)) : KITH_ERR_NO_FILE;
    if (flags & KITH_FILE_EXCLUSIVE) return KITH_ERR_EXISTS;
    if (inode->kind != KITH_FILE_REGULAR) return KITH_ERR_NOT_REGULAR;
    if (flags & KITH_FILE_READ && !(inode->now.mode & 0400)) return KITH_ERR_PERMISSION;
    if (flags & KITH_FILE_WRITE && !(inode->now.mode & 0200)) return KITH_ERR_PERMISSION;
    return KITH_OK;
}

/* Find it or make it. */
static kith_err open_inode(sim_disk *disk, const char *path, unsigned flags, uint32_t mode, sim_inode **out)
{
    sim_place place;
    kith_err err = kith__sim_walk(disk, path, &place);
    if (!err) err = check_open(&place, flags);
    if (err) return err;
    *out = place.inode;
    if (!*out) return kith__sim_create(disk, &place, KITH_FILE_REGULAR, mode & ~KITH_SIM_UMASK, out);
    return flags & KITH_FILE_TRUNCATE ? kith__sim_truncate(disk, *out, 0) : KITH_OK;
}

static kith_err file_open(kith_env *env, const char *path, unsigned flags, uint32_t mode, kith_file **out)
{
    sim_process *process = sim_process_of(env);
    verdict v = {.skip = process->dead, .err = process->dead ? KITH_ERR_IO : KITH_OK};
    sim_inode *inode = NULL;
    if (!good_flags(flags)) return KITH_ERR_ARG;
    kith_file *file = kith_calloc(1, sizeof *file);
    if (!file) return KITH_ERR_NOMEM;
    if (flags & (KITH_FILE_CREATE | KITH_FILE_TRUNCATE)) v = judge(process, "open", path, strlen(path));
    kith_err err = v.skip ? KITH_OK : open_inode(disk_of(process), path, flags, mode, &inode);
    err = conclude(process, &v, err);
    if (err) {
        kith_free(file);
        return err;
    }
    file->process = process;
    file->inode = inode;
    file->flags = flags;
    kith__sim_use(disk_of(process), inode);
    kith_list_append(&process->files, &file->link);
    *out = file;
    return KITH_OK;
}

static kith_err file_read(kith_file *file, uint64_t offset, void *out, size_t size, size_t *got)
{
    if (!file->inode || !(file->flags & KITH_FILE_READ)) return KITH_ERR_IO;
    return kith__sim_read(file->inode, offset, out, size, got);
}

static kith_err file_write(kith_file *file, uint64_t offset, const void *data, size_t size)
{
    sim_process *process = file->process;
    verdict v = judge(process, "write", data, size);
    kith_err err = KITH_ERR_IO;
    if (v.part) size = (size_t)kith__sim_rng_below(&disk_of(process)->rng, size);
    if (!v.skip && file->flags & KITH_FILE_WRITE)
        err = kith__sim_write(disk_of(process), file->inode, offset, data, size);
    return conclude(process, &v, err);
}

static kith_file_info info_of(const sim_disk *disk, const sim_inode *inode)
{
    return (kith_file_info){.kind = inode->kind,
                            .mode = inode->now.mode,
                            .owner = KITH_SIM_OWNER,
                            .size = inode->now.size,
                            .device = disk->host->id,
                            .inode = inode->number,
                            .modified_ns = inode->now.modified_ns,
                            .changed_ns = inode->changed_ns};
}

static kith_err file_info(kith_file *file, kith_file_info *out)
{
    if (!file->inode) return KITH_ERR_IO;
    *out = info_of(disk_of(file->process), file->inode);
    return KITH_OK;
}

static kith_err file_truncate(kith_file *file, uint64_t size)
{
    verdict v = judge(file->process, "truncate", NULL, 0);
    kith_err err = KITH_ERR_IO;
    if (!v.skip && file->flags & KITH_FILE_WRITE) err = kith__sim_truncate(disk_of(file->process), file->inode, size);
    return conclude(file->process, &v, err);
}

static kith_err file_reserve(kith_file *file, uint64_t size)
{
    verdict v = judge(file->process, "reserve", NULL, 0);
    kith_err err = KITH_ERR_IO;
    if (!v.skip && file->flags & KITH_FILE_WRITE) err = kith__sim_reserve(disk_of(file->process), file->inode, size);
    return conclude(file->process, &v, err);
}

static kith_err file_flush_begin(kith_file *file, uint64_t offset, uint64_t size)
{
    (void)offset, (void)size;
    return file->inode ? KITH_OK : KITH_ERR_IO;
}

static kith_err file_sync(kith_file *file)
{
    verdict v = judge(file->process, "sync", NULL, 0);
    if (!v.skip) kith__sim_sync(file->inode);
    return conclude(file->process, &v, KITH_OK);
}

static kith_err file_set_mode_time(kith_file *file, uint32_t mode, int64_t modified_ns)
{
    verdict v = judge(file->process, "setmode", NULL, 0);
    if (!v.skip) {
        file->inode->now.mode = mode & 0777 & ~KITH_SIM_UMASK;
        file->inode->changed_ns = kith__sim_disk_time(disk_of(file->process));
        if (!v.part) file->inode->now.modified_ns = modified_ns;
    }
    return conclude(file->process, &v, KITH_OK);
}

static kith_err file_lock(kith_file *file, bool wait)
{
    if (!file->inode) return KITH_ERR_IO;
    if (file->inode->locked_by && file->inode->locked_by != file) return wait ? KITH_ERR_LOCKED : KITH_ERR_AGAIN;
    file->inode->locked_by = file;
    return KITH_OK;
}

static void let_go(kith_file *file)
{
    sim_inode *inode = file->inode;
    if (!inode) return;
    if (inode->locked_by == file) inode->locked_by = NULL;
    file->inode = NULL;
    kith__sim_unuse(disk_of(file->process), inode);
}

static void file_close(kith_file *file)
{
    if (!file) return;
    let_go(file);
    kith_list_remove(&file->link);
    kith_free(file);
}

/* ---- names ---- */

static kith_err file_stat(kith_env *env, const char *path, bool follow, kith_file_info *out)
{
    sim_process *process = sim_process_of(env);
    sim_place place;
    (void)follow; /* there are no links */
    if (process->dead) return KITH_ERR_IO;
    kith_err err = kith__sim_walk(disk_of(process), path, &place);
    if (!err && !place.inode) err = KITH_ERR_NO_FILE;
    if (!err) *out = info_of(disk_of(process), place.inode);
    return err;
}

/* The rules of rename(2). */
static kith_err check_rename(const sim_place *from, const sim_place *to, bool must_be_new)
{
    if (!from->inode) return KITH_ERR_NO_FILE;
    if (!from->name[0] || !to->name[0]) return KITH_ERR_IO;
    if (may_change(sim_folder_of(from)) || may_change(sim_folder_of(to))) return KITH_ERR_PERMISSION;
    for (size_t i = 0; i < to->depth; i++) {
        if (to->stack[i] == from->inode) return KITH_ERR_IO; /* into itself */
    }
    if (!to->inode) return KITH_OK;
    if (must_be_new) return KITH_ERR_EXISTS;
    bool folder = from->inode->kind == KITH_FILE_FOLDER, onto_folder = to->inode->kind == KITH_FILE_FOLDER;
    if (folder != onto_folder) return onto_folder ? KITH_ERR_NOT_REGULAR : KITH_ERR_NO_FILE;
    return folder && to->inode != from->inode && !kith__sim_folder_empty(to->inode) ? KITH_ERR_EXISTS : KITH_OK;
}

static kith_err rename_on(sim_disk *disk, const char *from, const char *to, bool must_be_new)
{
    sim_place source, target;
    kith_err err = kith__sim_walk(disk, from, &source);
    if (!err) err = kith__sim_walk(disk, to, &target);
    if (!err) err = check_rename(&source, &target, must_be_new);
    if (err || source.inode == target.inode) return err;
    return kith__sim_rename(disk, &source, &target);
}

static kith_err rename_with(kith_env *env, const char *from, const char *to, bool must_be_new)
{
    sim_process *process = sim_process_of(env);
    verdict v = judge(process, "rename", to, strlen(to));
    kith_err err = v.skip ? KITH_OK : rename_on(disk_of(process), from, to, must_be_new);
    return conclude(process, &v, err);
}

static kith_err file_rename(kith_env *env, const char *from, const char *to)
{
    return rename_with(env, from, to, false);
}

static kith_err file_rename_new(kith_env *env, const char *from, const char *to)
{
    return rename_with(env, from, to, true);
}

static kith_err remove_on(sim_disk *disk, const char *path)
{
    sim_place place;
    kith_err err = kith__sim_walk(disk, path, &place);
    if (err) return err;
    if (!place.inode) return KITH_ERR_NO_FILE;
    if (!place.name[0]) return KITH_ERR_IO;
    if (may_change(sim_folder_of(&place))) return KITH_ERR_PERMISSION;
    if (!kith__sim_folder_empty(place.inode)) return KITH_ERR_EXISTS;
    return kith__sim_unlink(disk, &place);
}

static kith_err file_remove(kith_env *env, const char *path)
{
    sim_process *process = sim_process_of(env);
    verdict v = judge(process, "remove", path, strlen(path));
    return conclude(process, &v, v.skip ? KITH_OK : remove_on(disk_of(process), path));
}

static kith_err make_folder_on(sim_disk *disk, const char *path, uint32_t mode)
{
    sim_place place;
    sim_inode *made;
    kith_err err = kith__sim_walk(disk, path, &place);
    if (err) return err;
    if (place.inode) return KITH_ERR_EXISTS;
    if (may_change(sim_folder_of(&place))) return KITH_ERR_PERMISSION;
    return kith__sim_create(disk, &place, KITH_FILE_FOLDER, mode & 0777 & ~KITH_SIM_UMASK, &made);
}

static kith_err file_make_folder(kith_env *env, const char *path, uint32_t mode)
{
    sim_process *process = sim_process_of(env);
    verdict v = judge(process, "mkdir", path, strlen(path));
    return conclude(process, &v, v.skip ? KITH_OK : make_folder_on(disk_of(process), path, mode));
}

static kith_err folder_at(const sim_disk *disk, const char *path, sim_inode **out)
{
    sim_place place;
    kith_err err = kith__sim_walk(disk, path, &place);
    if (err) return err;
    if (!place.inode || place.inode->kind != KITH_FILE_FOLDER) return KITH_ERR_NO_FILE;
    if (!(place.inode->now.mode & 0400)) return KITH_ERR_PERMISSION;
    *out = place.inode;
    return KITH_OK;
}

static kith_err file_sync_folder(kith_env *env, const char *path)
{
    sim_process *process = sim_process_of(env);
    sim_inode *folder = NULL;
    verdict v = judge(process, "syncdir", path, strlen(path));
    kith_err err = v.skip ? KITH_OK : folder_at(disk_of(process), path, &folder);
    if (folder) kith__sim_commit(disk_of(process), folder);
    return conclude(process, &v, err);
}

/* From a copy, since `each` may change the folder; and in an order that nobody can rely on. */
static kith_err file_list(kith_env *env, const char *path, void (*each)(void *user, const char *name), void *user)
{
    sim_process *process = sim_process_of(env);
    sim_inode *folder;
    size_t size = 0, count = 0;
    if (process->dead) return KITH_ERR_IO;
    kith_err err = folder_at(disk_of(process), path, &folder);
    if (err) return err;
    uint64_t start = kith__sim_rng_below(&disk_of(process)->rng, folder->entry_count);
    for (size_t i = 0; i < folder->entry_count; i++) size += strlen(folder->entries[i]->name) + 1;
    char *names = kith_malloc(size);
    if (!names) return KITH_ERR_NOMEM;
    size = 0;
    for (size_t i = 0; i < folder->entry_count; i++) {
        const sim_entry *entry = folder->entries[(start + i) % folder->entry_count];
        if (!entry->now) continue;
        strcpy(names + size, entry->name);
        size += strlen(entry->name) + 1;
        count++;
    }
    for (const char *at = names; count; count--, at += strlen(at) + 1) each(user, at);
    kith_free(names);
    return KITH_OK;
}

const kith_env_file kith__sim_file = {.open = file_open,
                                      .read = file_read,
                                      .write = file_write,
                                      .info = file_info,
                                      .truncate = file_truncate,
                                      .reserve = file_reserve,
                                      .flush_begin = file_flush_begin,
                                      .sync = file_sync,
                                      .lock = file_lock,
                                      .close = file_close,
                                      .stat = file_stat,
                                      .rename = file_rename,
                                      .rename_new = file_rename_new,
                                      .remove = file_remove,
                                      .make_folder = file_make_folder,
                                      .sync_folder = file_sync_folder,
                                      .list = file_list,
                                      .set_mode_time = file_set_mode_time};

void kith__sim_file_kill(sim_process *process)
{
    KITH_EACH (link, &process->files) let_go(KITH_OF(link, kith_file, link));
}

void kith__sim_file_free(sim_process *process)
{
    while (!kith_list_empty(&process->files)) file_close(KITH_OF(kith_list_first(&process->files), kith_file, link));
}

/* ---- from outside ---- */

void kith_sim_set_capacity(kith_sim_host *host, uint64_t size_bytes) { host->disk.capacity = size_bytes; }
uint64_t kith_sim_disk_used(const kith_sim_host *host) { return host->disk.used; }

/* The folders on the way to the last part, or to all of it. */
static kith_err make_way(sim_disk *disk, const char *path, uint32_t mode, bool all)
{
    char part[4096];
    size_t length = strlen(path);
    if (length >= sizeof part) return KITH_ERR_ARG;
    for (size_t i = 1; i <= length; i++) {
        sim_place place;
        if (path[i] != '/' && (path[i] || !all)) continue;
        memcpy(part, path, i);
        part[i] = 0;
        kith_err err = kith__sim_walk(disk, part, &place);
        if (!err && !place.inode) err = kith__sim_create(disk, &place, KITH_FILE_FOLDER, mode, &place.inode);
        if (err) return err;
        if (place.inode->kind != KITH_FILE_FOLDER) return KITH_ERR_EXISTS;
        kith__sim_commit(disk, sim_folder_of(&place));
    }
    return KITH_OK;
}

kith_err kith_sim_put_folder(kith_sim_host *host, const char *path, uint32_t mode)
{
    return make_way(&host->disk, path, mode, true);
}

kith_err kith_sim_put_file(kith_sim_host *host, const char *path, const void *data, size_t size, uint32_t mode)
{
    sim_disk *disk = &host->disk;
    uint64_t capacity = disk->capacity;
    sim_place place;
    sim_inode *inode = NULL;
    kith_err err = make_way(disk, path, 0755, false);
    if (!err) err = kith__sim_walk(disk, path, &place);
    if (!err && !place.name[0]) err = KITH_ERR_ARG;
    if (!err) inode = place.inode;
    if (inode && inode->kind != KITH_FILE_REGULAR) err = KITH_ERR_NOT_REGULAR;
    if (!err && !inode) err = kith__sim_create(disk, &place, KITH_FILE_REGULAR, mode, &inode);
    if (!err) err = kith__sim_truncate(disk, inode, 0);
    disk->capacity = UINT64_MAX;
    if (!err) err = kith__sim_write(disk, inode, 0, data, size);
    disk->capacity = capacity;
    if (err) return err;
    inode->now.mode = mode & 0777;
    kith__sim_sync(inode);
    kith__sim_commit(disk, sim_folder_of(&place));
    return KITH_OK;
}

kith_err kith_sim_get_file(kith_sim_host *host, const char *path, uint8_t **data, size_t *size)
{
    sim_place place;
    kith_err err = kith__sim_walk(&host->disk, path, &place);
    if (err) return err;
    if (!place.inode) return KITH_ERR_NO_FILE;
    if (place.inode->kind != KITH_FILE_REGULAR) return KITH_ERR_NOT_REGULAR;
    uint8_t *copy = kith_malloc((size_t)place.inode->now.size);
    if (!copy) return KITH_ERR_NOMEM;
    *data = copy;
    return kith__sim_read(place.inode, 0, copy, (size_t)place.inode->now.size, size);
}

kith_err kith_sim_set_mode(kith_sim_host *host, const char *path, uint32_t mode)
{
    sim_place place;
    kith_err err = kith__sim_walk(&host->disk, path, &place);
    if (!err && !place.inode) err = KITH_ERR_NO_FILE;
    if (err) return err;
    place.inode->now.mode = place.inode->durable.mode = mode & 0777;
    return KITH_OK;
}
