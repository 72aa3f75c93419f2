#include "store/outgoing.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/blake3.h"

#include <string.h>

struct kith_outgoing {
    const kith_env_file *disk;
    kith_file *file;
    kith_file_info info; /* at open */
};

static const char tag_context[] = "kith 2026-11 file version tag v1";

static void make_facts(const kith_file_info *info, kith_outgoing_facts *out)
{
    uint8_t bytes[5 * 8];
    kith_writer w = kith_writer_of(bytes, sizeof bytes);
    kith_write_u64(&w, info->device);
    kith_write_u64(&w, info->inode);
    kith_write_u64(&w, info->size);
    kith_write_u64(&w, (uint64_t)info->modified_ns);
    kith_write_u64(&w, (uint64_t)info->changed_ns);
    kith_blake3_derive(tag_context, bytes, sizeof bytes, out->tag, sizeof out->tag);
    out->size = info->size;
    out->modified_ms = info->modified_ns / 1000000 - (info->modified_ns % 1000000 < 0);
    out->executable = info->mode & 0100;
}

kith_err kith_outgoing_open(kith_env *env, const char *path, bool follow, kith_outgoing_facts *facts,
                            kith_outgoing **out)
{
    kith_outgoing *file = kith_calloc(1, sizeof *file);
    if (!file) return KITH_ERR_NOMEM;
    file->disk = env->file;
    kith_err err = file->disk->open(env, path, KITH_FILE_READ | (follow ? 0 : KITH_FILE_NOFOLLOW), 0, &file->file);
    if (!err) err = file->disk->info(file->file, &file->info);
    if (!err && file->info.kind != KITH_FILE_REGULAR) err = KITH_ERR_NOT_REGULAR;
    if (err) {
        kith_outgoing_close(file);
        return err;
    }
    make_facts(&file->info, facts);
    *out = file;
    return KITH_OK;
}

kith_err kith_outgoing_read(kith_outgoing *file, uint64_t offset, void *out, size_t size)
{
    size_t got = 0;
    if (size == 0) return KITH_OK;
    kith_err err = file->disk->read(file->file, offset, out, size, &got);
    return !err && got != size ? KITH_ERR_CHANGED : err;
}

kith_err kith_outgoing_unchanged(kith_outgoing *file)
{
    kith_file_info now;
    const kith_file_info *then = &file->info;
    kith_err err = file->disk->info(file->file, &now);
    if (err) return err;
    uint8_t byte;
    size_t more = 0;
    if ((err = file->disk->read(file->file, then->size, &byte, 1, &more))) return err;
    bool same = !more && now.size == then->size && now.modified_ns == then->modified_ns &&
                now.changed_ns == then->changed_ns && now.inode == then->inode && now.device == then->device;
    return same ? KITH_OK : KITH_ERR_CHANGED;
}

void kith_outgoing_close(kith_outgoing *file)
{
    if (!file) return;
    file->disk->close(file->file);
    kith_free(file);
}
