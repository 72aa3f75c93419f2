#include "store/incoming.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/incoming_journal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NAME_HASH_SIZE 8     /* bytes of BLAKE3 in the names of the two files */
#define LOCK_TRIES     16    /* each lost to somebody who just finished with the same file */
#define NAME_TRIES     10000 /* "name (10000)" */
#define JOURNAL_BATCH  64    /* CVs read from the journal at once */
#define OWN_MODE       0600
#define FINAL_MODE     0666 /* less the umask, like any file a program makes */

static const uint8_t no_boot[KITH_BOOT_ID_SIZE]; /* in a journal that is not to be believed in any boot */

struct kith_incoming {
    kith_env *env;
    const kith_env_file *disk;
    const atomic_bool *cancel;
    kith_incoming_id id;
    uint64_t groups; /* of the whole file */
    char *folder, *part_path, *journal_path;
    kith_file *part, *journal_file;
    kith_journal journal;
    bool settled;    /* the part is durable, with its mode and time */
    kith_err unsafe; /* why it could not be made so: never again with this object */
    bool done;       /* neither file is ours any more */
    bool found;      /* in the folder already: where, and how it was when it was read */
    char found_name[KITH_FILE_NAME_SIZE];
    kith_file_info found_info;

    pthread_mutex_t mutex; /* over what follows, and the journal's records */
    uint64_t kept;         /* groups in order from the start: those in the journal and the tree */
    uint64_t ahead;        /* bit i: group kept + i is written, its CV in cvs; bit 0 only while the journal is behind */
    uint8_t cvs[KITH_INCOMING_WINDOW][KITH_BLAKE3_SIZE]; /* by index modulo the window */
    kith_tree tree;
};

static uint64_t groups_of(uint64_t size)
{
    return size == 0 ? 1 : size / KITH_GROUP_SIZE + (size % KITH_GROUP_SIZE != 0);
}

static size_t group_size(uint64_t size, uint64_t index)
{
    uint64_t left = size - index * KITH_GROUP_SIZE;
    return (size_t)(left < KITH_GROUP_SIZE ? left : KITH_GROUP_SIZE);
}

static bool cancelled(const kith_incoming *in) { return in->cancel && atomic_load(in->cancel); }

static char *path_of(const char *folder, const char *name)
{
    size_t size = strlen(folder) + 1 + strlen(name) + 1;
    char *path = kith_malloc(size);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* ---- beginning ---- */
static kith_err make_paths(kith_incoming *in, const char *folder)
{
    uint8_t bytes[sizeof in->id.sender + sizeof in->id.tag + 8], hash[KITH_BLAKE3_SIZE];
    char hex[2 * NAME_HASH_SIZE + 1], name[64];
    kith_writer w = kith_writer_of(bytes, sizeof bytes);
    kith_write_bytes(&w, in->id.sender, sizeof in->id.sender);
    kith_write_bytes(&w, in->id.tag, sizeof in->id.tag);
    kith_write_u64(&w, in->id.size);
    kith_blake3(bytes, sizeof bytes, hash);
    kith_hex(hash, NAME_HASH_SIZE, hex);
    in->folder = kith_strdup(folder);
    snprintf(name, sizeof name, KITH_FILE_NAME_OWN "%s.part", hex);
    in->part_path = path_of(folder, name);
    snprintf(name, sizeof name, KITH_FILE_NAME_OWN "%s.journal", hex);
    in->journal_path = path_of(folder, name);
    return in->folder && in->part_path && in->journal_path ? KITH_OK : KITH_ERR_NOMEM;
}

/* Open one of the two files.  Something else of that name (a link, a pipe) is no file of ours: it makes way, and that
 * is NO_FILE unless one is to be made. */
static kith_err open_own(kith_incoming *in, const char *path, unsigned flags, kith_file **out)
{
    kith_file_info info;
    kith_file *file = NULL;
    flags |= KITH_FILE_READ | KITH_FILE_WRITE | KITH_FILE_NOFOLLOW;
    kith_err err = in->disk->open(in->env, path, flags, OWN_MODE, &file);
    if (!err) err = in->disk->info(file, &info);
    if (!err && info.kind != KITH_FILE_REGULAR) err = KITH_ERR_NOT_REGULAR;
    if (err) in->disk->close(file);
    if (err == KITH_ERR_NOT_REGULAR) {
        err = in->disk->remove(in->env, path);
        if (!err && !(flags & KITH_FILE_CREATE)) err = KITH_ERR_NO_FILE;
        if (!err) err = in->disk->open(in->env, path, flags | KITH_FILE_EXCLUSIVE, OWN_MODE, &file);
    }
    if (!err) *out = file;
    return err;
}

static unsigned how(const kith_incoming *in) { return in->id.size >= KITH_INCOMING_DIRECT ? KITH_FILE_DIRECT : 0; }

/* Who finishes removes the journal: a lock on one that has lost its name excludes nobody, so look again. */
static kith_err lock_journal(kith_incoming *in)
{
    kith_err err = KITH_ERR_AGAIN;
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        kith_file *file = NULL;
        kith_file_info ours, named;
        err = open_own(in, in->journal_path, KITH_FILE_CREATE, &file);
        if (err && err != KITH_ERR_EXISTS) return err;
        if (!err) err = in->disk->lock(file, false);
        if (!err) err = in->disk->info(file, &ours);
        if (err && err != KITH_ERR_EXISTS) {
            in->disk->close(file);
            return err;
        }
        if (!err) err = in->disk->stat(in->env, in->journal_path, false, &named);
        if (!err && ours.device == named.device && ours.inode == named.inode) {
            in->journal_file = file;
            return KITH_OK;
        }
        in->disk->close(file);
    }
    return KITH_ERR_AGAIN;
}

/* Groups that the part is long enough to hold. */
static uint64_t groups_held(const kith_incoming *in, uint64_t part_size)
{
    return part_size >= in->id.size ? in->groups : part_size / KITH_GROUP_SIZE;
}

/* Read a group again: KITH_OK and *good when it has its CV.  After a failed sync the disk may lack what the page cache
 * still has, and the system thinks it written: then write it once more. */
static kith_err reread(kith_incoming *in, uint64_t index, const uint8_t *cv, uint8_t *buffer, bool rewrite, bool *good)
{
    uint8_t found[KITH_BLAKE3_SIZE];
    size_t size = group_size(in->id.size, index), got;
    *good = false;
    if (cancelled(in)) return KITH_ERR_CANCELLED;
    if (in->disk->read(in->part, index * KITH_GROUP_SIZE, buffer, size, &got) || got != size) return KITH_OK;
    kith_group_cv(buffer, size, index, in->groups == 1, found);
    *good = memcmp(found, cv, sizeof found) == 0;
    return *good && rewrite && size ? in->disk->write(in->part, index * KITH_GROUP_SIZE, buffer, size) : KITH_OK;
}

/* Read the journal's groups into the tree, up to the first that is not good; with a buffer, each is read and hashed,
 * too. */
static kith_err read_groups(kith_incoming *in, uint64_t most, uint8_t *buffer, bool rewrite)
{
    uint8_t cvs[JOURNAL_BATCH][KITH_BLAKE3_SIZE];
    while (in->kept < most) {
        size_t want = most - in->kept < JOURNAL_BATCH ? (size_t)(most - in->kept) : JOURNAL_BATCH;
        size_t n = kith_journal_read(&in->journal, in->kept, want, cvs);
        for (size_t i = 0; i < n; i++, in->kept++) {
            bool good = true;
            kith_err err = buffer ? reread(in, in->kept, cvs[i], buffer, rewrite, &good) : KITH_OK;
            if (err || !good) return err;
            kith_tree_add(&in->tree, cvs[i]);
        }
        if (n < want) break;
    }
    return KITH_OK;
}

/* What an earlier attempt left: nothing, if anything about it is wrong. */
static kith_err take_up(kith_incoming *in, const uint8_t boot_id[static KITH_BOOT_ID_SIZE])
{
    uint8_t theirs[KITH_BOOT_ID_SIZE];
    kith_file_info info;
    if (!kith_journal_read_header(&in->journal, theirs)) return KITH_OK;
    kith_err err = open_own(in, in->part_path, how(in), &in->part);
    if (err) return err == KITH_ERR_NO_FILE ? KITH_OK : err;
    err = in->disk->info(in->part, &info);
    if (err) return err;
    uint64_t most = groups_held(in, info.size);
    bool distrusted = memcmp(theirs, no_boot, sizeof no_boot) == 0;
    bool same_boot = !distrusted && memcmp(theirs, boot_id, KITH_BOOT_ID_SIZE) == 0;
    if (same_boot) {
        err = read_groups(in, most, NULL, false);
    } else {
        uint8_t *buffer = kith_malloc(KITH_GROUP_SIZE);
        err = buffer ? read_groups(in, most, buffer, distrusted) : KITH_ERR_NOMEM;
        kith_free(buffer);
    }
    if (err || in->kept == 0) return err;
    err = kith_journal_cut(&in->journal, in->kept);
    if (!err && !same_boot) err = kith_journal_write_header(&in->journal, boot_id);
    return err;
}

/* A part that cannot be used is removed, not emptied: it might have a second name by now. */
static kith_err start_over(kith_incoming *in, const uint8_t boot_id[static KITH_BOOT_ID_SIZE])
{
    in->disk->close(in->part);
    in->part = NULL;
    kith_err err = in->disk->remove(in->env, in->part_path);
    if (err == KITH_ERR_NO_FILE) err = KITH_OK;
    if (!err) err = kith_journal_cut(&in->journal, 0);
    if (!err) err = kith_journal_write_header(&in->journal, boot_id);
    if (!err) err = open_own(in, in->part_path, how(in) | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE, &in->part);
    return err;
}

static void release(kith_incoming *in)
{
    if (!in) return;
    in->disk->close(in->part);
    in->disk->close(in->journal_file);
    kith_free(in->folder);
    kith_free(in->part_path);
    kith_free(in->journal_path);
    pthread_mutex_destroy(&in->mutex);
    kith_free(in);
}

kith_err kith_incoming_open(const kith_incoming_config *config, kith_tree *resume, kith_incoming **out)
{
    kith_incoming *in = kith_calloc(1, sizeof *in);
    if (!in) return KITH_ERR_NOMEM;
    in->env = config->env;
    in->disk = config->env->file;
    in->cancel = config->cancel;
    in->id = config->id;
    in->groups = groups_of(in->id.size);
    kith_tree_init(&in->tree);
    if (pthread_mutex_init(&in->mutex, NULL)) {
        kith_free(in);
        return KITH_ERR_NOMEM;
    }
    kith_err err = make_paths(in, config->folder);
    if (!err) err = lock_journal(in);
    if (!err) {
        kith_journal_init(&in->journal, in->disk, in->journal_file, &in->id);
        err = take_up(in, config->boot_id);
    }
    if (!err && in->kept == 0) err = start_over(in, config->boot_id);
    if (err) {
        release(in);
        return err;
    }
    *resume = in->tree;
    *out = in;
    return KITH_OK;
}

/* ---- groups ---- */
kith_err kith_incoming_reserve(kith_incoming *in) { return in->disk->reserve(in->part, in->id.size); }

static kith_err check_turn(kith_incoming *in, uint64_t index, size_t size)
{
    if (index >= in->groups || size != group_size(in->id.size, index)) return KITH_ERR_ARG;
    pthread_mutex_lock(&in->mutex);
    kith_err err = index < in->kept                                ? KITH_ERR_ARG
                   : index - in->kept >= KITH_INCOMING_WINDOW      ? KITH_ERR_LIMIT
                   : in->ahead >> (index - in->kept) & UINT64_C(1) ? KITH_ERR_ARG
                                                                   : KITH_OK;
    pthread_mutex_unlock(&in->mutex);
    return err;
}

/* Its data is written.  Records are written under the lock: they are small, and have to be in order. */
static kith_err note(kith_incoming *in, uint64_t index, const uint8_t *cv)
{
    kith_err err = KITH_OK;
    pthread_mutex_lock(&in->mutex);
    if (index < in->kept) { /* by another thread, meanwhile */
        pthread_mutex_unlock(&in->mutex);
        return KITH_ERR_ARG;
    }
    in->ahead |= UINT64_C(1) << (index - in->kept);
    memcpy(in->cvs[index % KITH_INCOMING_WINDOW], cv, KITH_BLAKE3_SIZE);
    for (; in->ahead & 1; in->ahead >>= 1, in->kept++) {
        const uint8_t *next = in->cvs[in->kept % KITH_INCOMING_WINDOW];
        err = kith_journal_write(&in->journal, in->kept, next);
        if (err) break;
        kith_tree_add(&in->tree, next);
    }
    pthread_mutex_unlock(&in->mutex);
    return err;
}

kith_err kith_incoming_keep(kith_incoming *in, uint64_t index, const void *data, size_t size,
                            const uint8_t cv[static KITH_BLAKE3_SIZE])
{
    uint8_t found[KITH_BLAKE3_SIZE];
    uint64_t offset = index * KITH_GROUP_SIZE;
    kith_err err = check_turn(in, index, size);
    if (err) return err;
    kith_group_cv(data, size, index, in->groups == 1, found);
    if (memcmp(found, cv, sizeof found) != 0) return KITH_ERR_CORRUPT;
    if (size) err = in->disk->write(in->part, offset, data, size);
    if (err) return err;
    if (size) (void)in->disk->flush_begin(in->part, offset, size); /* so that the sync at the end finds little to do */
    return note(in, index, cv);
}

/* ---- the end ---- */
/* After a failed sync neither the page cache nor the disk need have what the journal promises: see reread. */
static void distrust(kith_incoming *in)
{
    if (kith_journal_write_header(&in->journal, no_boot)) (void)in->disk->remove(in->env, in->journal_path);
}

static int64_t ns_of_ms(int64_t ms)
{
    const int64_t most = INT64_MAX / 1000000;
    return (ms > most ? most : ms < -most ? -most : ms) * 1000000;
}

static kith_err settle(kith_incoming *in, const kith_incoming_place *place)
{
    kith_file_info info;
    if (in->settled) return KITH_OK;
    kith_err err = in->disk->info(in->part, &info);
    if (!err && info.size > in->id.size) err = in->disk->truncate(in->part, in->id.size); /* not our bytes */
    if (err) return err;
    if (in->disk->set_mode_time) { /* nice to have: FAT knows no modes */
        uint32_t mode = place->executable ? FINAL_MODE | 0111 : FINAL_MODE;
        (void)in->disk->set_mode_time(in->part, mode, ns_of_ms(place->modified_ms));
    }
    err = in->disk->sync(in->part);
    in->settled = !err;
    in->unsafe = err;
    if (err) distrust(in);
    return err;
}

static bool same_info(const kith_file_info *a, const kith_file_info *b)
{
    return a->kind == b->kind && a->size == b->size && a->device == b->device && a->inode == b->inode &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* Whether the file there has the bytes of this root; *tree is over it then, and *info as it was before it was read.
 * What cannot be read is another one. */
static kith_err compare(kith_incoming *in, const char *path, const uint8_t *root, kith_tree *tree, kith_file_info *info,
                        bool *same)
{
    kith_file *file = NULL;
    uint8_t cv[KITH_BLAKE3_SIZE], found[KITH_BLAKE3_SIZE];
    size_t got;
    *same = false;
    if (in->disk->stat(in->env, path, false, info) || info->kind != KITH_FILE_REGULAR || info->size != in->id.size)
        return KITH_OK;
    uint8_t *buffer = kith_malloc(KITH_GROUP_SIZE);
    if (!buffer) return KITH_ERR_NOMEM;
    kith_err err = in->disk->open(in->env, path, KITH_FILE_READ | KITH_FILE_NOFOLLOW, 0, &file);
    kith_tree_init(tree);
    for (uint64_t i = 0; !err && i < in->groups; i++) {
        size_t size = group_size(in->id.size, i);
        err = cancelled(in) ? KITH_ERR_CANCELLED : in->disk->read(file, i * KITH_GROUP_SIZE, buffer, size, &got);
        if (!err && got != size) err = KITH_ERR_CHANGED;
        if (!err) kith_group_cv(buffer, size, i, in->groups == 1, cv);
        if (!err) kith_tree_add(tree, cv);
    }
    in->disk->close(file);
    kith_free(buffer);
    if (err) return err == KITH_ERR_CANCELLED || err == KITH_ERR_NOMEM ? err : KITH_OK;
    kith_tree_root(tree, found);
    *same = memcmp(root, found, sizeof found) == 0;
    return KITH_OK;
}

/* The number-th name (1, 2, ...) that a file of this clean one may get. */
static void nth_name(const char *name, unsigned number, char out[static KITH_FILE_NAME_SIZE])
{
    if (number > 1)
        kith_file_name_numbered(name, number, out);
    else
        memcpy(out, name, KITH_FILE_NAME_SIZE);
}

kith_err kith_incoming_find(kith_incoming *in, const kith_incoming_place *place,
                            const uint8_t root[static KITH_BLAKE3_SIZE], kith_tree *tree, bool *found)
{
    char name[KITH_FILE_NAME_SIZE];
    unsigned names = place->conflict == KITH_INCOMING_KEEP ? NAME_TRIES : place->conflict == KITH_INCOMING_SKIP;
    kith_file_info info;
    kith_tree over;
    bool same = false;
    if (in->done || in->found) return KITH_ERR_STATE;
    kith_err err = kith_file_name_clean(place->name, strlen(place->name), name);
    for (unsigned number = 1; !err && !same && number <= names; number++) {
        nth_name(name, number, in->found_name);
        char *path = path_of(in->folder, in->found_name);
        if (!path) return KITH_ERR_NOMEM;
        bool there = in->disk->stat(in->env, path, false, &info) == KITH_OK;
        if (there) err = compare(in, path, root, &over, &in->found_info, &same);
        kith_free(path);
        if (!there) break;
    }
    if (err) return err;
    in->found = *found = same;
    if (same) *tree = over;
    return KITH_OK;
}

/* What was found is there as it was. */
static kith_err confirm(kith_incoming *in, kith_incoming_result *r)
{
    kith_file_info info;
    char *path = path_of(in->folder, in->found_name);
    if (!path) return KITH_ERR_NOMEM;
    kith_err err = in->disk->stat(in->env, path, false, &info);
    kith_free(path);
    if (err == KITH_ERR_NO_FILE || (!err && !same_info(&info, &in->found_info))) return KITH_ERR_CHANGED;
    if (err) return err;
    memcpy(r->name, in->found_name, sizeof r->name);
    r->already = true;
    return KITH_OK;
}

/* Give the part this path, or find that it need not have it (*already).  EXISTS: another file has it. */
static kith_err place_at(kith_incoming *in, const char *path, const kith_incoming_place *place, bool *already)
{
    kith_file_info info;
    kith_err err = in->disk->stat(in->env, path, false, &info);
    bool there = !err, plain = there && (info.kind == KITH_FILE_REGULAR || info.kind == KITH_FILE_LINK);
    if (err && err != KITH_ERR_NO_FILE) return err;
    if (there && place->conflict == KITH_INCOMING_SKIP) {
        *already = true;
        return KITH_OK;
    }
    if (there && !(plain && place->conflict == KITH_INCOMING_OVERWRITE)) {
        uint8_t ours[KITH_BLAKE3_SIZE];
        kith_tree over;
        kith_tree_root(&in->tree, ours);
        err = compare(in, path, ours, &over, &info, already);
        return err || *already ? err : KITH_ERR_EXISTS;
    }
    err = settle(in, place);
    if (err) return err;
    return there ? in->disk->rename(in->env, in->part_path, path) : in->disk->rename_new(in->env, in->part_path, path);
}

/* Find a name and place it.  Somebody may take a name between our look and the renaming: then look at it once more. */
static kith_err place_somewhere(kith_incoming *in, const char *name, const kith_incoming_place *place,
                                kith_incoming_result *r)
{
    kith_err err = KITH_ERR_EXISTS;
    for (unsigned number = 1; err == KITH_ERR_EXISTS && number <= NAME_TRIES; number++) {
        nth_name(name, number, r->name);
        char *path = path_of(in->folder, r->name);
        if (!path) return KITH_ERR_NOMEM;
        for (int look = 0; err == KITH_ERR_EXISTS && look < 2; look++) err = place_at(in, path, place, &r->already);
        kith_free(path);
    }
    return err;
}

kith_err kith_incoming_finish(kith_incoming *in, const kith_incoming_place *place, kith_incoming_result *out)
{
    char name[KITH_FILE_NAME_SIZE];
    kith_incoming_result result = {.already = false};
    if (in->done || (!in->found && in->kept != in->groups)) return KITH_ERR_STATE;
    if (in->unsafe) return in->unsafe;
    kith_err err = kith_file_name_clean(place->name, strlen(place->name), name);
    if (!err) err = in->found ? confirm(in, &result) : place_somewhere(in, name, place, &result);
    if (err) return err;
    in->done = true;
    if (result.already)
        (void)in->disk->remove(in->env, in->part_path);
    else
        err = in->disk->sync_folder(in->env, in->folder);
    /* Last, when the name is durable: until then it says where the data is.  One that stays behind has no part and is
     * ignored. */
    (void)in->disk->remove(in->env, in->journal_path);
    if (!err) *out = result;
    return err;
}

/* The journal last: its lock guards both names. */
static void remove_both(kith_incoming *in)
{
    (void)in->disk->remove(in->env, in->part_path);
    (void)in->disk->remove(in->env, in->journal_path);
}

void kith_incoming_close(kith_incoming *in)
{
    if (in && !in->done && in->kept == 0) remove_both(in);
    release(in);
}

void kith_incoming_discard(kith_incoming *in)
{
    if (in && !in->done) remove_both(in);
    release(in);
}
