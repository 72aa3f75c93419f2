#include "graph_world.h"
#include "identity/graph_derive.h"

/* Every rule of graph.h's head, each with what would happen without it. */

#define DEVICES 9

typedef struct fixture {
    world_device d[DEVICES];
    uint8_t code[3][KITH_RECOVERY_CODE_SIZE];
    kith_recovery_public pair[3];
    kith_graph *g; /* 1 founded it, with code 0, and admitted 2; 2 admitted 3; 3 admitted 4 */
} fixture;

static kith_err found(fixture *f, kith_graph *g, uint8_t who)
{
    kith_graph_author a = world_author(&f->d[who]);
    return kith_graph_found(g, &a, &f->pair[0], NULL);
}

static void admit(fixture *f, kith_graph *g, uint8_t who, uint8_t whom)
{
    kith_graph_author a = world_author(&f->d[who]);
    assert_ok(kith_graph_admit(g, &a, &f->d[whom].entry));
}

static void revoke(fixture *f, kith_graph *g, uint8_t who, uint8_t whom)
{
    kith_graph_author a = world_author(&f->d[who]);
    assert_ok(kith_graph_revoke(g, &a, f->d[whom].entry.fingerprint, "lost"));
}

/* A reset with code `from` that makes code `to`; the roster ends with 0. */
static void reset(fixture *f, kith_graph *g, uint8_t who, size_t pair_record, int from, int to, const uint8_t *roster)
{
    kith_graph_entry entries[DEVICES];
    size_t count = 0;
    kith_graph_author a = world_author(&f->d[who]);
    for (; roster[count]; count++) entries[count] = f->d[roster[count]].entry;
    assert_ok(kith_graph_reset(g, &a, kith_graph_id(g, pair_record), f->code[from], &f->pair[to], entries, count));
}

static size_t last(const kith_graph *g) { return kith_graph_count(g) - 1; }

/* The members, as their numbers in order of admission: "1234". */
static void expect_members(const kith_graph *g, const char *want)
{
    kith_verdict v;
    char got[DEVICES + 1] = "";
    size_t n = 0;
    assert_ok(kith_graph_judge(g, &v));
    for (size_t i = 0; i < v.count; i++)
        if (v.members[i].state == KITH_MEMBER) got[n++] = (char)('0' + v.members[i].entry.uuid[0]);
    got[n] = 0;
    assert_int_equal(kith_verdict_members(&v), n);
    kith_verdict_done(&v);
    if (strcmp(got, want) != 0) fail_msg("members are %s, not %s", got, want);
}

static void expect_record(const kith_graph *g, size_t record, kith_record_state state, size_t by)
{
    kith_verdict v;
    assert_ok(kith_graph_judge(g, &v));
    if (v.records[record].state != state || v.records[record].by != by)
        fail_msg("record %zu is %d by %zu, not %d by %zu", record, (int)v.records[record].state, v.records[record].by,
                 (int)state, by);
    kith_verdict_done(&v);
}

static void expect_pair(const kith_graph *g, const kith_recovery_public *pair)
{
    kith_verdict v;
    assert_ok(kith_graph_judge(g, &v));
    assert_int_equal(v.pair != KITH_GRAPH_NONE, pair != NULL);
    if (pair) assert_true(kith_recovery_same(&v.recovery, pair));
    kith_verdict_done(&v);
}

static kith_graph *branch(const fixture *f) { return world_copy(f->g); }

static void join(kith_graph *into, kith_graph *from)
{
    world_merge(into, from);
    kith_graph_free(from);
}

static int setup(void **state)
{
    fixture *f = kith_calloc(1, sizeof *f);
    for (uint8_t n = 1; n < DEVICES; n++) f->d[n] = world_device_of(n);
    for (int i = 0; i < 3; i++) {
        memset(f->code[i], 0x50 + i, sizeof f->code[i]);
        kith_recovery_derive(f->code[i], &f->pair[i]);
    }
    assert_ok(kith_graph_new(&f->g));
    assert_ok(found(f, f->g, 1));
    admit(f, f->g, 1, 2);
    admit(f, f->g, 2, 3);
    admit(f, f->g, 3, 4);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    kith_graph_free(f->g);
    kith_free(f);
    return 0;
}

/* ---- members ---- */

static void members_admit_members(void **state)
{
    fixture *f = *state;
    kith_verdict v;
    expect_members(f->g, "1234");
    assert_ok(kith_graph_judge(f->g, &v));
    assert_int_equal(v.epoch, 0);
    assert_int_equal(v.base, 0);
    for (size_t i = 0; i < v.count; i++) {
        assert_int_equal(v.members[i].admitted, i);
        assert_int_equal(v.records[i].state, KITH_RECORD_GOOD);
        assert_ptr_equal(kith_verdict_find(&v, f->d[i + 1].entry.fingerprint), &v.members[i]);
    }
    assert_null(kith_verdict_find(&v, f->d[8].entry.fingerprint));
    kith_verdict_done(&v);
    expect_pair(f->g, &f->pair[0]);

    /* A device admitted twice has the place of the first time, and is there once. */
    kith_graph *other = branch(f);
    admit(f, other, 1, 5);
    admit(f, f->g, 4, 5);
    admit(f, f->g, 4, 6);
    join(f->g, other);
    expect_members(f->g, "123456");

    kith_graph *empty;
    assert_ok(kith_graph_new(&empty));
    assert_int_equal(kith_graph_judge(empty, &v), KITH_ERR_STATE);
    kith_graph_free(empty);
}

static void a_revoked_device_is_out(void **state)
{
    fixture *f = *state;
    kith_verdict v;
    revoke(f, f->g, 1, 3);
    expect_members(f->g, "124"); /* whom it admitted before that stays */
    assert_ok(kith_graph_judge(f->g, &v));
    const kith_member *m = kith_verdict_find(&v, f->d[3].entry.fingerprint);
    assert_int_equal(m->state, KITH_MEMBER_REVOKED);
    assert_int_equal(m->revoked, last(f->g));
    kith_record record;
    kith_graph_record(f->g, m->revoked, &record);
    assert_string_equal(record.why, "lost");
    assert_memory_equal(record.signer, f->d[1].entry.fingerprint, 32);
    assert_memory_equal(record.target, f->d[3].entry.fingerprint, 32);
    kith_verdict_done(&v);
}

/* What the revoked signs that the revocation does not know is void, with all that hangs on it. */
static void what_is_outside_is_void(void **state)
{
    fixture *f = *state;
    kith_graph *thief = branch(f);
    revoke(f, f->g, 1, 3);
    size_t revocation = last(f->g);
    admit(f, thief, 3, 5);
    admit(f, thief, 5, 6);
    revoke(f, thief, 6, 4);
    join(f->g, thief);
    expect_members(f->g, "124");
    expect_record(f->g, last(f->g) - 2, KITH_RECORD_VOID_REVOKED, revocation);
    expect_record(f->g, last(f->g) - 1, KITH_RECORD_VOID_STRANGER, KITH_GRAPH_NONE);
    expect_record(f->g, last(f->g), KITH_RECORD_VOID_STRANGER, KITH_GRAPH_NONE);

    /* Nor what it signs when it knows. */
    admit(f, f->g, 3, 7);
    expect_record(f->g, last(f->g), KITH_RECORD_VOID_REVOKED, revocation);
    expect_members(f->g, "124");
    /* Two revocations: only what both know stands. */
    kith_graph *late = branch(f);
    revoke(f, late, 2, 4);
    admit(f, f->g, 4, 8);
    expect_members(f->g, "1248");
    revoke(f, f->g, 1, 4);
    expect_members(f->g, "128");
    join(f->g, late);
    expect_members(f->g, "12");
}

/* A key that was revoked does not come back, even by who knows that it was. */
static void no_way_back(void **state)
{
    fixture *f = *state;
    revoke(f, f->g, 1, 3);
    admit(f, f->g, 2, 3);
    admit(f, f->g, 4, 3);
    expect_members(f->g, "124");
}

/* ---- revoking each other ---- */

static void the_earlier_admitted_wins(void **state)
{
    fixture *f = *state;
    kith_graph *other = branch(f); /* neither knows */
    revoke(f, f->g, 2, 3);
    size_t right = last(f->g);
    revoke(f, other, 3, 2);
    admit(f, other, 3, 5);
    join(f->g, other);
    expect_members(f->g, "124");
    expect_record(f->g, right, KITH_RECORD_GOOD, KITH_GRAPH_NONE);
    expect_record(f->g, right + 1, KITH_RECORD_VOID_REVOKED, right);

    /* The later admitted was faster; the other revokes it when it hears. */
    revoke(f, f->g, 4, 2);
    expect_members(f->g, "14");
    revoke(f, f->g, 2, 4);
    expect_members(f->g, "12");
}

static void a_later_admitted_may_revoke(void **state)
{
    fixture *f = *state;
    revoke(f, f->g, 4, 1); /* the first device was stolen */
    expect_members(f->g, "234");
    admit(f, f->g, 1, 5);
    expect_members(f->g, "234");
    revoke(f, f->g, 1, 4); /* the thief has the earliest device: the recovery code is for this */
    expect_members(f->g, "1235");
}

/* 2 revokes 3, 3 revokes 4, 4 revokes 2, and none knows of another: the earliest of the ring decides. */
static void a_ring_has_an_end(void **state)
{
    fixture *f = *state;
    kith_graph *a = branch(f), *b = branch(f);
    revoke(f, f->g, 2, 3);
    revoke(f, a, 3, 4);
    revoke(f, b, 4, 2);
    join(f->g, a);
    join(f->g, b);
    expect_members(f->g, "14"); /* 2's counts; so 3's is void; so 4's counts */
}

/* One sentence, whatever is known; a name or a reason of others is taken as it is. */
static void how_a_revocation_is_said(void **state)
{
    (void)state;
    static const struct {
        kith_revocation said;
        const char *text;
    } table[] = {
        {{.by = ""}, "this device was revoked"},
        {{.by = "pad"}, "this device was revoked by pad"},
        {{.by = "pad", .time_ms = 1795490970000}, "this device was revoked by pad on 2026-11-24"},
        {{.time_ms = 1795490970000, .why = "sold"}, "this device was revoked on 2026-11-24: sold"},
        {{.by = "pad", .why = "50% off"}, "this device was revoked by pad: 50% off"},
        {{.by = "pad", .reset = true, .why = "sold"},
         "this device was revoked by pad: left out when the recovery code was used"},
    };
    char text[KITH_REVOCATION_TEXT_SIZE];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kith_revocation_text(&table[i].said, text);
        assert_string_equal(text, table[i].text);
    }
    kith_revocation longest = {.time_ms = 1795490970000};
    memset(longest.by, 'b', sizeof longest.by - 1);
    memset(longest.why, 'w', sizeof longest.why - 1);
    kith_revocation_text(&longest, text);
    assert_int_equal(text[strlen(text) - 1], 'w'); /* all of it has room */
    assert_int_equal(strlen(text), strlen("this device was revoked by  on 2026-11-24: ") + 2 * (KITH_NAME_SIZE - 1));
}

/* What one revoked stays revoked when that one is revoked by somebody admitted later, who did not know. */
static void a_revocation_outlives_its_signer(void **state)
{
    fixture *f = *state;
    kith_graph *other = branch(f);
    revoke(f, f->g, 2, 3);
    revoke(f, other, 4, 2);
    join(f->g, other);
    expect_members(f->g, "14");
}

/* A revocation whose signer was let in by somebody who was revoked is void, too. */
static void who_admitted_counts_for_revocations(void **state)
{
    fixture *f = *state;
    kith_graph *thief = branch(f);
    revoke(f, f->g, 1, 2);
    admit(f, thief, 2, 5);
    revoke(f, thief, 5, 3);
    join(f->g, thief);
    expect_members(f->g, "134");
}

/* ---- the recovery code ---- */

static void a_reset_says_who_is_in(void **state)
{
    fixture *f = *state;
    kith_graph *thief = branch(f), *offline = branch(f);
    revoke(f, thief, 1, 2); /* the thief has 1, which everybody is later than */
    revoke(f, thief, 1, 3);
    revoke(f, thief, 1, 4);
    admit(f, thief, 1, 5);
    admit(f, offline, 4, 6);
    size_t apart = last(offline);
    reset(f, f->g, 3, 0, 0, 1, (uint8_t[]){3, 2, 7, 0});
    size_t reset_at = last(f->g);
    expect_members(f->g, "327");
    join(f->g, thief);
    expect_members(f->g, "327");
    expect_record(f->g, last(f->g), KITH_RECORD_VOID_RESET, reset_at);
    expect_pair(f->g, &f->pair[1]);
    assert_int_equal(kith_graph_find(f->g, kith_graph_id(offline, apart)), KITH_GRAPH_NONE);
    join(f->g, offline);
    expect_members(f->g, "327");

    kith_verdict v;
    assert_ok(kith_graph_judge(f->g, &v));
    assert_int_equal(v.epoch, 1);
    assert_int_equal(v.base, reset_at);
    const kith_member *m = kith_verdict_find(&v, f->d[4].entry.fingerprint);
    assert_int_equal(m->state, KITH_MEMBER_REVOKED);
    assert_int_equal(m->revoked, reset_at);
    assert_int_equal(kith_verdict_find(&v, f->d[5].entry.fingerprint)->state, KITH_MEMBER_VOID);
    kith_verdict_done(&v);

    /* It goes on from there: in the roster's order, and those left out are as strangers. */
    kith_graph *a = branch(f);
    revoke(f, f->g, 3, 2);
    revoke(f, a, 2, 3);
    join(f->g, a);
    expect_members(f->g, "37");
    admit(f, f->g, 1, 8);
    expect_members(f->g, "37");
    admit(f, f->g, 7, 8);
    expect_members(f->g, "378");
}

/* A reset made by a device that the thief has revoked, and that knows it. */
static void a_reset_needs_no_member(void **state)
{
    fixture *f = *state;
    revoke(f, f->g, 1, 2);
    revoke(f, f->g, 1, 4);
    reset(f, f->g, 4, 0, 0, 1, (uint8_t[]){4, 2, 0});
    expect_members(f->g, "42");
    /* And by one that was never in it: restored from paper alone. */
    reset(f, f->g, 8, last(f->g), 1, 2, (uint8_t[]){8, 0});
    expect_members(f->g, "8");
    expect_pair(f->g, &f->pair[2]);
}

static void an_old_code_is_void(void **state)
{
    fixture *f = *state;
    reset(f, f->g, 2, 0, 0, 1, (uint8_t[]){2, 3, 0});
    size_t first = last(f->g);
    reset(f, f->g, 3, 0, 0, 2, (uint8_t[]){3, 0}); /* it knows of the first */
    expect_members(f->g, "23");
    expect_record(f->g, last(f->g), KITH_RECORD_VOID_KEY, KITH_GRAPH_NONE);
    expect_pair(f->g, &f->pair[1]);
    reset(f, f->g, 3, first, 1, 2, (uint8_t[]){3, 0});
    expect_members(f->g, "3");
}

static void of_two_resets(void **state)
{
    fixture *f = *state;
    kith_graph *a = branch(f), *b = branch(f), *c = branch(f);
    reset(f, a, 4, 0, 0, 1, (uint8_t[]){4, 0});
    reset(f, b, 2, 0, 0, 1, (uint8_t[]){2, 3, 0});
    reset(f, c, 2, 0, 0, 2, (uint8_t[]){2, 4, 0});
    const char *smaller = memcmp(kith_graph_id(b, last(b)), kith_graph_id(c, last(c)), 32) < 0 ? "23" : "24";
    join(f->g, a);
    expect_members(f->g, "4");
    join(f->g, b);
    expect_members(f->g, "23"); /* 2 was admitted before 4 */
    join(f->g, c);
    expect_members(f->g, smaller);
}

/* ---- without the old code ---- */

static kith_graph_author author_of(fixture *f, uint8_t n) { return world_author(&f->d[n]); }

static size_t replace(fixture *f, kith_graph *g, uint8_t who, int pair)
{
    kith_graph_author a = author_of(f, who);
    assert_ok(kith_graph_replace(g, &a, &f->pair[pair]));
    return last(g);
}

static void accept_it(fixture *f, kith_graph *g, uint8_t who, size_t replacement)
{
    kith_graph_author a = author_of(f, who);
    assert_ok(kith_graph_accept(g, &a, kith_graph_id(g, replacement)));
}

static void a_replacement_needs_all(void **state)
{
    fixture *f = *state;
    kith_graph_author a = author_of(f, 2);
    assert_ok(kith_graph_replace(f->g, &a, &f->pair[1]));
    size_t replacement = last(f->g);
    expect_record(f->g, replacement, KITH_RECORD_WAITING, KITH_GRAPH_NONE);
    expect_pair(f->g, &f->pair[0]);
    for (uint8_t n = 1; n <= 4; n++) {
        if (n == 2) continue;
        expect_pair(f->g, &f->pair[0]);
        a = author_of(f, n);
        assert_ok(kith_graph_accept(f->g, &a, kith_graph_id(f->g, replacement)));
    }
    expect_record(f->g, replacement, KITH_RECORD_GOOD, KITH_GRAPH_NONE);
    expect_pair(f->g, &f->pair[1]);
    admit(f, f->g, 1, 5); /* who comes later comes to that */
    expect_pair(f->g, &f->pair[1]);
    /* The old code still resets, as it could by not knowing of the replacement. */
    kith_graph *b = branch(f);
    reset(f, b, 4, replacement, 1, 2, (uint8_t[]){4, 0});
    expect_members(b, "4");
    reset(f, f->g, 3, 0, 0, 2, (uint8_t[]){3, 0});
    join(f->g, b);
    expect_members(f->g, "3");
}

static bool waiting(const kith_graph *g, size_t *record, bool *several)
{
    kith_verdict v;
    kith_waiting_code code;
    assert_ok(kith_graph_judge(g, &v));
    bool waits = kith_graph_waiting_code(g, &v, &code);
    kith_verdict_done(&v);
    if (record) *record = code.record;
    if (several) *several = code.several;
    return waits;
}

/* Who is asked to agree is shown the one of the device that was let in first, and that there are others. */
static void which_replacement_waits(void **state)
{
    fixture *f = *state;
    size_t record;
    bool several;
    assert_false(waiting(f->g, &record, &several));
    replace(f, f->g, 3, 1);
    size_t second = replace(f, f->g, 3, 2);
    assert_true(waiting(f->g, &record, &several));
    assert_int_equal(record, second);
    assert_false(several); /* a paper was lost */
    replace(f, f->g, 4, 1);
    assert_true(waiting(f->g, &record, &several));
    assert_int_equal(record, second);
    assert_true(several);
    revoke(f, f->g, 1, 4);
    assert_true(waiting(f->g, &record, &several));
    assert_false(several);
}

static bool ended(const fixture *f, const kith_graph *g, uint8_t who, kith_ended_code *out)
{
    kith_verdict v;
    assert_ok(kith_graph_judge(g, &v));
    bool is = kith_graph_ended_code(g, &v, f->d[who].entry.fingerprint, out);
    kith_verdict_done(&v);
    return is;
}

/* A device that left its key for a code knows that the code ended, until there is a newer one. */
static void a_code_that_ended(void **state)
{
    fixture *f = *state;
    kith_ended_code code;
    uint8_t deposit[KITH_DEPOSIT_SIZE] = {1};
    kith_graph_author one = author_of(f, 1);
    kith_graph *behind = branch(f);
    size_t at = replace(f, f->g, 2, 1);
    for (uint8_t n = 1; n <= 4; n++)
        if (n != 2) accept_it(f, f->g, n, at);
    assert_ok(kith_graph_deposit(f->g, &one, kith_graph_id(f->g, at), deposit));
    assert_false(ended(f, f->g, 1, &code));
    kith_graph *late = world_copy(behind);
    admit(f, late, 4, 5); /* who was let in meanwhile has to agree */
    world_merge(f->g, late);
    assert_true(ended(f, f->g, 1, &code));
    assert_true(code.waits);
    accept_it(f, f->g, 5, at);
    assert_false(ended(f, f->g, 1, &code));
    revoke(f, behind, 4, 2); /* as if it had not heard */
    join(f->g, behind);
    kith_graph_free(late);
    assert_true(ended(f, f->g, 1, &code));
    assert_false(code.waits);
    assert_string_equal(code.by, "device 2");
    assert_int_equal(code.time_ms, 1000);
    assert_false(ended(f, f->g, 4, &code)); /* it never had it */
    at = replace(f, f->g, 1, 2);
    assert_true(ended(f, f->g, 1, &code));
    for (uint8_t n = 3; n <= 5; n++) accept_it(f, f->g, n, at);
    expect_pair(f->g, &f->pair[2]);
    assert_false(ended(f, f->g, 1, &code));
}

static void a_thief_cannot_replace(void **state)
{
    fixture *f = *state;
    kith_graph_author a = author_of(f, 3);
    assert_ok(kith_graph_replace(f->g, &a, &f->pair[1]));
    size_t replacement = last(f->g);
    assert_ok(kith_graph_accept(f->g, &a, kith_graph_id(f->g, replacement)));
    expect_pair(f->g, &f->pair[0]);
    reset(f, f->g, 3, replacement, 1, 2, (uint8_t[]){3, 0}); /* its own code is in force nowhere */
    expect_members(f->g, "1234");
    expect_record(f->g, last(f->g), KITH_RECORD_VOID_KEY, KITH_GRAPH_NONE);
    /* Those it lets in agree with it, the others are still asked. */
    admit(f, f->g, 3, 5);
    expect_pair(f->g, &f->pair[0]);
    /* Also when it admits those once more. */
    admit(f, f->g, 3, 1);
    admit(f, f->g, 3, 2);
    admit(f, f->g, 3, 4);
    expect_pair(f->g, &f->pair[0]);
    expect_members(f->g, "12345");
    revoke(f, f->g, 1, 3); /* and a revoked one's is nothing, whoever agrees */
    for (uint8_t n = 1; n <= 4; n++) {
        a = author_of(f, n);
        if (n != 3) assert_ok(kith_graph_accept(f->g, &a, kith_graph_id(f->g, replacement)));
    }
    expect_pair(f->g, &f->pair[0]);
    assert_false(waiting(f->g, NULL, NULL));
}

/* Where its word came first: all others are out, what they let in is void, and it lets those in anew. */
static void nor_of_those_it_lets_in_anew(void **state)
{
    fixture *f = *state;
    kith_graph *thief;
    assert_ok(kith_graph_new(&thief));
    for (size_t i = 0; i < 2; i++) { /* 1 founded it and admitted 2 */
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(f->g, i, &size);
        assert_ok(kith_graph_add(thief, bytes, size));
    }
    admit(f, f->g, 1, 5);
    admit(f, f->g, 1, 6);
    revoke(f, thief, 2, 1);
    replace(f, thief, 2, 1);
    admit(f, thief, 2, 5);
    admit(f, thief, 2, 6);
    join(f->g, thief);
    expect_members(f->g, "23456");
    expect_pair(f->g, &f->pair[0]); /* else 5 and 6 would seal their keys to it */
}

/* Whom somebody let in who knew of it and did not agree has not agreed either. */
static void hearing_of_a_replacement_is_not_agreeing(void **state)
{
    fixture *f = *state;
    size_t at = replace(f, f->g, 3, 1);
    admit(f, f->g, 1, 5);
    admit(f, f->g, 5, 6);
    revoke(f, f->g, 6, 1); /* lost, all of them */
    revoke(f, f->g, 6, 2);
    revoke(f, f->g, 6, 4);
    expect_members(f->g, "356");
    expect_pair(f->g, &f->pair[0]);
    accept_it(f, f->g, 5, at); /* a person said so, there and then for 6 */
    expect_pair(f->g, &f->pair[1]);
}

/* The paper stays good when the device is lost that made it, and whatever is done by who was let in later. */
static void a_code_outlives_its_maker(void **state)
{
    fixture *f = *state;
    kith_graph_author a = author_of(f, 1);
    kith_graph *g, *before, *later;
    assert_ok(kith_graph_new(&g));
    assert_ok(kith_graph_found(g, &a, NULL, NULL));
    admit(f, g, 1, 2);
    admit(f, g, 1, 3);
    before = world_copy(g);
    size_t at = replace(f, g, 2, 1);
    accept_it(f, g, 1, at);
    expect_pair(g, NULL);
    accept_it(f, g, 3, at);
    expect_pair(g, &f->pair[1]);
    admit(f, g, 3, 4); /* with the code in force */
    later = world_copy(g);
    revoke(f, g, 3, 2); /* by who agreed */
    expect_pair(g, &f->pair[1]);
    expect_members(g, "134");

    /* 4 is stolen: it throws out all, lets in its own, and those that are out once more. */
    revoke(f, later, 4, 2);
    revoke(f, later, 4, 3);
    admit(f, later, 4, 5);
    revoke(f, later, 5, 1);
    admit(f, later, 5, 3);
    expect_members(later, "45");
    expect_pair(later, &f->pair[1]);
    reset(f, later, 2, at, 1, 2, (uint8_t[]){2, 1, 0});
    expect_members(later, "21");
    join(g, later);
    expect_members(g, "21");
    kith_graph_free(g);

    /* 3, which was there before, can say that it had not heard of it: nobody could tell that from what is true. */
    g = world_copy(before);
    at = replace(f, g, 2, 1);
    accept_it(f, g, 1, at);
    accept_it(f, g, 3, at);
    revoke(f, before, 3, 2);
    join(g, before);
    expect_pair(g, NULL);
    kith_graph_free(g);
}

/* A device that left its key for the code has taken part in it, whoever lets it in again. */
static void a_deposit_agrees(void **state)
{
    fixture *f = *state;
    uint8_t deposit[KITH_DEPOSIT_SIZE] = {1};
    kith_graph *behind = branch(f);
    size_t at = replace(f, f->g, 2, 1);
    accept_it(f, f->g, 1, at);
    accept_it(f, f->g, 3, at);
    accept_it(f, f->g, 4, at);
    admit(f, f->g, 1, 5);
    expect_pair(f->g, &f->pair[1]);
    kith_graph *spoke = branch(f);
    admit(f, behind, 4, 5); /* as if it had not heard */
    kith_graph_author a = author_of(f, 5);
    assert_ok(kith_graph_deposit(spoke, &a, kith_graph_id(spoke, at), deposit));
    world_merge(f->g, behind);
    expect_pair(f->g, &f->pair[0]);
    join(spoke, behind);
    expect_pair(spoke, &f->pair[1]);
    join(f->g, spoke);
    expect_pair(f->g, &f->pair[1]);
}

static void the_only_device_replaces(void **state)
{
    fixture *f = *state;
    kith_graph *g;
    kith_graph_author a = author_of(f, 1);
    assert_ok(kith_graph_new(&g));
    assert_ok(kith_graph_found(g, &a, NULL, NULL));
    expect_pair(g, NULL);
    assert_ok(kith_graph_replace(g, &a, &f->pair[1]));
    expect_pair(g, &f->pair[1]);
    assert_ok(kith_graph_replace(g, &a, &f->pair[2]));
    expect_pair(g, &f->pair[2]);
    admit(f, g, 1, 2);
    expect_pair(g, &f->pair[2]);
    kith_graph_free(g);
}

/* ---- what devices say of themselves ---- */

static void names_and_deposits(void **state)
{
    fixture *f = *state;
    kith_verdict v;
    uint8_t deposit[KITH_DEPOSIT_SIZE];
    memset(deposit, 7, sizeof deposit);
    kith_graph_author a = author_of(f, 2);
    kith_graph_entry renamed;
    kith_graph_entry_make(f->d[2].entry.uuid, f->d[2].entry.ed25519, "kitchen", "Debian", "", &renamed);
    a.self = &renamed;
    assert_ok(kith_graph_describe(f->g, &a));
    assert_ok(kith_graph_deposit(f->g, &a, kith_graph_id(f->g, 0), deposit));
    size_t at = last(f->g);
    assert_ok(kith_graph_judge(f->g, &v));
    assert_string_equal(v.members[1].entry.name, "kitchen");
    assert_string_equal(v.members[1].entry.os, "Debian");
    assert_string_equal(v.members[1].entry.hardware_model, "");
    assert_int_equal(v.members[1].deposit, at);
    assert_int_equal(v.members[0].deposit, KITH_GRAPH_NONE);
    kith_verdict_done(&v);
    /* A deposit is for one pair. */
    reset(f, f->g, 1, 0, 0, 1, (uint8_t[]){1, 2, 0});
    assert_ok(kith_graph_judge(f->g, &v));
    assert_int_equal(v.members[1].deposit, KITH_GRAPH_NONE);
    assert_string_equal(v.members[1].entry.name, "device 2"); /* as the roster has it */
    kith_verdict_done(&v);
    /* What a revoked device says of itself is not heard. */
    revoke(f, f->g, 1, 2);
    assert_ok(kith_graph_describe(f->g, &a));
    assert_ok(kith_graph_judge(f->g, &v));
    assert_string_equal(kith_verdict_find(&v, renamed.fingerprint)->entry.name, "device 2");
    kith_verdict_done(&v);
    /* The founder's, in its first record. */
    kith_graph *g;
    a = author_of(f, 1);
    assert_ok(kith_graph_new(&g));
    assert_ok(kith_graph_found(g, &a, &f->pair[0], deposit));
    assert_int_equal(kith_graph_found(g, &a, &f->pair[0], deposit), KITH_ERR_STATE);
    assert_ok(kith_graph_judge(g, &v));
    assert_int_equal(v.members[0].deposit, 0);
    kith_verdict_done(&v);
    kith_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_admit_members, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revoked_device_is_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_outside_is_void, setup, teardown),
        cmocka_unit_test_setup_teardown(no_way_back, setup, teardown),
        cmocka_unit_test_setup_teardown(the_earlier_admitted_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_admitted_may_revoke, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ring_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revocation_outlives_its_signer, setup, teardown),
        cmocka_unit_test(how_a_revocation_is_said),
        cmocka_unit_test_setup_teardown(who_admitted_counts_for_revocations, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reset_says_who_is_in, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reset_needs_no_member, setup, teardown),
        cmocka_unit_test_setup_teardown(an_old_code_is_void, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_resets, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replacement_needs_all, setup, teardown),
        cmocka_unit_test_setup_teardown(which_replacement_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_code_that_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(a_thief_cannot_replace, setup, teardown),
        cmocka_unit_test_setup_teardown(nor_of_those_it_lets_in_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(hearing_of_a_replacement_is_not_agreeing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_code_outlives_its_maker, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deposit_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(the_only_device_replaces, setup, teardown),
        cmocka_unit_test_setup_teardown(names_and_deposits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
