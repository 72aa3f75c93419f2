/* A host's disk: contents (sim_blocks.c) and names (sim_disk.c), each as processes see it now and as it is durable. */
#ifndef KITH_SIM_DISK_H
#define KITH_SIM_DISK_H

#include "sim/sim_internal.h"

#define SIM_PAGE_SIZE  65536u
#define SIM_BLOCK_SIZE 4096u
#define SIM_DEPTH_MAX  64u
#define SIM_NAME_SIZE  256u

typedef struct sim_chunk { /* a page's first `cap` bytes; the rest is zeros.  Shared until written to */
    uint32_t refs, cap;
    uint8_t data[];
} sim_chunk;

typedef struct sim_page {
    sim_chunk *now, *durable; /* NULL: zeros */
    uint16_t blocks;          /* a bit for each block that takes space now */
} sim_page;

typedef struct sim_meta {
    uint64_t size;
    uint32_t mode;
    int64_t modified_ns;
} sim_meta;

typedef struct sim_entry { /* a name in a folder; gone when it has no inode of either kind and nothing is pending */
    char *name;
    sim_inode *now, *durable;
    unsigned pending;
} sim_entry;

struct sim_inode {
    kith_link link;
    uint64_t number;
    kith_file_kind kind;
    unsigned refs; /* all that point here; and */
    unsigned uses; /* of these, names now and open handles: what it takes of the disk's space counts */
    sim_meta now, durable;
    int64_t changed_ns;
    sim_page *pages;
    size_t page_count;
    uint64_t block_bytes, reserved, charged;
    const kith_file *locked_by;
    sim_entry **entries; /* of a folder, by name */
    size_t entry_count, entry_cap;
    bool marked;
};

typedef struct sim_operation { /* on names, not durable yet */
    kith_link link;
    size_t count;
    struct sim_change {
        sim_inode *folder;
        sim_entry *entry;
        sim_inode *inode; /* the name's from then on, or NULL */
    } changes[2];
} sim_operation;

typedef struct sim_place {           /* what a path means */
    sim_inode *stack[SIM_DEPTH_MAX]; /* the folders down to it */
    size_t depth;
    char name[SIM_NAME_SIZE]; /* its last part; "" for the root */
    sim_inode *inode;         /* or NULL */
} sim_place;

static inline sim_inode *sim_folder_of(const sim_place *place) { return place->stack[place->depth - 1]; }

/* ---- contents ---- */
kith_err kith__sim_read(const sim_inode *inode, uint64_t offset, void *out, size_t size, size_t *got);
/* NO_SPACE and NOMEM leave what could be written written. */
kith_err kith__sim_write(sim_disk *disk, sim_inode *inode, uint64_t offset, const void *data, size_t size);
kith_err kith__sim_truncate(sim_disk *disk, sim_inode *inode, uint64_t size);
kith_err kith__sim_reserve(sim_disk *disk, sim_inode *inode, uint64_t size);
void kith__sim_sync(sim_inode *inode);
void kith__sim_contents_power_fail(sim_disk *disk, sim_inode *inode);
void kith__sim_contents_free(sim_disk *disk, sim_inode *inode);
void kith__sim_charge(sim_disk *disk, sim_inode *inode); /* after uses, blocks or reserved changed */

/* ---- names ---- */
/* NO_FILE when a folder on the way is missing (*place is undefined then), ARG, PERMISSION. */
kith_err kith__sim_walk(const sim_disk *disk, const char *path, sim_place *place);
sim_entry *kith__sim_entry(const sim_inode *folder, const char *name); /* or NULL */
/* A new inode under a name not in use. */
kith_err kith__sim_create(sim_disk *disk, const sim_place *place, kith_file_kind kind, uint32_t mode, sim_inode **out);
kith_err kith__sim_unlink(sim_disk *disk, const sim_place *place);
kith_err kith__sim_rename(sim_disk *disk, const sim_place *from, const sim_place *to);
void kith__sim_commit(sim_disk *disk, sim_inode *folder);
bool kith__sim_folder_empty(const sim_inode *folder);
void kith__sim_use(sim_disk *disk, sim_inode *inode); /* by a handle */
void kith__sim_unuse(sim_disk *disk, sim_inode *inode);
int64_t kith__sim_disk_time(const sim_disk *disk);

#endif
