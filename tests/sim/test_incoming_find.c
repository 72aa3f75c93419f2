/* Files that need not come, since they are in the folder already. */
#include "incoming_world.h"

static const size_t sizes[] = {0, 1, MIB, MIB + 1, LARGEST};

static void root_of(size_t size, uint8_t out[static KITH_BLAKE3_SIZE]) { kith_blake3(content, size, out); }

/* Begin with a file of content, and look for it. */
static kith_err look(world *w, size_t size, kith_incoming_conflict conflict, kith_incoming **in, kith_tree *tree,
                     bool *found)
{
    uint8_t root[KITH_BLAKE3_SIZE];
    kith_incoming_config c = config_of(w, size);
    kith_incoming_place place = plain;
    kith_tree resume;
    place.conflict = conflict;
    root_of(size, root);
    *in = NULL;
    kith_err err = kith_incoming_open(&c, &resume, in);
    return err ? err : kith_incoming_find(*in, &place, root, tree, found);
}

/* Look, which must not find it, leave nothing behind, and say nothing of a tree. */
static void not_found(world *w, size_t size, kith_incoming_conflict conflict)
{
    kith_incoming *in;
    kith_tree tree;
    kith_incoming_result r;
    bool found = true;
    memset(&tree, 0xee, sizeof tree);
    assert_ok(look(w, size, conflict, &in, &tree, &found));
    assert_false(found);
    assert_int_equal(tree.groups, UINT64_C(0xeeeeeeeeeeeeeeee));
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_STATE); /* it has to come */
    kith_incoming_close(in);
}

static void found_as(world *w, size_t size, kith_incoming_conflict conflict, const char *name)
{
    kith_incoming *in;
    kith_tree tree;
    kith_incoming_result r;
    uint8_t root[KITH_BLAKE3_SIZE], got[KITH_BLAKE3_SIZE];
    bool found = false;
    assert_ok(look(w, size, conflict, &in, &tree, &found));
    assert_true(found);
    assert_int_equal(tree.groups, groups_of(size));
    check_tree(&tree, size);
    kith_tree_root(&tree, got);
    root_of(size, root);
    assert_memory_equal(got, root, sizeof root);
    assert_int_equal(counted.part_written, 0);
    assert_int_equal(kith_incoming_find(in, &plain, root, &tree, &found), KITH_ERR_STATE);
    assert_ok(kith_incoming_finish(in, &plain, &r));
    assert_true(r.already);
    assert_string_equal(r.name, name);
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_STATE);
    kith_incoming_close(in);
}

static void by_every_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        world w = world_new(1);
        size_t size = sizes[i];
        not_found(&w, size, KITH_INCOMING_KEEP);
        check_folder(&w, 0, 0);
        assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", content, size, 0600));
        found_as(&w, size, KITH_INCOMING_KEEP, "file.bin");
        found_as(&w, size, KITH_INCOMING_SKIP, "file.bin");
        not_found(&w, size, KITH_INCOMING_OVERWRITE);
        check_file(&w, "file.bin", content, size);
        check_folder(&w, 1, 0);
        assert_int_equal(info_of(&w, "file.bin").mode & 0777, 0600);

        if (size == 0) { /* there is one empty file only */
            world_free(&w);
            continue;
        }
        uint8_t *other = malloc(size);
        memcpy(other, content, size);
        other[size - 1] ^= 1;
        assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", other, size, 0644));
        not_found(&w, size, KITH_INCOMING_KEEP);
        assert_ok(kith_sim_put_file(w.host, FOLDER "/file (3).bin", content, size, 0644));
        not_found(&w, size, KITH_INCOMING_KEEP); /* it would become "file (2).bin" */
        assert_ok(kith_sim_put_file(w.host, FOLDER "/file (2).bin", "x", 1, 0644));
        found_as(&w, size, KITH_INCOMING_KEEP, "file (3).bin");
        not_found(&w, size, KITH_INCOMING_SKIP); /* that looks at the first name only */
        check_folder(&w, 3, 0);
        free(other);
        world_free(&w);
    }
}

/* What is no plain file of ours to read is not it. */
static void by_no_other_means(void **state)
{
    (void)state;
    world w = world_new(1);
    assert_ok(kith_sim_put_folder(w.host, FOLDER "/file.bin", 0755));
    not_found(&w, MIB, KITH_INCOMING_KEEP);
    assert_ok(kith_sim_put_file(w.host, FOLDER "/file (2).bin", content, MIB, 0600));
    found_as(&w, MIB, KITH_INCOMING_KEEP, "file (2).bin");
    assert_ok(kith_sim_set_mode(w.host, FOLDER "/file (2).bin", 0000));
    not_found(&w, MIB, KITH_INCOMING_KEEP);
    world_free(&w);

    w = world_new(1);
    static const char *const names[] = {"", ".", "..", "a/b", ".kith-0000000000000000.part"};
    kith_incoming *in;
    kith_tree tree;
    uint8_t root[KITH_BLAKE3_SIZE];
    bool found;
    kith_incoming_config c = config_of(&w, 5);
    root_of(5, root);
    assert_ok(kith_incoming_open(&c, &tree, &in));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kith_incoming_place place = {.name = names[i]};
        assert_int_equal(kith_incoming_find(in, &place, root, &tree, &found), KITH_ERR_NOT_ALLOWED);
    }
    kith_incoming_close(in);
    world_free(&w);
}

/* What had arrived before is of no more use; without the end it stays. */
static void a_part_is_there_too(void **state)
{
    (void)state;
    for (int finished = 0; finished < 2; finished++) {
        world w = world_new(1);
        kith_incoming *in;
        kith_tree tree;
        kith_incoming_result r;
        bool found;
        assert_ok(attempt_plain(&w, LARGEST, 2, NULL));
        check_folder(&w, 0, 2);
        assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", content, LARGEST, 0644));
        assert_ok(look(&w, LARGEST, KITH_INCOMING_KEEP, &in, &tree, &found));
        assert_true(found);
        if (finished) assert_ok(kith_incoming_finish(in, &plain, &r));
        kith_incoming_close(in);
        check_folder(&w, 1, finished ? 0 : 2);
        kith_incoming_config c = config_of(&w, LARGEST);
        assert_ok(kith_incoming_open(&c, &tree, &in));
        assert_int_equal(tree.groups, finished ? 0 : 2);
        kith_incoming_close(in);
        world_free(&w);
    }
}

/* Between being found and the end the file is changed, replaced by an equal one, or removed: it is not taken for there.
 */
static void changed_meanwhile(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        world w = world_new(1);
        kith_incoming *in;
        kith_tree tree;
        kith_incoming_result r = {.name = "untouched"};
        kith_file *file;
        bool found;
        assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", content, MIB, 0644));
        assert_ok(look(&w, MIB, KITH_INCOMING_KEEP, &in, &tree, &found));
        assert_true(found);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        switch (how) {
        case 0:
            assert_ok(real_table->open(w.p->real, FOLDER "/file.bin", KITH_FILE_WRITE, 0, &file));
            assert_ok(real_table->write(file, 5, "x", 1));
            real_table->close(file);
            break;
        case 1: assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", content, MIB, 0644)); break;
        case 2: assert_ok(real_table->remove(w.p->real, FOLDER "/file.bin")); break;
        default: break;
        }
        assert_int_equal(kith_incoming_finish(in, &plain, &r), how < 3 ? KITH_ERR_CHANGED : KITH_OK);
        assert_string_equal(r.name, how < 3 ? "untouched" : "file.bin");
        kith_incoming_close(in);
        check_folder(&w, how != 2, 0);
        world_free(&w);
    }
}

/* It is given up in the middle of reading. */
static void cancelled_meanwhile(void **state)
{
    (void)state;
    world w = world_new(1);
    atomic_bool cancel = true;
    kith_incoming *in;
    kith_tree tree;
    uint8_t root[KITH_BLAKE3_SIZE];
    bool found = false;
    kith_incoming_config c = config_of(&w, LARGEST);
    c.cancel = &cancel;
    root_of(LARGEST, root);
    assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", content, LARGEST, 0644));
    assert_ok(kith_incoming_open(&c, &tree, &in));
    assert_int_equal(kith_incoming_find(in, &plain, root, &tree, &found), KITH_ERR_CANCELLED);
    cancel = false;
    assert_ok(kith_incoming_find(in, &plain, root, &tree, &found));
    assert_true(found);
    kith_incoming_close(in);
    check_folder(&w, 1, 0);
    world_free(&w);
}

static int look_and_finish(void *user)
{
    world *w = user;
    kith_incoming *in = NULL;
    kith_tree tree;
    kith_incoming_result r;
    bool found = false;
    int err = look(w, MIB + 1, KITH_INCOMING_KEEP, &in, &tree, &found);
    if (!err) assert_true(found);
    if (!err) err = kith_incoming_finish(in, &plain, &r);
    kith_incoming_close(in);
    return err;
}

/* (The simulator's disk allocates, too.) */
static void without_memory(void **state)
{
    (void)state;
    int64_t live = kith_mem_live();
    size_t refused = 0;
    world w = world_new(1);
    assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", content, MIB + 1, 0644));
    for (uint64_t n = 1;; n++) {
        kith_mem_fail_at(n, false);
        int err = look_and_finish(&w);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        assert_true(err == KITH_OK || (failed && err == KITH_ERR_NOMEM)); /* tidying up may fail and be no error */
        if (!failed) break;
        refused += err != KITH_OK;
    }
    assert_true(refused > 10);
    check_file(&w, "file.bin", content, MIB + 1);
    check_folder(&w, 1, 0);
    world_free(&w);
    assert_int_equal(kith_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_every_name),     TEST(by_no_other_means),   TEST(a_part_is_there_too),
        TEST(changed_meanwhile), TEST(cancelled_meanwhile), TEST(without_memory),
    };
    return cmocka_run_group_tests_name("sim/incoming_find", tests, make_content, NULL);
}
