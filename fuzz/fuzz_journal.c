/* A file on its way in, whose journal is anything.  The first byte says whether the journal's bytes are these or are
 * laid over a good one (XOR), which boot it is, and how the part beside it is damaged.  Opening must succeed whatever
 * is there, the groups it takes up must have the right tree, and going on from there must give the right file.  The
 * disk is two files in memory. */
#include "store/incoming_journal.h"

#include <stdlib.h>
#include <string.h>

#define FILE_SIZE (KITH_GROUP_SIZE + 5) /* two groups of zeroes */
#define GROUPS    2
#define NAME      "result"

enum { OVERLAY = 1, OTHER_BOOT = 2, UNKNOWN_BOOT = 4, PART_SHORT = 8, PART_WRONG = 16, NO_PART = 32 };

struct kith_file {
    bool there;
    uint64_t size;
    uint8_t data[FILE_SIZE + 4096];
};
enum { JOURNAL, PART, RESULT, FILES };
static struct kith_file files[FILES];

static struct kith_file *named(const char *path)
{
    size_t size = strlen(path);
    if (size >= 8 && strcmp(path + size - 8, ".journal") == 0) return &files[JOURNAL];
    return size >= 5 && strcmp(path + size - 5, ".part") == 0 ? &files[PART] : &files[RESULT];
}

static kith_err disk_open(kith_env *env, const char *path, unsigned flags, uint32_t mode, kith_file **out)
{
    kith_file *file = named(path);
    (void)env, (void)mode;
    if (!file->there && !(flags & KITH_FILE_CREATE)) return KITH_ERR_NO_FILE;
    if (file->there && flags & KITH_FILE_EXCLUSIVE) return KITH_ERR_EXISTS;
    if (!file->there) file->size = 0;
    file->there = true;
    *out = file;
    return KITH_OK;
}

static kith_err disk_read(kith_file *file, uint64_t offset, void *out, size_t size, size_t *got)
{
    uint64_t left = offset < file->size ? file->size - offset : 0;
    *got = left < size ? (size_t)left : size;
    if (*got) memcpy(out, file->data + offset, *got);
    return KITH_OK;
}

static kith_err disk_write(kith_file *file, uint64_t offset, const void *data, size_t size)
{
    if (offset > sizeof file->data || size > sizeof file->data - offset) return KITH_ERR_NO_SPACE;
    if (offset > file->size) memset(file->data + file->size, 0, offset - file->size);
    memcpy(file->data + offset, data, size);
    if (offset + size > file->size) file->size = offset + size;
    return KITH_OK;
}

static kith_err disk_truncate(kith_file *file, uint64_t size)
{
    if (size > file->size) abort(); /* nothing here makes a file longer in this way */
    file->size = size;
    return KITH_OK;
}

static kith_err disk_info(kith_file *file, kith_file_info *out)
{
    *out = (kith_file_info){.kind = KITH_FILE_REGULAR, .size = file->size, .inode = (uint64_t)(file - files)};
    return KITH_OK;
}

static kith_err disk_stat(kith_env *env, const char *path, bool follow, kith_file_info *out)
{
    (void)env, (void)follow;
    return named(path)->there ? disk_info(named(path), out) : KITH_ERR_NO_FILE;
}

static kith_err disk_rename_new(kith_env *env, const char *from, const char *to)
{
    struct kith_file *a = named(from), *b = named(to);
    (void)env;
    if (!a->there) return KITH_ERR_NO_FILE;
    if (b->there) return KITH_ERR_EXISTS;
    memcpy(b->data, a->data, a->size);
    b->size = a->size;
    b->there = true;
    a->there = false;
    return KITH_OK;
}

static kith_err disk_remove(kith_env *env, const char *path)
{
    (void)env;
    if (!named(path)->there) return KITH_ERR_NO_FILE;
    named(path)->there = false;
    return KITH_OK;
}

static kith_err disk_sync_folder(kith_env *env, const char *path)
{
    (void)env, (void)path;
    return KITH_OK;
}

static kith_err disk_range(kith_file *file, uint64_t offset, uint64_t size)
{
    (void)file, (void)offset, (void)size;
    return KITH_OK;
}

static kith_err disk_lock(kith_file *file, bool wait)
{
    (void)file, (void)wait;
    return KITH_OK;
}

static kith_err disk_sync(kith_file *file)
{
    (void)file;
    return KITH_OK;
}

static void disk_close(kith_file *file) { (void)file; }

static const kith_env_file disk = {
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .info = disk_info,
    .truncate = disk_truncate,
    .flush_begin = disk_range,
    .sync = disk_sync,
    .lock = disk_lock,
    .close = disk_close,
    .stat = disk_stat,
    .rename_new = disk_rename_new,
    .remove = disk_remove,
    .sync_folder = disk_sync_folder,
};

static uint8_t zeroes[KITH_GROUP_SIZE];
static uint8_t cvs[GROUPS][KITH_BLAKE3_SIZE];
static const size_t sizes[GROUPS] = {KITH_GROUP_SIZE, 5};

static void lay_out(uint8_t mode, const kith_incoming_config *config, const uint8_t *data, size_t size)
{
    kith_journal journal;
    memset(&files[RESULT], 0, offsetof(struct kith_file, data));
    files[JOURNAL].there = true;
    files[JOURNAL].size = 0;
    kith_journal_init(&journal, &disk, &files[JOURNAL], &config->id);
    if (mode & OVERLAY) {
        uint8_t boot_id[KITH_BOOT_ID_SIZE] = {mode & UNKNOWN_BOOT ? 0 : mode & OTHER_BOOT ? 2 : 1};
        if (kith_journal_write_header(&journal, boot_id)) abort();
        for (uint64_t i = 0; i < GROUPS; i++)
            if (kith_journal_write(&journal, i, cvs[i])) abort();
        for (size_t i = 0; i < size && i < files[JOURNAL].size; i++) files[JOURNAL].data[i] ^= data[i];
    } else if (size && disk_write(&files[JOURNAL], 0, data, size < 4096 ? size : 4096)) {
        abort();
    }
    files[PART].there = !(mode & NO_PART);
    files[PART].size = mode & PART_SHORT ? KITH_GROUP_SIZE : FILE_SIZE;
    memset(files[PART].data, 0, files[PART].size);
    /* Within one boot the part is what we wrote: a wrong byte there is another boot's. */
    if (mode & PART_WRONG && mode & OVERLAY && mode & (OTHER_BOOT | UNKNOWN_BOOT))
        files[PART].data[KITH_GROUP_SIZE - 1] = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_env env = {.file = &disk};
    kith_incoming_config config = {.env = &env, .folder = "f", .id = {.size = FILE_SIZE}, .boot_id = {1}};
    kith_incoming *in;
    kith_incoming_result result;
    kith_tree resume, want;
    if (size < 1) return 0;
    for (uint64_t i = 0; i < GROUPS; i++) kith_group_cv(zeroes, sizes[i], i, false, cvs[i]);
    lay_out(data[0], &config, data + 1, size - 1);
    if (kith_incoming_open(&config, &resume, &in)) abort();
    kith_tree_init(&want);
    for (uint64_t i = 0; i < resume.groups && i < GROUPS; i++) kith_tree_add(&want, cvs[i]);
    if (memcmp(&want, &resume, sizeof want) != 0) abort();
    for (uint64_t i = resume.groups; i < GROUPS; i++)
        if (kith_incoming_keep(in, i, zeroes, sizes[i], cvs[i])) abort();
    if (kith_incoming_finish(in, &(kith_incoming_place){.name = NAME}, &result) || strcmp(result.name, NAME) != 0)
        abort();
    kith_incoming_close(in);
    if (files[JOURNAL].there || files[PART].there || !files[RESULT].there || files[RESULT].size != FILE_SIZE) abort();
    if (memcmp(files[RESULT].data, zeroes, KITH_GROUP_SIZE) != 0 || files[RESULT].data[FILE_SIZE - 1] != 0) abort();
    return 0;
}
