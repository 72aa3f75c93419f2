#include "store/incoming_journal.h"

#include "base/buf.h"

#include <string.h>

#define VERSION    1
#define BATCH      64 /* records read at once */
#define CHECK_SIZE (KITH_JOURNAL_RECORD_SIZE - KITH_BLAKE3_SIZE)

static const char magic[8] = {'k', 'i', 't', 'h', '.', 'j', 'n', 'l'};
static const char key_context[] = "kith 2026-11 incoming journal record v1";
static const char header_context[] = "kith 2026-11 incoming journal header v1";

void kith_journal_init(kith_journal *journal, const kith_env_file *disk, kith_file *file, const kith_incoming_id *id)
{
    uint8_t bytes[sizeof id->sender + sizeof id->tag + 8];
    kith_writer w = kith_writer_of(bytes, sizeof bytes);
    kith_write_bytes(&w, id->sender, sizeof id->sender);
    kith_write_bytes(&w, id->tag, sizeof id->tag);
    kith_write_u64(&w, id->size);
    *journal = (kith_journal){.disk = disk, .file = file, .id = *id};
    kith_blake3_derive(key_context, bytes, sizeof bytes, journal->key, sizeof journal->key);
}

static void make_header(const kith_journal *journal, const uint8_t *boot_id,
                        uint8_t out[static KITH_JOURNAL_HEADER_SIZE])
{
    kith_writer w = kith_writer_of(out, KITH_JOURNAL_HEADER_SIZE);
    kith_write_bytes(&w, magic, sizeof magic);
    kith_write_u32(&w, VERSION);
    kith_write_bytes(&w, journal->id.sender, sizeof journal->id.sender);
    kith_write_bytes(&w, journal->id.tag, sizeof journal->id.tag);
    kith_write_u64(&w, journal->id.size);
    kith_write_bytes(&w, boot_id, KITH_BOOT_ID_SIZE);
    kith_blake3_derive(header_context, out, kith_writer_size(&w), w.at, KITH_BLAKE3_SIZE);
}

static void make_record(const kith_journal *journal, uint64_t index, const uint8_t *cv,
                        uint8_t out[static KITH_JOURNAL_RECORD_SIZE])
{
    uint8_t bytes[sizeof journal->key + 8 + KITH_BLAKE3_SIZE], check[KITH_BLAKE3_SIZE];
    kith_writer w = kith_writer_of(bytes, sizeof bytes);
    kith_write_bytes(&w, journal->key, sizeof journal->key);
    kith_write_u64(&w, index);
    kith_write_bytes(&w, cv, KITH_BLAKE3_SIZE);
    kith_blake3(bytes, sizeof bytes, check);
    memcpy(out, cv, KITH_BLAKE3_SIZE);
    memcpy(out + KITH_BLAKE3_SIZE, check, CHECK_SIZE);
}

static uint64_t record_offset(uint64_t index) { return KITH_JOURNAL_HEADER_SIZE + index * KITH_JOURNAL_RECORD_SIZE; }

bool kith_journal_read_header(const kith_journal *journal, uint8_t boot_id[static KITH_BOOT_ID_SIZE])
{
    uint8_t found[KITH_JOURNAL_HEADER_SIZE], want[KITH_JOURNAL_HEADER_SIZE];
    size_t got;
    if (journal->disk->read(journal->file, 0, found, sizeof found, &got) || got != sizeof found) return false;
    const uint8_t *boot_id_found = found + sizeof found - KITH_BLAKE3_SIZE - KITH_BOOT_ID_SIZE;
    make_header(journal, boot_id_found, want);
    if (memcmp(found, want, sizeof found) != 0) return false;
    memcpy(boot_id, boot_id_found, KITH_BOOT_ID_SIZE);
    return true;
}

size_t kith_journal_read(const kith_journal *journal, uint64_t first, size_t count, uint8_t (*cvs)[KITH_BLAKE3_SIZE])
{
    uint8_t found[BATCH][KITH_JOURNAL_RECORD_SIZE], want[KITH_JOURNAL_RECORD_SIZE];
    size_t done = 0;
    while (done < count) {
        size_t n = count - done < BATCH ? count - done : BATCH, got;
        if (journal->disk->read(journal->file, record_offset(first + done), found, n * sizeof *found, &got))
            return done;
        size_t whole = got / sizeof *found;
        for (size_t i = 0; i < whole; i++, done++) {
            make_record(journal, first + done, found[i], want);
            if (memcmp(found[i], want, sizeof want) != 0) return done;
            memcpy(cvs[done], found[i], KITH_BLAKE3_SIZE);
        }
        if (whole < n) return done;
    }
    return done;
}

kith_err kith_journal_write_header(const kith_journal *journal, const uint8_t boot_id[static KITH_BOOT_ID_SIZE])
{
    uint8_t header[KITH_JOURNAL_HEADER_SIZE];
    make_header(journal, boot_id, header);
    return journal->disk->write(journal->file, 0, header, sizeof header);
}

kith_err kith_journal_write(const kith_journal *journal, uint64_t index, const uint8_t cv[static KITH_BLAKE3_SIZE])
{
    uint8_t record[KITH_JOURNAL_RECORD_SIZE];
    make_record(journal, index, cv, record);
    return journal->disk->write(journal->file, record_offset(index), record, sizeof record);
}

kith_err kith_journal_cut(const kith_journal *journal, uint64_t groups)
{
    return journal->disk->truncate(journal->file, groups ? record_offset(groups) : 0);
}
