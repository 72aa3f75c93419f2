#include "graph_world.h"
#include "identity/graph_derive.h"

/* A thief with a member's key fills the graph in every way there is; what ends that finds its place all the same. */

static world_device d[4]; /* 1 founds with a code, admits 2, who is the thief, and 3 */
static uint8_t code[KITH_RECOVERY_CODE_SIZE], his_code[KITH_RECOVERY_CODE_SIZE];
static kith_recovery_public pair, his_pair;

static kith_graph *network(void)
{
    kith_graph *g;
    for (uint8_t n = 1; n < 4; n++) d[n] = world_device_of(n);
    memset(code, 9, sizeof code);
    memset(his_code, 8, sizeof his_code);
    kith_recovery_derive(code, &pair);
    kith_recovery_derive(his_code, &his_pair);
    assert_ok(kith_graph_new(&g));
    kith_graph_author a = world_author(&d[1]);
    assert_ok(kith_graph_found(g, &a, &pair, NULL));
    assert_ok(kith_graph_admit(g, &a, &d[2].entry));
    assert_ok(kith_graph_admit(g, &a, &d[3].entry));
    return g;
}

static void expect_members(const kith_graph *g, size_t want)
{
    kith_verdict v;
    kith_graph *back = world_copy(g); /* it is one that can be loaded */
    assert_ok(kith_graph_judge(back, &v));
    assert_int_equal(kith_verdict_members(&v), want);
    kith_verdict_done(&v);
    kith_graph_free(back);
}

static void fill(kith_graph *g, size_t until, const char *why)
{
    kith_graph_author thief = world_author(&d[2]);
    kith_graph_entry as = d[2].entry;
    snprintf(as.name, sizeof as.name, "%s", why);
    thief.self = &as;
    while (kith_graph_count(g) < until) {
        assert_ok(kith_graph_describe(g, &thief));
        thief.now_ms++;
    }
}

/* Any member can make a pair, and resets with its code, large ones; they count for nothing, and take no places kept. */
static void resets_with_a_code_of_his_own(void **state)
{
    (void)state;
    kith_graph *g = network();
    kith_graph_author thief = world_author(&d[2]), a = world_author(&d[1]);
    kith_graph_entry roster[KITH_GRAPH_ROSTER_MAX];
    kith_err err = KITH_OK;
    size_t made = 0;
    assert_ok(kith_graph_replace(g, &thief, &his_pair));
    size_t replace = kith_graph_count(g) - 1;
    roster[0] = d[2].entry;
    for (size_t i = 1; i < KITH_GRAPH_ROSTER_MAX; i++) {
        roster[i] = world_device_of((uint8_t)(i + 10)).entry;
        memset(roster[i].name, 'x', KITH_NAME_SIZE - 1);
        memset(roster[i].os, 'x', KITH_NAME_SIZE - 1);
        memset(roster[i].hardware_model, 'x', KITH_NAME_SIZE - 1);
    }
    for (size_t size = KITH_GRAPH_ROSTER_MAX; size; size = size == 1 ? 0 : 1, err = KITH_OK) {
        for (; !err; made += !err, thief.now_ms++) { /* from one to the next, too */
            size_t of = made % 2 ? kith_graph_count(g) - 1 : replace;
            err = kith_graph_reset(g, &thief, kith_graph_id(g, of), his_code, &his_pair, roster, size);
        }
        assert_int_equal(err, KITH_ERR_LIMIT);
    }
    assert_true(made > KITH_GRAPH_KEPT_RESET);
    expect_members(g, 3);
    assert_ok(kith_graph_reset(g, &a, kith_graph_id(g, 0), code, &pair, &d[1].entry, 1));
    expect_members(g, 1);
    kith_graph_free(g);
}

/* A code that the founder made while it was alone has the kept places, too; one that came when there were others not:
 * they could have made it. */
static void which_codes_have_places(void **state)
{
    (void)state;
    kith_graph_free(network()); /* who is who */
    for (int late = 0; late < 2; late++) {
        kith_graph *g;
        kith_graph_author a = world_author(&d[1]), thief = world_author(&d[2]);
        kith_err err = KITH_OK;
        assert_ok(kith_graph_new(&g));
        assert_ok(kith_graph_found(g, &a, NULL, NULL));
        if (!late) assert_ok(kith_graph_replace(g, &a, &pair));
        assert_ok(kith_graph_admit(g, &a, &d[2].entry));
        if (late) assert_ok(kith_graph_replace(g, &a, &pair));
        size_t replace = kith_graph_count(g) - (late ? 1 : 2);
        if (late) assert_ok(kith_graph_accept(g, &thief, kith_graph_id(g, replace)));
        while (!(err = kith_graph_revoke(g, &thief, d[1].entry.fingerprint, NULL))) thief.now_ms++;
        assert_int_equal(err, KITH_ERR_LIMIT);
        assert_int_equal(kith_graph_reset(g, &a, kith_graph_id(g, replace), code, &pair, &d[1].entry, 1),
                         late ? KITH_ERR_LIMIT : KITH_OK);
        kith_graph_free(g);
    }
}

/* Records that do not know each other, and no room to join them: nothing could name them all. */
static void many_heads(void **state)
{
    (void)state;
    kith_graph *g = network(), *base = network();
    kith_graph_author thief = world_author(&d[2]), a = world_author(&d[1]);
    kith_err err = KITH_OK;
    while (!err) {
        kith_graph *branch = world_copy(base);
        size_t size;
        assert_ok(kith_graph_describe(branch, &thief));
        const uint8_t *bytes = kith_graph_bytes(branch, 3, &size);
        err = kith_graph_add(g, bytes, size);
        kith_graph_free(branch);
        thief.now_ms++;
    }
    assert_int_equal(err, KITH_ERR_LIMIT);
    kith_graph *full = world_copy(g);
    assert_ok(kith_graph_revoke(g, &a, d[2].entry.fingerprint, "stolen"));
    expect_members(g, 2);
    assert_ok(kith_graph_reset(full, &a, kith_graph_id(full, 0), code, &pair, &d[1].entry, 1));
    expect_members(full, 1);
    kith_graph_free(full);
    kith_graph_free(base);
    kith_graph_free(g);
}

/* To each device another flood: neither has room for the other's, and still both take the reset. */
static void each_has_another_flood(void **state)
{
    (void)state;
    kith_graph *one = network(), *other = network();
    kith_graph_author a = world_author(&d[1]);
    size_t size, full = KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_REVOKE;
    fill(one, full, "one flood");
    fill(other, full, "another");
    assert_ok(kith_graph_reset(one, &a, kith_graph_id(one, 0), code, &pair, &d[1].entry, 1));
    const uint8_t *bytes = kith_graph_bytes(one, kith_graph_count(one) - 1, &size);
    assert_ok(kith_graph_add(other, bytes, size));
    expect_members(one, 1);
    expect_members(other, 1);
    kith_graph_free(one);
    kith_graph_free(other);
}

/* He lets in thousands, which all are called the same and deposit a key: what follows from the graph has bounds, and
 * can be made. */
static void many_members(void **state)
{
    (void)state;
    kith_graph *g = network();
    kith_graph_author thief = world_author(&d[2]);
    const uint8_t deposit[KITH_DEPOSIT_SIZE] = {1};
    kith_trust *trust;
    kith_master *master;
    kith_verdict v;
    for (uint32_t i = 0; i < KITH_MASTER_DEVICES_MAX + 1; i++) {
        uint8_t seed[32] = {7}, uuid[KITH_UUID_SIZE] = {7}, key[32];
        kith_graph_entry entry;
        memcpy(seed + 1, &i, sizeof i);
        memcpy(uuid + 1, &i, sizeof i);
        kith_ed25519_public(seed, key);
        kith_graph_entry_make(uuid, key, "device 3", "", "", &entry);
        assert_ok(kith_graph_admit(g, &thief, &entry));
        kith_graph_author his = {.seed = seed, .self = &entry};
        assert_ok(kith_graph_deposit(g, &his, kith_graph_id(g, 0), deposit));
    }
    assert_ok(kith_graph_judge(g, &v));
    assert_ok(kith_trust_new(&trust));
    assert_ok(kith_graph_derive_trust(g, &v, d[1].entry.fingerprint, trust));
    assert_int_equal(kith_trust_count(trust), KITH_GRAPH_PINNED_MAX);
    assert_non_null(kith_trust_by_fingerprint(trust, d[3].entry.fingerprint)); /* who was in before */
    assert_ok(kith_master_new(&master));
    assert_ok(kith_graph_derive_master(g, &v, master));
    assert_int_equal(master->count, KITH_MASTER_DEVICES_MAX);
    kith_master_free(master);
    kith_trust_free(trust);
    kith_verdict_done(&v);
    kith_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(resets_with_a_code_of_his_own),
        TEST(which_codes_have_places),
        TEST(many_heads),
        TEST(each_has_another_flood),
        TEST(many_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
