/* Names: folders, what a path means, and what of all that outlives a power failure. */
#include "sim/sim_disk.h"

#include "base/mem.h"

#define TICK_NS  INT64_C(4000000) /* file times are as coarse as Linux's */
#define MODE_ALL 07777u

int64_t kith__sim_disk_time(const sim_disk *disk)
{
    const kith_sim_host *host = disk->host;
    int64_t ns = (KITH_SIM_START_WALL_MS + host->skew_ms) * INT64_C(1000000);
    ns += (int64_t)(host->sim->now_ns - KITH_SIM_START_NS);
    return ns - ns % TICK_NS;
}

/* ---- inodes ---- */

static sim_inode *inode_new(sim_disk *disk, kith_file_kind kind, uint32_t mode)
{
    sim_inode *inode = kith_calloc(1, sizeof *inode);
    if (!inode) return NULL;
    inode->number = disk->host->sim->next_inode++;
    inode->kind = kind;
    inode->now = (sim_meta){.mode = mode & MODE_ALL, .modified_ns = kith__sim_disk_time(disk)};
    inode->durable = inode->now;
    inode->changed_ns = inode->now.modified_ns;
    kith_list_append(&disk->inodes, &inode->link);
    return inode;
}

static void entry_set_now(sim_disk *disk, sim_entry *entry, sim_inode *inode);
static void entry_set_durable(sim_disk *disk, sim_entry *entry, sim_inode *inode);

static void clear_entries(sim_disk *disk, sim_inode *inode)
{
    while (inode->entry_count) {
        sim_entry *entry = inode->entries[--inode->entry_count];
        entry_set_now(disk, entry, NULL);
        entry_set_durable(disk, entry, NULL);
        kith_free(entry->name);
        kith_free(entry);
    }
}

static void inode_free(sim_disk *disk, sim_inode *inode)
{
    kith__sim_contents_free(disk, inode);
    kith_list_remove(&inode->link);
    clear_entries(disk, inode);
    kith_free(inode->entries);
    kith_free(inode);
}

static void inode_release(sim_disk *disk, sim_inode *inode)
{
    if (--inode->refs == 0) inode_free(disk, inode);
}

void kith__sim_use(sim_disk *disk, sim_inode *inode)
{
    inode->refs++;
    inode->uses++;
    kith__sim_charge(disk, inode);
}

void kith__sim_unuse(sim_disk *disk, sim_inode *inode)
{
    inode->uses--;
    kith__sim_charge(disk, inode);
    inode_release(disk, inode);
}

/* ---- entries ---- */

static void entry_set_now(sim_disk *disk, sim_entry *entry, sim_inode *inode)
{
    sim_inode *old = entry->now;
    if (inode) kith__sim_use(disk, inode);
    entry->now = inode;
    if (old) kith__sim_unuse(disk, old);
}

static void entry_set_durable(sim_disk *disk, sim_entry *entry, sim_inode *inode)
{
    sim_inode *old = entry->durable;
    if (inode) inode->refs++;
    entry->durable = inode;
    if (old) inode_release(disk, old);
}

static size_t entry_place(const sim_inode *folder, const char *name)
{
    size_t low = 0, high = folder->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(folder->entries[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

sim_entry *kith__sim_entry(const sim_inode *folder, const char *name)
{
    size_t place = entry_place(folder, name);
    if (place == folder->entry_count || strcmp(folder->entries[place]->name, name) != 0) return NULL;
    return folder->entries[place];
}

/* The name's entry, made when it is not there; NULL when out of memory. */
static sim_entry *entry_get(sim_inode *folder, const char *name)
{
    sim_entry *entry = kith__sim_entry(folder, name);
    if (entry) return entry;
    if (folder->entry_count == folder->entry_cap) {
        size_t cap = folder->entry_cap ? 2 * folder->entry_cap : 8;
        sim_entry **grown = kith_realloc(folder->entries, cap * sizeof *grown);
        if (!grown) return NULL;
        folder->entries = grown;
        folder->entry_cap = cap;
    }
    entry = kith_calloc(1, sizeof *entry);
    char *copy = kith_strdup(name);
    if (!entry || !copy) {
        kith_free(entry);
        kith_free(copy);
        return NULL;
    }
    entry->name = copy;
    size_t place = entry_place(folder, name);
    memmove(&folder->entries[place + 1], &folder->entries[place],
            (folder->entry_count++ - place) * sizeof *folder->entries);
    folder->entries[place] = entry;
    return entry;
}

static void entry_tidy(sim_inode *folder, sim_entry *entry)
{
    if (entry->now || entry->durable || entry->pending) return;
    size_t place = entry_place(folder, entry->name);
    memmove(&folder->entries[place], &folder->entries[place + 1],
            (--folder->entry_count - place) * sizeof *folder->entries);
    kith_free(entry->name);
    kith_free(entry);
}

bool kith__sim_folder_empty(const sim_inode *folder)
{
    for (size_t i = 0; i < folder->entry_count; i++) {
        if (folder->entries[i]->now) return false;
    }
    return true;
}

/* ---- paths ---- */

/* One part of a path: down, up, or nowhere. */
static kith_err walk_part(sim_place *place, const char *part, size_t size)
{
    sim_inode *in = place->name[0] ? place->inode : sim_folder_of(place);
    if (size >= SIM_NAME_SIZE) return KITH_ERR_ARG;
    if (!in || in->kind != KITH_FILE_FOLDER) return KITH_ERR_NO_FILE;
    if (!(in->now.mode & 0100)) return KITH_ERR_PERMISSION;
    if (place->name[0]) {
        if (place->depth == SIM_DEPTH_MAX) return KITH_ERR_ARG;
        place->stack[place->depth++] = in;
    }
    place->name[0] = 0;
    place->inode = in;
    if (size == 1 && part[0] == '.') return KITH_OK;
    if (size == 2 && part[0] == '.' && part[1] == '.') {
        if (place->depth > 1) place->depth--;
        place->inode = sim_folder_of(place);
        return KITH_OK;
    }
    memcpy(place->name, part, size);
    place->name[size] = 0;
    const sim_entry *entry = kith__sim_entry(in, place->name);
    place->inode = entry ? entry->now : NULL;
    return KITH_OK;
}

kith_err kith__sim_walk(const sim_disk *disk, const char *path, sim_place *place)
{
    place->stack[0] = place->inode = disk->root;
    place->depth = 1;
    place->name[0] = 0;
    if (!*path) return KITH_ERR_NO_FILE;
    while (*path) {
        size_t size = strcspn(path, "/");
        kith_err err = size ? walk_part(place, path, size) : KITH_OK;
        if (err) return err;
        path += size + (path[size] == '/');
    }
    return KITH_OK;
}

/* ---- operations ---- */

static sim_operation *operation_new(void) { return kith_calloc(1, sizeof(sim_operation)); }

static void operation_add(sim_disk *disk, sim_operation *op, sim_inode *folder, sim_entry *entry, sim_inode *inode)
{
    op->changes[op->count++] = (struct sim_change){folder, entry, inode};
    folder->refs++;
    if (inode) inode->refs++;
    entry->pending++;
    entry_set_now(disk, entry, inode);
    folder->now.modified_ns = folder->changed_ns = kith__sim_disk_time(disk);
}

/* Durable, or forgotten. */
static void operation_end(sim_disk *disk, sim_operation *op, bool durable)
{
    kith_list_remove(&op->link);
    for (size_t i = 0; i < op->count; i++) {
        struct sim_change *change = &op->changes[i];
        change->entry->pending--;
        if (durable) entry_set_durable(disk, change->entry, change->inode);
    }
    for (size_t i = 0; i < op->count; i++) {
        struct sim_change *change = &op->changes[i];
        entry_tidy(change->folder, change->entry);
        if (change->inode) inode_release(disk, change->inode);
        inode_release(disk, change->folder);
    }
    kith_free(op);
}

kith_err kith__sim_create(sim_disk *disk, const sim_place *place, kith_file_kind kind, uint32_t mode, sim_inode **out)
{
    sim_inode *folder = sim_folder_of(place);
    sim_operation *op = operation_new();
    sim_inode *inode = op ? inode_new(disk, kind, mode) : NULL;
    sim_entry *entry = inode ? entry_get(folder, place->name) : NULL;
    if (!entry) {
        if (inode) inode_free(disk, inode);
        kith_free(op);
        return KITH_ERR_NOMEM;
    }
    operation_add(disk, op, folder, entry, inode);
    kith_list_append(&disk->operations, &op->link);
    *out = inode;
    return KITH_OK;
}

kith_err kith__sim_unlink(sim_disk *disk, const sim_place *place)
{
    sim_operation *op = operation_new();
    if (!op) return KITH_ERR_NOMEM;
    operation_add(disk, op, sim_folder_of(place), kith__sim_entry(sim_folder_of(place), place->name), NULL);
    kith_list_append(&disk->operations, &op->link);
    return KITH_OK;
}

kith_err kith__sim_rename(sim_disk *disk, const sim_place *from, const sim_place *to)
{
    sim_inode *inode = from->inode;
    sim_operation *op = operation_new();
    sim_entry *target = op ? entry_get(sim_folder_of(to), to->name) : NULL;
    if (!target) {
        kith_free(op);
        return KITH_ERR_NOMEM;
    }
    operation_add(disk, op, sim_folder_of(to), target, inode);
    operation_add(disk, op, sim_folder_of(from), kith__sim_entry(sim_folder_of(from), from->name), NULL);
    inode->changed_ns = kith__sim_disk_time(disk);
    kith_list_append(&disk->operations, &op->link);
    return KITH_OK;
}

static bool touches_marked(const sim_operation *op)
{
    for (size_t i = 0; i < op->count; i++) {
        if (op->changes[i].folder->marked) return true;
    }
    return false;
}

static void mark(const sim_operation *op)
{
    for (size_t i = 0; i < op->count; i++) op->changes[i].folder->marked = true;
}

static void unmark_all(sim_disk *disk)
{
    KITH_EACH (link, &disk->inodes) KITH_OF(link, sim_inode, link)->marked = false;
}

/* What happened in this folder, and what had to happen before it: operations in a folder become durable in their order,
 * and a rename between two folders in both or none.  Nothing else does: who relies on other folders has to sync them.
 */
void kith__sim_commit(sim_disk *disk, sim_inode *folder)
{
    kith_list chosen;
    kith_list_init(&chosen);
    folder->marked = true;
    for (kith_link *at = disk->operations.head.prev, *before; at != &disk->operations.head; at = before) {
        before = at->prev;
        sim_operation *op = KITH_OF(at, sim_operation, link);
        if (!touches_marked(op)) continue;
        mark(op);
        kith_list_remove(at);
        kith_list_prepend(&chosen, at);
    }
    unmark_all(disk);
    while (!kith_list_empty(&chosen)) operation_end(disk, KITH_OF(kith_list_first(&chosen), sim_operation, link), true);
}

/* ---- power ---- */

/* Each folder's operations are durable up to some point, by chance; marked folders are past theirs. */
static void settle_operations(sim_disk *disk)
{
    static const double chances[] = {0, 0.5, 0.9, 1};
    double chance = chances[kith__sim_rng_below(&disk->rng, 4)];
    KITH_EACH (link, &disk->operations) {
        sim_operation *op = KITH_OF(link, sim_operation, link);
        bool durable = !touches_marked(op) && kith__sim_rng_chance(&disk->rng, chance);
        if (!durable) mark(op);
        operation_end(disk, op, durable);
    }
    unmark_all(disk);
}

void kith__sim_disk_power_fail(sim_disk *disk)
{
    settle_operations(disk);
    /* Each is held until its turn in the last loop, so that none is freed early. */
    KITH_EACH (link, &disk->inodes) {
        sim_inode *inode = KITH_OF(link, sim_inode, link);
        inode->refs++;
        if (inode->kind == KITH_FILE_REGULAR) kith__sim_contents_power_fail(disk, inode);
    }
    KITH_EACH (folder, &disk->inodes) {
        sim_inode *inode = KITH_OF(folder, sim_inode, link);
        for (size_t i = inode->entry_count; i-- > 0;) {
            sim_entry *entry = inode->entries[i];
            entry_set_now(disk, entry, entry->durable);
            entry_tidy(inode, entry);
        }
    }
    KITH_EACH (held, &disk->inodes) inode_release(disk, KITH_OF(held, sim_inode, link));
}

kith_err kith__sim_disk_init(sim_disk *disk, kith_sim_host *host)
{
    *disk = (sim_disk){.host = host, .capacity = UINT64_MAX};
    kith_list_init(&disk->inodes);
    kith_list_init(&disk->operations);
    kith__sim_rng_init(&disk->rng, host->sim->seed, UINT64_C(1) << 63 | host->id);
    disk->root = inode_new(disk, KITH_FILE_FOLDER, 0755);
    if (!disk->root) return KITH_ERR_NOMEM;
    kith__sim_use(disk, disk->root);
    return KITH_OK;
}

void kith__sim_disk_done(sim_disk *disk)
{
    KITH_EACH (link, &disk->operations) operation_end(disk, KITH_OF(link, sim_operation, link), false);
    KITH_EACH (held, &disk->inodes) KITH_OF(held, sim_inode, link)->refs++;
    KITH_EACH (folder, &disk->inodes) clear_entries(disk, KITH_OF(folder, sim_inode, link));
    KITH_EACH (last, &disk->inodes) inode_free(disk, KITH_OF(last, sim_inode, link));
}
