/* Files' contents: pages that are copied when written to, so that what is durable stays what it was. */
#include "base/mem.h"
#include "sim/sim_disk.h"

#define CHUNK_MIN      512u /* most files are small, and there may be thousands of disks */
#define FILE_SIZE_MAX  (UINT64_C(1) << 36)
#define BLOCKS_IN_PAGE (SIM_PAGE_SIZE / SIM_BLOCK_SIZE)

/* ---- pages ---- */

static void chunk_release(sim_chunk *chunk)
{
    if (chunk && --chunk->refs == 0) kith_free(chunk);
}

/* One of its own with room for `cap` bytes, holding what `old` holds; takes over the reference to `old`. */
static sim_chunk *chunk_for(sim_chunk *old, size_t cap)
{
    if (old && old->refs == 1 && old->cap >= cap) return old;
    size_t room = CHUNK_MIN;
    while (room < cap || (old && room < old->cap)) room *= 2;
    sim_chunk *chunk = kith_malloc(sizeof *chunk + room);
    if (!chunk) return NULL;
    chunk->refs = 1;
    chunk->cap = (uint32_t)room;
    size_t kept = old ? old->cap : 0;
    if (old) memcpy(chunk->data, old->data, kept);
    memset(chunk->data + kept, 0, room - kept);
    chunk_release(old);
    return chunk;
}

static kith_err pages_reserve(sim_inode *inode, uint64_t size)
{
    size_t count = (size_t)((size + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE);
    if (count <= inode->page_count) return KITH_OK;
    if (count < inode->page_count + inode->page_count / 2) count = inode->page_count + inode->page_count / 2;
    sim_page *pages = kith_realloc(inode->pages, count * sizeof *pages);
    if (!pages) return KITH_ERR_NOMEM;
    memset(pages + inode->page_count, 0, (count - inode->page_count) * sizeof *pages);
    inode->pages = pages;
    inode->page_count = count;
    return KITH_OK;
}

/* ---- space ---- */

static uint64_t cost_of(const sim_inode *inode, uint64_t block_bytes, uint64_t reserved)
{
    return !inode->uses ? 0 : block_bytes > reserved ? block_bytes : reserved;
}

void kith__sim_charge(sim_disk *disk, sim_inode *inode)
{
    uint64_t cost = cost_of(inode, inode->block_bytes, inode->reserved);
    disk->used += cost - inode->charged;
    inode->charged = cost;
}

/* Whether it fits in what is left. */
static bool affordable(const sim_disk *disk, const sim_inode *inode, uint64_t block_bytes, uint64_t reserved)
{
    uint64_t cost = cost_of(inode, block_bytes, reserved);
    if (cost <= inode->charged) return true;
    return disk->used <= disk->capacity && cost - inode->charged <= disk->capacity - disk->used;
}

static uint64_t bits_bytes(uint16_t blocks)
{
    uint64_t bytes = 0;
    for (; blocks; blocks &= (uint16_t)(blocks - 1)) bytes += SIM_BLOCK_SIZE;
    return bytes;
}

static uint16_t block_bits(size_t from, size_t to) /* bytes of the page, to > from */
{
    unsigned first = (unsigned)(from / SIM_BLOCK_SIZE), last = (unsigned)((to - 1) / SIM_BLOCK_SIZE);
    return (uint16_t)((2u << last) - (1u << first));
}

static void set_blocks(sim_inode *inode, sim_page *page, uint16_t blocks)
{
    inode->block_bytes += bits_bytes(blocks);
    inode->block_bytes -= bits_bytes(page->blocks);
    page->blocks = blocks;
}

/* ---- reading and writing ---- */

kith_err kith__sim_read(const sim_inode *inode, uint64_t offset, void *out, size_t size, size_t *got)
{
    uint64_t left = offset < inode->now.size ? inode->now.size - offset : 0;
    if (size > left) size = (size_t)left;
    for (size_t done = 0, part; done < size; done += part) {
        const sim_chunk *chunk = inode->pages[(offset + done) / SIM_PAGE_SIZE].now;
        size_t in = (size_t)((offset + done) % SIM_PAGE_SIZE), there = 0;
        part = size - done < SIM_PAGE_SIZE - in ? size - done : SIM_PAGE_SIZE - in;
        if (chunk && in < chunk->cap) there = chunk->cap - in < part ? chunk->cap - in : part;
        if (there) memcpy((uint8_t *)out + done, chunk->data + in, there);
        memset((uint8_t *)out + done + there, 0, part - there);
    }
    *got = size;
    return KITH_OK;
}

static kith_err write_page(sim_disk *disk, sim_inode *inode, sim_page *page, size_t in, const uint8_t *data,
                           size_t size)
{
    uint16_t blocks = page->blocks | block_bits(in, in + size);
    uint64_t more = bits_bytes(blocks) - bits_bytes(page->blocks);
    if (!affordable(disk, inode, inode->block_bytes + more, inode->reserved)) return KITH_ERR_NO_SPACE;
    sim_chunk *chunk = chunk_for(page->now, in + size);
    if (!chunk) return KITH_ERR_NOMEM;
    page->now = chunk;
    memcpy(chunk->data + in, data, size);
    set_blocks(inode, page, blocks);
    kith__sim_charge(disk, inode);
    return KITH_OK;
}

static void touch(sim_disk *disk, sim_inode *inode)
{
    inode->now.modified_ns = inode->changed_ns = kith__sim_disk_time(disk);
}

kith_err kith__sim_write(sim_disk *disk, sim_inode *inode, uint64_t offset, const void *data, size_t size)
{
    if (offset > FILE_SIZE_MAX || size > FILE_SIZE_MAX - offset) return KITH_ERR_LIMIT;
    kith_err err = pages_reserve(inode, offset + size);
    if (err || !size) return err;
    touch(disk, inode);
    for (size_t done = 0, part; done < size; done += part) {
        size_t in = (size_t)((offset + done) % SIM_PAGE_SIZE);
        sim_page *page = &inode->pages[(offset + done) / SIM_PAGE_SIZE];
        part = size - done < SIM_PAGE_SIZE - in ? size - done : SIM_PAGE_SIZE - in;
        err = write_page(disk, inode, page, in, (const uint8_t *)data + done, part);
        if (err) return err;
        if (offset + done + part > inode->now.size) inode->now.size = offset + done + part;
    }
    return KITH_OK;
}

/* What is now beyond `size` is zeros and takes no space. */
static kith_err cut(sim_inode *inode, uint64_t size)
{
    size_t first = (size_t)(size / SIM_PAGE_SIZE), in = (size_t)(size % SIM_PAGE_SIZE);
    if (in && first < inode->page_count) {
        sim_page *page = &inode->pages[first++];
        if (page->now && page->now->cap > in) {
            sim_chunk *chunk = chunk_for(page->now, in);
            if (!chunk) return KITH_ERR_NOMEM;
            page->now = chunk;
            memset(chunk->data + in, 0, chunk->cap - in);
        }
        set_blocks(inode, page, page->blocks & block_bits(0, in));
    }
    for (size_t i = first; i < inode->page_count; i++) {
        chunk_release(inode->pages[i].now);
        inode->pages[i].now = NULL;
        set_blocks(inode, &inode->pages[i], 0);
    }
    return KITH_OK;
}

kith_err kith__sim_truncate(sim_disk *disk, sim_inode *inode, uint64_t size)
{
    if (size > FILE_SIZE_MAX) return KITH_ERR_LIMIT;
    kith_err err = size < inode->now.size ? cut(inode, size) : pages_reserve(inode, size);
    if (err) return err;
    if (size < inode->now.size) inode->reserved = 0; /* Linux gives back what was reserved beyond the end, too */
    inode->now.size = size;
    touch(disk, inode);
    kith__sim_charge(disk, inode);
    return KITH_OK;
}

kith_err kith__sim_reserve(sim_disk *disk, sim_inode *inode, uint64_t size)
{
    if (size > FILE_SIZE_MAX) return KITH_ERR_LIMIT;
    uint64_t rounded = (size + SIM_BLOCK_SIZE - 1) / SIM_BLOCK_SIZE * SIM_BLOCK_SIZE;
    if (rounded <= inode->reserved) return KITH_OK;
    if (!affordable(disk, inode, inode->block_bytes, rounded)) return KITH_ERR_NO_SPACE;
    inode->reserved = rounded;
    kith__sim_charge(disk, inode);
    return KITH_OK;
}

/* ---- what lasts ---- */

void kith__sim_sync(sim_inode *inode)
{
    for (size_t i = 0; i < inode->page_count; i++) {
        sim_page *page = &inode->pages[i];
        if (page->now == page->durable) continue;
        chunk_release(page->durable);
        page->durable = page->now;
        if (page->now) page->now->refs++;
    }
    inode->durable = inode->now;
}

/* Each block is the old one or the new one; how likely, `how` says: 0 all old, 1 all new, else even. */
static void mix_page(sim_disk *disk, sim_page *page, uint64_t how)
{
    size_t cap = page->now ? page->now->cap : 0;
    if (page->durable && page->durable->cap > cap) cap = page->durable->cap;
    sim_chunk *old = page->durable, *new = how == 0 ? NULL : chunk_for(NULL, cap);
    for (size_t at = 0; new &&at < cap; at += SIM_BLOCK_SIZE) {
        const sim_chunk *from = how == 1 || kith__sim_rng_below(&disk->rng, 2) ? page->now : old;
        if (!from || from->cap <= at) continue;
        memcpy(new->data + at, from->data + at, from->cap - at < SIM_BLOCK_SIZE ? from->cap - at : SIM_BLOCK_SIZE);
    }
    chunk_release(page->now);
    if (new) chunk_release(old);
    if (!new &&old) old->refs++;
    if (new) new->refs++;
    page->now = page->durable = new ? new : old;
}

void kith__sim_contents_power_fail(sim_disk *disk, sim_inode *inode)
{
    uint64_t how = kith__sim_rng_below(&disk->rng, 4);
    bool meta = how == 1 || (how > 1 && kith__sim_rng_below(&disk->rng, 2));
    for (size_t i = 0; i < inode->page_count; i++) {
        sim_page *page = &inode->pages[i];
        if (page->now != page->durable) mix_page(disk, page, how);
        set_blocks(inode, page, page->now ? block_bits(0, page->now->cap) : 0);
    }
    if (meta) inode->durable = inode->now;
    inode->now = inode->durable;
    inode->reserved = 0;
    /* Out of memory would leave bytes beyond the end, which a later, longer size shows: allowed after a power failure.
     */
    if (cut(inode, inode->now.size) == KITH_OK) kith__sim_sync(inode);
    kith__sim_charge(disk, inode);
}

void kith__sim_contents_free(sim_disk *disk, sim_inode *inode)
{
    for (size_t i = 0; i < inode->page_count; i++) {
        chunk_release(inode->pages[i].now);
        chunk_release(inode->pages[i].durable);
    }
    kith_free(inode->pages);
    inode->pages = NULL;
    inode->page_count = 0;
    inode->block_bytes = inode->reserved = 0;
    kith__sim_charge(disk, inode);
}
