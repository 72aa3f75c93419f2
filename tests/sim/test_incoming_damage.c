/* What an earlier attempt left is damaged in every way: the part that is provably good counts, and nothing is an error.
 */
#include "incoming_world.h"
#include "store/incoming_journal.h"

#define DAMAGED_SIZE (2 * MIB + 9)
#define DAMAGED_KEPT 2

typedef struct leftover {
    search journal, part;
    uint8_t *bytes, *part_bytes;
    size_t size, part_size;
} leftover;

static leftover leave(world *w)
{
    leftover l;
    assert_ok(attempt_plain(w, DAMAGED_SIZE, DAMAGED_KEPT, NULL));
    l.journal = own_path(w, ".journal");
    l.part = own_path(w, ".part");
    assert_ok(kith_sim_get_file(w->host, l.journal.path, &l.bytes, &l.size));
    assert_ok(kith_sim_get_file(w->host, l.part.path, &l.part_bytes, &l.part_size));
    assert_int_equal(l.size, KITH_JOURNAL_HEADER_SIZE + DAMAGED_KEPT * KITH_JOURNAL_RECORD_SIZE);
    return l;
}

static void leftover_free(leftover *l)
{
    kith_free(l->bytes);
    kith_free(l->part_bytes);
}

static void check_taken_up(world *w, const leftover *l, size_t journal_size, size_t part_size, size_t want, bool finish)
{
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_result r;
    assert_ok(kith_sim_put_file(w->host, l->journal.path, l->bytes, journal_size, 0600));
    assert_ok(kith_sim_put_file(w->host, l->part.path, l->part_bytes, part_size, 0600));
    kith_incoming_config c = config_of(w, DAMAGED_SIZE);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    if (resume.groups != want) fail_msg("%zu groups of %zu", (size_t)resume.groups, want);
    check_tree(&resume, DAMAGED_SIZE);
    if (finish) {
        for (size_t i = want; i < groups_of(DAMAGED_SIZE); i++) assert_ok(keep(in, DAMAGED_SIZE, i));
        assert_ok(kith_incoming_finish(in, &plain, &r));
        check_file(w, r.name, content, DAMAGED_SIZE);
    }
    kith_incoming_discard(in);
    check_folder(w, finish ? 1 : 0, 0);
    if (finish) assert_ok(real_table->remove(w->p->real, FOLDER "/file.bin"));
}

static size_t groups_before(size_t offset)
{
    return offset < KITH_JOURNAL_HEADER_SIZE ? 0 : (offset - KITH_JOURNAL_HEADER_SIZE) / KITH_JOURNAL_RECORD_SIZE;
}

static void test_damaged_journal(void **state)
{
    (void)state;
    world w = world_new(1);
    leftover l = leave(&w);
    check_taken_up(&w, &l, l.size, l.part_size, DAMAGED_KEPT, true);
    for (size_t i = 0; i < l.size; i++) {
        l.bytes[i] ^= (uint8_t)(1 << i % 8);
        check_taken_up(&w, &l, l.size, l.part_size, groups_before(i), i % 37 == 0);
        l.bytes[i] ^= (uint8_t)(1 << i % 8);
        check_taken_up(&w, &l, i, l.part_size, groups_before(i), false); /* torn there */
    }
    /* Two records exchanged; what looks like more groups than there are. */
    uint8_t *records = l.bytes + KITH_JOURNAL_HEADER_SIZE, saved[KITH_JOURNAL_RECORD_SIZE];
    memcpy(saved, records, sizeof saved);
    memmove(records, records + sizeof saved, sizeof saved);
    memcpy(records + sizeof saved, saved, sizeof saved);
    check_taken_up(&w, &l, l.size, l.part_size, 0, true);
    leftover_free(&l);
    world_free(&w);
}

static void test_damaged_part(void **state)
{
    (void)state;
    world w = world_new(1);
    leftover l = leave(&w);
    check_taken_up(&w, &l, l.size, 0, 0, true);
    check_taken_up(&w, &l, l.size, MIB - 1, 0, false);
    check_taken_up(&w, &l, l.size, MIB, 1, true);
    check_taken_up(&w, &l, l.size, 2 * MIB - 1, 1, false);
    check_taken_up(&w, &l, l.size, 2 * MIB, 2, true);
    /* Longer than the file will be: cut at the end. */
    uint8_t *longer = kith_calloc(1, DAMAGED_SIZE + 100);
    memcpy(longer, l.part_bytes, l.part_size);
    kith_free(l.part_bytes);
    l.part_bytes = longer;
    check_taken_up(&w, &l, l.size, DAMAGED_SIZE + 100, 2, true);
    /* Only one of the two, or folders in their place. */
    kith_tree resume;
    kith_incoming *in;
    kith_incoming_config c = config_of(&w, DAMAGED_SIZE);
    assert_ok(kith_sim_put_file(w.host, l.journal.path, l.bytes, l.size, 0600));
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, 0);
    kith_incoming_discard(in);
    assert_ok(kith_sim_put_file(w.host, l.part.path, l.part_bytes, 2 * MIB, 0600));
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, 0);
    kith_incoming_discard(in);
    assert_ok(kith_sim_put_folder(w.host, l.journal.path, 0700));
    assert_ok(kith_sim_put_folder(w.host, l.part.path, 0700));
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, 0);
    kith_incoming_discard(in);
    check_folder(&w, 0, 0);
    leftover_free(&l);
    world_free(&w);
}

/* The journal of another transfer under our name says nothing about ours. */
static void test_foreign_journal(void **state)
{
    (void)state;
    world w = world_new(1);
    leftover l = leave(&w);
    for (int member = 0; member < 3; member++) {
        kith_file *file;
        kith_incoming_config c = config_of(&w, DAMAGED_SIZE);
        kith_incoming_id id = c.id;
        kith_journal journal;
        if (member == 0) id.sender[5]++;
        if (member == 1) id.tag[5]++;
        if (member == 2) id.size++;
        assert_ok(kith_sim_put_file(w.host, "/foreign", NULL, 0, 0600));
        assert_ok(real_table->open(w.p->real, "/foreign", KITH_FILE_READ | KITH_FILE_WRITE, 0, &file));
        kith_journal_init(&journal, real_table, file, &id);
        assert_ok(kith_journal_write_header(&journal, c.boot_id));
        assert_ok(kith_journal_write(&journal, 0, cv_of(DAMAGED_SIZE, 0)));
        real_table->close(file);
        kith_free(l.bytes);
        assert_ok(kith_sim_get_file(w.host, "/foreign", &l.bytes, &l.size));
        check_taken_up(&w, &l, l.size, l.part_size, 0, false);
    }
    leftover_free(&l);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_damaged_journal), TEST(test_damaged_part), TEST(test_foreign_journal)};
    return cmocka_run_group_tests(tests, make_content, NULL);
}
