/* The home's files one by one: saying what is wrong with them, reading, locking and replacing. */
#include "store/home_internal.h"

#include "base/mem.h"
#include "store/atomic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OTHERS_WRITE 022u /* permission bits */
#define FOLDER_MODE  0700u

/* ---- saying what is wrong ---- */

__attribute__((format(printf, 3, 4))) kith_err kith__say(kith_problem *problem, kith_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem->err = err;
    vsnprintf(problem->message, sizeof problem->message, format, args);
    va_end(args);
    return err;
}

/* An error about no file in particular. */
kith_err kith__say_plain(kith_problem *problem, kith_err err)
{
    return kith__say(problem, err, "%s", kith_err_text(err));
}

kith_path_text kith__path_text(const char *folder, const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-@%:,=";
    const size_t room = KITH_PATH_TEXT_MAX - sizeof "'...'" - sizeof KITH_KEYS_NAME;
    char path[KITH_PATH_TEXT_MAX];
    kith_path_text out;
    size_t size = strlen(folder);
    const char *mark = size > room ? "..." : "", *shown = folder + (size > room ? size - room : 0);
    kith_printable(shown, strlen(shown), path, sizeof path);
    const char *quote = strspn(path, plain) == strlen(path) ? "" : strchr(path, '\'') ? "\"" : "'";
    snprintf(out.text, sizeof out.text, "%s%s%.*s%s%s%s", quote, mark, (int)room, path, *name ? "/" : "", name, quote);
    return out;
}

kith_path_text kith__home_path(const kith_home *home, const char *name)
{
    return *name == '/' ? kith__path_text(name, "") : kith__path_text(home->folder, name);
}

/* What helps against a damaged file. */
static const char *cure_of(const char *name)
{
    static const struct {
        const char *name, *cure;
    } cures[] = {
        {KITH_DEVICE_NAME,
         "move it and " KITH_KEYS_NAME " away, then bring both back with `kith restore` from a backup"},
        {KITH_KEYS_NAME, "move it away, then bring it back with `kith restore` from a backup"},
        {KITH_GRAPH_NAME, "move it away: it comes back from another own device when they meet"},
        {KITH_TRUST_NAME, "move it away: own devices are in it again at once, and contacts have to be paired anew"},
        {KITH_CONFIG_NAME,
         "correct it (`kith config --unset` takes one setting back), or move it away and set anew what was in it"},
        {KITH_MASTER_NAME, "move it away: the next command with the password makes it again from " KITH_GRAPH_NAME},
    };
    for (size_t i = 0; i < sizeof cures / sizeof *cures; i++)
        if (strcmp(name, cures[i].name) == 0) return cures[i].cure;
    if (*name == '/') return "the application whose file it is has to put it right";
    return "move it away, then run the same command again";
}

/* What the disk said, with the name of the file it said it of. */
kith_err kith__say_disk(const kith_home *home, const char *name, const char *doing, kith_err err, kith_problem *problem)
{
    kith_path_text path = kith__home_path(home, name);
    switch (err) {
    case KITH_ERR_NOMEM: return kith__say_plain(problem, err);
    case KITH_ERR_PERMISSION:
        return kith__say(problem, err,
                         "no permission while %s %s: run as the user it belongs to, or give it back with `chown`%s",
                         doing, path.text,
                         strcmp(doing, "reading") != 0 && strcmp(doing, "looking at") != 0
                             ? "; on a read-only disk there can be no home"
                             : "");
    case KITH_ERR_NOT_REGULAR:
        return kith__say(problem, KITH_ERR_DAMAGED, "%s is not a regular file: %s", path.text, cure_of(name));
    default: return kith__say(problem, err, "%s %s: %s", doing, path.text, kith_err_text(err));
    }
}

kith_err kith__say_decode(const kith_home *home, const char *name, kith_err err, const kith_reason *reason,
                          kith_problem *problem)
{
    kith_path_text path = kith__home_path(home, name);
    if (err == KITH_ERR_DAMAGED)
        return kith__say(problem, err, "%s is damaged (%s): %s. Nothing was changed.", path.text, reason->text,
                         cure_of(name));
    if (err == KITH_ERR_VERSION)
        return kith__say(problem, err, "%s was written by a newer version of Kith (%s): upgrade Kith on this device",
                         path.text, reason->text);
    return kith__say_plain(problem, err);
}

/* ---- reading ---- */

/* A file of the home, or where an absolute name says. */
static char *path_to(const kith_home *home, const char *name)
{
    return *name == '/' ? kith_strdup(name) : kith_path_join(home->folder, name);
}

kith_err kith__home_stat(const kith_home *home, const char *name, kith_file_info *info)
{
    char *path = path_to(home, name);
    kith_err err = path ? home->env->file->stat(home->env, path, true, info) : KITH_ERR_NOMEM;
    kith_free(path);
    return err;
}

/* Whose home it is.  The env does not say who we are; the lock file tells, which is made by whoever used the home
 * first. */
static kith_err owner_of(const kith_home *home, uint32_t *owner)
{
    kith_file_info info;
    kith_err err = kith__home_stat(home, KITH_LOCK_NAME, &info);
    if (err && err != KITH_ERR_NOMEM) err = home->env->file->stat(home->env, home->folder, true, &info);
    if (!err) *owner = info.owner;
    return err;
}

static kith_err check_access(const kith_home *home, const kith_home_file *file, const kith_file_info *info,
                             kith_problem *problem)
{
    kith_path_text path = kith__home_path(home, file->name);
    uint32_t owner, others = info->mode & file->forbidden;
    kith_err err = owner_of(home, &owner);
    if (err) return kith__say_disk(home, "", "looking at", err, problem);
    if (file->forbidden && info->owner != owner)
        return kith__say(problem, KITH_ERR_PERMISSION,
                         "%s belongs to another user (%u) than the folder it is in (%u): run `chown %u %s`", path.text,
                         (unsigned)info->owner, (unsigned)owner, (unsigned)owner, path.text);
    if (others)
        return kith__say(problem, KITH_ERR_EXPOSED, "other users can %s %s (mode %03o): run `chmod 600 %s`",
                         others & OTHERS_WRITE ? "change" : "read", path.text, (unsigned)(info->mode & 0777),
                         path.text);
    return KITH_OK;
}

/* NO_FILE without a message: what that means is the caller's to say. */
kith_err kith__home_read(const kith_home *home, const kith_home_file *file, uint8_t **data, size_t *size,
                         kith_problem *problem)
{
    kith_file_info info;
    uint8_t *found = NULL;
    char *path = path_to(home, file->name);
    if (!path) return kith__say_plain(problem, KITH_ERR_NOMEM);
    kith_err err = kith_read_whole(home->env, path, file->max, &found, size, &info);
    kith_free(path);
    if (err == KITH_ERR_NO_FILE) return err;
    if (err == KITH_ERR_LIMIT || err == KITH_ERR_CHANGED) {
        kith_reason reason = {"larger than any such file"};
        return kith__say_decode(home, file->name, KITH_ERR_DAMAGED, &reason, problem);
    }
    if (err) return kith__say_disk(home, file->name, "reading", err, problem);
    if ((err = check_access(home, file, &info, problem))) {
        kith_free(found);
        return err;
    }
    *data = found;
    return KITH_OK;
}

/* ---- changing ---- */

/* Wait for the lock; close *out to let it go. */
kith_err kith__home_lock(const kith_home *home, kith_file **out, kith_problem *problem)
{
    kith_env *env = home->env;
    kith_file *file = NULL;
    char *path = kith_path_join(home->folder, KITH_LOCK_NAME);
    if (!path) return kith__say_plain(problem, KITH_ERR_NOMEM);
    kith_err err =
        env->file->open(env, path, KITH_FILE_READ | KITH_FILE_WRITE | KITH_FILE_CREATE, KITH_HOME_FILE_MODE, &file);
    kith_free(path);
    if (err == KITH_ERR_NO_FILE)
        return kith__say(problem, KITH_ERR_NO_IDENTITY, "%s (there is no folder %s)",
                         kith_err_text(KITH_ERR_NO_IDENTITY), kith__home_path(home, "").text);
    if (!err) err = env->file->lock(file, true);
    if (err) {
        env->file->close(file);
        return kith__say_disk(home, KITH_LOCK_NAME, "locking", err == KITH_ERR_AGAIN ? KITH_ERR_LOCKED : err, problem);
    }
    *out = file;
    return KITH_OK;
}

/* Under the lock. */
kith_err kith__home_write(const kith_home *home, const char *name, const void *data, size_t size, kith_problem *problem)
{
    kith_err err = kith_atomic_clean(home->env, home->folder, name);
    if (!err) err = kith_atomic_write(home->env, home->folder, name, KITH_HOME_FILE_MODE, data, size);
    return err ? kith__say_disk(home, name, "writing", err, problem) : KITH_OK;
}

/* Make one folder, durable in the one above it. */
static kith_err make_folder(kith_env *env, const char *path)
{
    kith_err err = env->file->make_folder(env, path, FOLDER_MODE);
    kith_file_info info;
    if (err == KITH_ERR_EXISTS) { /* another process was faster; a link to nowhere is there for mkdir alone */
        err = env->file->stat(env, path, true, &info);
        return err == KITH_ERR_NO_FILE ? KITH_ERR_NOT_REGULAR : err;
    }
    if (err) return err;
    char *above = kith_strdup(path), *last = above ? strrchr(above, '/') : NULL;
    if (!above) return KITH_ERR_NOMEM;
    if (last) last[last == above] = 0; /* "/" stays for what is directly below it */
    err = env->file->sync_folder(env, last ? above : ".");
    kith_free(above);
    return err;
}

kith_err kith__home_folders(const kith_home *home, kith_problem *problem)
{
    kith_env *env = home->env;
    char *path = kith_strdup(home->folder);
    kith_err err = path ? KITH_OK : KITH_ERR_NOMEM;
    kith_file_info info;
    for (char *at = path; !err && at;) {
        char *slash = strchr(at + 1, '/');
        if (slash) *slash = 0;
        err = env->file->stat(env, path, true, &info);
        if (err == KITH_ERR_NO_FILE)
            err = make_folder(env, path);
        else if (!err && info.kind != KITH_FILE_FOLDER)
            err = KITH_ERR_NOT_REGULAR;
        if (slash && !err) *slash = '/';
        at = slash;
    }
    if (err == KITH_ERR_NOT_REGULAR)
        kith__say(problem, err = KITH_ERR_EXISTS, "%s is not a folder: move it away, or choose another home",
                  kith__path_text(path, "").text);
    else if (err)
        kith__say_disk(home, "", "making the folder", err, problem);
    kith_free(path);
    return err;
}
