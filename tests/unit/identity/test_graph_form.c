#include "graph_world.h"
#include "identity/envelope.h"
#include "identity/graph_internal.h"

#include <stdlib.h>

/* What may be in a graph at all, and graphs as bytes. */

static world_device d[5];
static uint8_t code[KITH_RECOVERY_CODE_SIZE];
static kith_recovery_public pair;

/* One record of each kind: 1 founds, admits 2 and 3; the rest by 2. */
static kith_graph *whole(void)
{
    kith_graph *g;
    uint8_t deposit[KITH_DEPOSIT_SIZE] = {5};
    for (uint8_t n = 1; n < 5; n++) d[n] = world_device_of(n);
    memset(code, 9, sizeof code);
    kith_recovery_derive(code, &pair);
    assert_ok(kith_graph_new(&g));
    kith_graph_author a = world_author(&d[1]), b = world_author(&d[2]);
    assert_ok(kith_graph_found(g, &a, &pair, deposit));
    assert_ok(kith_graph_admit(g, &a, &d[2].entry));
    assert_ok(kith_graph_admit(g, &a, &d[3].entry));
    assert_ok(kith_graph_describe(g, &b));
    assert_ok(kith_graph_deposit(g, &b, kith_graph_id(g, 0), deposit));
    assert_ok(kith_graph_revoke(g, &b, d[3].entry.fingerprint, "sold"));
    assert_ok(kith_graph_replace(g, &b, &pair));
    assert_ok(kith_graph_accept(g, &a, kith_graph_id(g, 6)));
    kith_graph_entry roster[2] = {d[2].entry, d[4].entry};
    assert_ok(kith_graph_reset(g, &b, kith_graph_id(g, 0), code, &pair, roster, 2));
    return g;
}

/* The first `count` records. */
static kith_graph *part(const kith_graph *g, size_t count)
{
    kith_graph *out;
    assert_ok(kith_graph_new(&out));
    for (size_t i = 0; i < count; i++) {
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(g, i, &size);
        assert_ok(kith_graph_add(out, bytes, size));
    }
    return out;
}

static kith_err add(kith_graph *g, const kith_graph *from, size_t i)
{
    size_t size;
    const uint8_t *bytes = kith_graph_bytes(from, i, &size);
    return kith_graph_add(g, bytes, size);
}

static void taken_once(void **state)
{
    (void)state;
    kith_graph *g = whole(), *twin = part(g, 3);
    for (size_t i = 0; i < kith_graph_count(g); i++) assert_int_equal(add(g, g, i), KITH_ERR_EXISTS);
    assert_int_equal(add(twin, g, 5), KITH_ERR_NOT_FOUND); /* its parent is not there */
    assert_int_equal(kith_graph_count(twin), 3);
    kith_graph_free(twin);
    /* Another network's. */
    kith_graph *other;
    kith_graph_author a = world_author(&d[4]);
    assert_ok(kith_graph_new(&other));
    assert_ok(kith_graph_found(other, &a, NULL, NULL));
    assert_int_equal(add(g, other, 0), KITH_ERR_STATE);
    assert_int_equal(add(other, g, 1), KITH_ERR_NOT_FOUND);
    kith_graph_free(other);
    assert_ok(kith_graph_new(&other));
    assert_int_equal(add(other, g, 1), KITH_ERR_NOT_FOUND); /* the first must found */
    kith_graph_free(other);
    kith_graph_free(g);
}

/* No bit of a record can be changed. */
static void every_bit_counts(void **state)
{
    (void)state;
    kith_graph *g = whole();
    size_t tried = 0;
    for (size_t i = 0; i < kith_graph_count(g); i++) {
        kith_graph *before = part(g, i);
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(g, i, &size);
        uint8_t *copy = kith_memdup(bytes, size);
        for (size_t at = 0; at < size; at++) {
            copy[at] ^= (uint8_t)(1u << (at % 8));
            kith_err err = kith_graph_add(before, copy, size);
            if (err != KITH_ERR_FORMAT && err != KITH_ERR_SIGNATURE && err != KITH_ERR_NOT_FOUND)
                fail_msg("record %zu, byte %zu: %s", i, at, kith_err_name(err));
            copy[at] ^= (uint8_t)(1u << (at % 8));
            tried++;
        }
        for (size_t cut = 0; cut < size; cut++) assert_int_equal(kith_graph_add(before, copy, cut), KITH_ERR_FORMAT);
        assert_ok(kith_graph_add(before, copy, size));
        kith_free(copy);
        kith_graph_free(before);
    }
    test_ran("changed records", tried);
    kith_graph_free(g);
}

/* A record as `change` would have it, truly signed by device `by` (and with the code, where that is wanted), is not
 * taken after the first `count` records of the whole. */
static void refuse(const kith_graph *g, size_t count, kith_record record, const kith_graph_entry *roster, uint8_t by,
                   bool with_code, kith_err want)
{
    uint8_t body[KITH_GRAPH_RECORD_MAX], out[KITH_GRAPH_RECORD_MAX];
    size_t size;
    kith_graph *before = part(g, count);
    memcpy(record.signer, d[by].entry.fingerprint, sizeof record.signer);
    if (!record.parent_count && record.kind != KITH_RECORD_FOUND) {
        record.parent_count = 1;
        memcpy(record.parents[0], kith_graph_id(g, count - 1), sizeof record.parents[0]);
    }
    size_t body_size = kith__record_body(&record, roster, body, sizeof body);
    assert_true(body_size);
    assert_ok(kith__record_seal(body, body_size, d[by].seed, with_code ? code : NULL, out, sizeof out, &size));
    kith_err err = kith_graph_add(before, out, size);
    if (err != want) fail_msg("kind %d: %s, not %s", (int)record.kind, kith_err_name(err), kith_err_name(want));
    kith_graph_free(before);
}

static void what_cannot_be(void **state)
{
    (void)state;
    kith_graph *g = whole();
    kith_record r = {.kind = KITH_RECORD_ADMIT, .entry = d[4].entry};
    refuse(g, 3, r, NULL, 1, false, KITH_OK);
    refuse(g, 3, r, NULL, 1, true, KITH_ERR_FORMAT); /* a recovery signature where none belongs */
    refuse(g, 3, r, NULL, 4, false, KITH_ERR_FORMAT);
    r.entry = d[3].entry;
    refuse(g, 2, r, NULL, 3, false, KITH_ERR_FORMAT); /* oneself, and not known in its past */
    r.entry = d[4].entry;
    memset(r.entry.ed25519, 0, sizeof r.entry.ed25519); /* a key of low order */
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    r.entry = d[4].entry;
    r.entry.name[0] = 0;
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    strcpy(r.entry.name, "a\nb");
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    strcpy(r.entry.name, " a");
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);

    /* A second beginning. */
    r = (kith_record){.kind = KITH_RECORD_FOUND, .entry = d[1].entry, .time_ms = 7};
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_STATE);
    refuse(g, 3, r, NULL, 2, false, KITH_ERR_FORMAT);

    /* Parents: twice the same, out of order, one that leads to another, none that is known. */
    r = (kith_record){.kind = KITH_RECORD_DESCRIBE, .entry = d[1].entry, .parent_count = 2};
    memcpy(r.parents[0], kith_graph_id(g, 2), 32);
    memcpy(r.parents[1], kith_graph_id(g, 2), 32);
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    bool swap = memcmp(kith_graph_id(g, 1), kith_graph_id(g, 2), 32) < 0;
    memcpy(r.parents[swap], kith_graph_id(g, 2), 32);
    memcpy(r.parents[!swap], kith_graph_id(g, 1), 32);
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    memcpy(r.parents[!swap], kith_graph_id(g, 2), 32);
    memcpy(r.parents[swap], kith_graph_id(g, 1), 32);
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    r.parent_count = 1;
    memset(r.parents[0], 1, 32);
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_NOT_FOUND);

    /* Revoking oneself, or one who is not there. */
    r = (kith_record){.kind = KITH_RECORD_REVOKE};
    memcpy(r.target, d[1].entry.fingerprint, 32);
    refuse(g, 3, r, NULL, 2, false, KITH_OK);
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    memcpy(r.target, d[4].entry.fingerprint, 32);
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    memcpy(r.target, d[3].entry.fingerprint, 32);
    refuse(g, 2, r, NULL, 1, false, KITH_ERR_FORMAT);

    /* About records that are not there, or of another kind. */
    for (int kind = KITH_RECORD_DEPOSIT; kind <= KITH_RECORD_ACCEPT; kind++) {
        if (kind == KITH_RECORD_REPLACE) continue;
        bool of_pair = kind != KITH_RECORD_ACCEPT, resets = kind == KITH_RECORD_RESET;
        kith_graph_entry roster[3] = {d[2].entry, d[3].entry, d[2].entry};
        r = (kith_record){.kind = (kith_record_kind)kind, .pair = pair, .roster_count = resets ? 2 : 0};
        memcpy(r.target, kith_graph_id(g, of_pair ? 0 : 6), 32);
        refuse(g, 7, r, roster, 2, resets, KITH_OK);
        memcpy(r.target, kith_graph_id(g, 1), 32);
        refuse(g, 7, r, roster, 2, resets, KITH_ERR_FORMAT);
        memcpy(r.target, kith_graph_id(g, 7), 32);
        refuse(g, 7, r, roster, 2, resets, KITH_ERR_FORMAT);
        if (!resets) continue;
        memcpy(r.target, kith_graph_id(g, 0), 32);
        refuse(g, 7, r, roster, 2, false, KITH_ERR_FORMAT); /* without the code */
        code[0] ^= 1;
        refuse(g, 7, r, roster, 2, true, KITH_ERR_SIGNATURE); /* with another */
        code[0] ^= 1;
        refuse(g, 7, r, roster, 1, true, KITH_ERR_FORMAT); /* its author is not in the roster */
        r.roster_count = 3;
        refuse(g, 7, r, roster, 2, true, KITH_ERR_FORMAT); /* one is there twice */
        r.roster_count = 0;
        refuse(g, 7, r, roster, 2, true, KITH_ERR_FORMAT);
    }
    r = (kith_record){.kind = 9};
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    r = (kith_record){.kind = 0};
    refuse(g, 3, r, NULL, 1, false, KITH_ERR_FORMAT);
    kith_graph_free(g);
}

/* A revocation that names a device with a code that is another pair's has no recovery pair to be made with. */
static void no_code_no_reset(void **state)
{
    (void)state;
    kith_graph *full = whole(), *g;
    kith_graph_author a = world_author(&d[1]);
    assert_ok(kith_graph_new(&g));
    assert_ok(kith_graph_found(g, &a, NULL, NULL));
    assert_int_equal(kith_graph_reset(g, &a, kith_graph_id(g, 0), code, &pair, &d[1].entry, 1), KITH_ERR_FORMAT);
    assert_int_equal(kith_graph_count(g), 1);
    kith_graph_free(g);
    kith_graph_free(full);
}

static void many_heads_are_joined(void **state)
{
    (void)state;
    kith_graph *g = whole(), *base = part(g, 3), *many = part(g, 3);
    for (int i = 0; i < 30; i++) { /* one device's branches that do not know each other: a thief can make them */
        kith_graph *branch = part(base, 3);
        kith_graph_author a = world_author(&d[2]);
        a.now_ms = i;
        assert_ok(kith_graph_describe(branch, &a));
        world_merge(many, branch);
        kith_graph_free(branch);
    }
    assert_int_equal(kith_graph_heads(many, NULL, 0), 30);
    kith_graph_author a = world_author(&d[1]);
    assert_ok(kith_graph_revoke(many, &a, d[2].entry.fingerprint, NULL));
    size_t last = kith_graph_count(many) - 1, head;
    assert_int_equal(kith_graph_heads(many, &head, 1), 1);
    assert_int_equal(head, last);
    for (size_t i = 0; i < last; i++) assert_true(kith_graph_in_past(many, i, last));
    kith_graph_free(many);
    kith_graph_free(base);
    kith_graph_free(g);
}

/* The last places are for what ends a flood. */
static void a_flood_is_ended(void **state)
{
    (void)state;
    kith_graph *g = whole(), *flood = part(g, 3);
    kith_graph_author thief = world_author(&d[3]), a = world_author(&d[1]);
    kith_err err = KITH_OK;
    while (!(err = kith_graph_describe(flood, &thief))) thief.now_ms++;
    assert_int_equal(err, KITH_ERR_LIMIT);
    assert_int_equal(kith_graph_count(flood), KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_REVOKE);
    while (!(err = kith_graph_revoke(flood, &thief, d[2].entry.fingerprint, NULL))) thief.now_ms++;
    assert_int_equal(err, KITH_ERR_LIMIT);
    assert_int_equal(kith_graph_count(flood), KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_RESET);
    assert_ok(kith_graph_reset(flood, &a, kith_graph_id(flood, 0), code, &pair, &d[1].entry, 1));
    kith_verdict v;
    assert_ok(kith_graph_judge(flood, &v));
    assert_int_equal(kith_verdict_members(&v), 1);
    kith_verdict_done(&v);
    kith_graph *back = world_copy(flood);
    assert_int_equal(kith_graph_count(back), kith_graph_count(flood));
    kith_graph_free(back);
    kith_graph_free(flood);
    kith_graph_free(g);
}

/* ---- sets ---- */

static void what_another_lacks(void **state)
{
    (void)state;
    kith_graph *g = whole(), *other = part(g, 4);
    size_t out[16], heads[4];
    uint8_t ids[3][KITH_GRAPH_ID_SIZE];
    assert_int_equal(kith_graph_lacks(g, NULL, 0, out), 9);
    assert_int_equal(kith_graph_heads(other, heads, 4), 1);
    memset(ids[0], 1, 32); /* nobody's */
    memcpy(ids[1], kith_graph_id(other, heads[0]), 32);
    memcpy(ids[2], kith_graph_id(g, 1), 32);
    size_t count = kith_graph_lacks(g, (const uint8_t(*)[KITH_GRAPH_ID_SIZE])ids, 3, out);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) assert_ok(add(other, g, out[i]));
    assert_int_equal(kith_graph_count(other), 9);
    kith_graph_free(other);
    kith_graph_free(g);
}

static void one_set_one_encoding(void **state)
{
    (void)state;
    kith_graph *g = whole(), *base = part(g, 3), *a = part(g, 3), *b = part(g, 3);
    kith_graph_author x = world_author(&d[1]), y = world_author(&d[2]);
    for (int i = 0; i < 3; i++) {
        assert_ok(kith_graph_describe(a, &x));
        assert_ok(kith_graph_admit(b, &y, &d[4].entry));
    }
    world_merge(base, b);
    world_merge(base, a);
    world_merge(b, a);
    world_merge(a, b);
    uint8_t *first, *next;
    size_t size, next_size;
    assert_ok(kith_graph_encode(base, &first, &size));
    kith_graph *all[] = {a, b};
    for (int i = 0; i < 2; i++) {
        assert_ok(kith_graph_encode(all[i], &next, &next_size));
        assert_int_equal(next_size, size);
        assert_memory_equal(next, first, size);
        kith_free(next);
    }
    kith_reason reason = {""};
    kith_graph *back;
    assert_ok(kith_graph_decode(first, size, true, &back, &reason));
    assert_int_equal(kith_graph_count(back), kith_graph_count(base));
    kith_graph_free(back);
    for (size_t at = 0; at < size; at++) {
        first[at] ^= 0x10;
        kith_err err = kith_graph_decode(first, size, false, &back, &reason);
        assert_true(err == KITH_ERR_DAMAGED || err == KITH_ERR_VERSION);
        first[at] ^= 0x10;
        assert_int_equal(kith_graph_decode(first, at, false, &back, &reason), KITH_ERR_DAMAGED);
    }
    kith_free(first);
    kith_graph_free(a);
    kith_graph_free(b);
    kith_graph_free(base);
    kith_graph_free(g);
}

/* A file whose checksum fits, with a record whose signature does not: found when it is asked for. */
static void a_forged_file(void **state)
{
    (void)state;
    kith_graph *g = whole(), *back;
    uint8_t body[8192], *file;
    size_t size, file_size;
    kith_reason reason = {""};
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_array(&w, 2);
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *bytes = kith_graph_bytes(g, i, &size);
        uint8_t *room = kith_cbor_write_bytes_room(&w, size);
        memcpy(room, bytes, size);
        if (i == 1) room[size - 1] ^= 1; /* of the signature */
    }
    assert_ok(kith_envelope_make(KITH_GRAPH_CONTEXT, 1, body, kith_writer_size(&w), &file, &file_size));
    assert_ok(kith_graph_decode(file, file_size, false, &back, &reason));
    kith_graph_free(back);
    assert_int_equal(kith_graph_decode(file, file_size, true, &back, &reason), KITH_ERR_DAMAGED);
    kith_free(file);
    kith_graph_free(g);
}

static int every_step(void *arg)
{
    kith_graph *g = NULL, *back = NULL;
    kith_verdict v = {0};
    kith_reason reason;
    uint8_t *data = NULL, deposit[KITH_DEPOSIT_SIZE] = {0};
    size_t size;
    kith_graph_author a = world_author(&d[1]), b = world_author(&d[2]);
    (void)arg;
    kith_err err = kith_graph_new(&g);
    if (!err) err = kith_graph_found(g, &a, &pair, deposit);
    if (!err) err = kith_graph_admit(g, &a, &d[2].entry);
    if (!err) err = kith_graph_admit(g, &b, &d[3].entry);
    if (!err) err = kith_graph_revoke(g, &a, d[3].entry.fingerprint, "x");
    if (!err) err = kith_graph_reset(g, &b, kith_graph_id(g, 0), code, &pair, &d[2].entry, 1);
    if (!err) err = kith_graph_encode(g, &data, &size);
    if (!err) err = kith_graph_decode(data, size, true, &back, &reason);
    if (!err) err = kith_graph_judge(back, &v);
    if (!err && (kith_verdict_members(&v) != 1 || v.epoch != 1)) err = KITH_ERR_INTERNAL;
    kith_verdict_done(&v);
    kith_free(data);
    kith_graph_free(g);
    kith_graph_free(back);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    kith_graph_free(whole()); /* who is who */
    test_every_allocation(every_step, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(taken_once),       TEST(every_bit_counts),      TEST(what_cannot_be),     TEST(no_code_no_reset),
        TEST(a_flood_is_ended), TEST(many_heads_are_joined), TEST(what_another_lacks), TEST(one_set_one_encoding),
        TEST(a_forged_file),    TEST(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
