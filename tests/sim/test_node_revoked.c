/* Own devices that are revoked, as whole nodes: the others refuse it at once, whoever hears it from whom, and tell it
 * why; it knows it by its own files from then on; it is heard when it appeals; and worlds of five devices with
 * partitions in which nobody serves a revoked device that could have heard.  KITH_SEEDS / 50 says how many worlds
 * (default 8). */
#include "crypto/blake3.h"
#include "own_world.h"

#include <stdlib.h>

/* ---- revoking ---- */

static void a_revoked_device_is_refused_and_told(void **state)
{
    (void)state;
    static world w; /* events take megabytes */
    make_world(&w, 3, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    /* A session that is alive: 2 pings 1 without end. */
    char id[KITH_UUID_TEXT_SIZE];
    assert_ok(ping(&w, 1, 0)); /* both have the news of each other, and sessions with 0 */
    assert_ok(ping(&w, 2, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    forget_events(&w.v[2]);
    kith_core_ping(w.v[2].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), 0);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_non_null(last_event(&w.v[2], KITH_EVENT_PONG));
    assert_null(last_event(&w.v[2], KITH_EVENT_END));
    revoke(&w, 0, 2); /* 1 hears it from 0, over the session that is there */
    assert_int_equal(ended(&w, &w.v[2]), KITH_ERR_REVOKED);
    const char *told = last_event(&w.v[2], KITH_EVENT_END)->message;
    if (strcmp(told, "this device was revoked by device0 on 2026-11-24: stolen on the train") != 0 &&
        !strstr(told, "this device was revoked by device0 on 20"))
        fail_msg("%s", told);
    assert_non_null(strstr(told, ": stolen on the train"));
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER_REVOKED);
    assert_false(pinned_as_own(&w, 1, 2));
    assert_int_equal(ping(&w, 2, 0), KITH_ERR_REVOKED);
    assert_int_equal(ping(&w, 2, 1), KITH_ERR_REVOKED);
    assert_int_equal(ping(&w, 1, 2), KITH_ERR_NOT_FOUND);
    assert_ok(ping(&w, 1, 0));
    /* Nor can it be let in again, there or by itself. */
    assert_int_equal(pair(&w, 1, 2, true), KITH_ERR_REVOKED);
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER_REVOKED);
    end_world(&w);
}

/* What the node of `i` says of itself: that it is revoked, and why; "": it is not. */
static const char *says(world *w, size_t i)
{
    static char text[KITH_REVOCATION_TEXT_SIZE];
    kith_core_revoked(w->v[i].core, text, sizeof text);
    return text;
}

static void restart(world *w, size_t i)
{
    victim *v = &w->v[i];
    v->closed = false;
    kith_core_close(v->core, victim_closed, v);
    if (!kith_sim_run_until(w->sim, victim_is_closed, v, 60 * KITH_SIM_S)) fail_msg("the node does not close");
    kith_core_free(v->core);
    victim_open(v);
}

/* It knows by its own files, whoever tells it and however: over a session that was alive, or when it comes again later,
 * to the one that revoked it or to one that heard of it; also after its node was started anew. */
static void a_revoked_device_remembers(void **state)
{
    (void)state;
    for (size_t way = 0; way < 4; way++) {
        static world w;
        make_world(&w, 50 + way, 3);
        assert_ok(pair(&w, 0, 1, false));
        assert_ok(pair(&w, 0, 2, false));
        assert_ok(ping(&w, 1, 0));
        assert_ok(ping(&w, 2, 0)); /* and that session stays */
        if (way) kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
        const bool later = way > 0;
        size_t from = way == 2 ? 1 : 0;
        if (way == 2) assert_ok(ping(&w, 1, 0)); /* 1 hears of it over that */
        revoke(&w, 0, 2);
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        if (later) assert_int_equal(state_of(&w, 2, 2), KITH_MEMBER);
        assert_string_equal(says(&w, 0), "");
        if (way == 3) assert_int_equal(pair(&w, 0, 2, true), KITH_ERR_REVOKED); /* it wants to join again */
        if (way == 1 || way == 2) assert_int_equal(ping(&w, 2, from), KITH_ERR_REVOKED);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        assert_int_equal(state_of(&w, 2, 2), KITH_MEMBER_REVOKED);
        assert_non_null(strstr(says(&w, 2), "this device was revoked by device0 on 20"));
        assert_non_null(strstr(says(&w, 2), ": stolen on the train"));
        restart(&w, 2);
        assert_non_null(strstr(says(&w, 2), ": stolen on the train"));
        const kith_receive_options options = {.size = sizeof options, .folder = "/in"};
        forget_events(&w.v[2]);
        kith_core_receive(w.v[2].core, w.op++, &options);
        assert_string_equal(last_event(&w.v[2], KITH_EVENT_REVOKED)->message, says(&w, 2));
        /* It shows nobody a code; those that it knows as its own are still there to be asked. */
        const kith_pair_options own = {.size = sizeof own, .yes = true};
        kith_core_pair(w.v[2].core, w.op++, &own);
        assert_int_equal(last_event(&w.v[2], KITH_EVENT_END)->err, KITH_ERR_REVOKED);
        assert_int_equal(ping(&w, 2, 0), KITH_ERR_REVOKED);
        end_world(&w);
    }
}

/* One that has left for another network, where it knows nobody of the old one, has nothing to show for itself: whom it
 * asks to be let in again waits for that, and it waits as long to be told. */
static void who_has_nothing_to_show_is_told(void **state)
{
    (void)state;
    const kith_sim_link links[] = {{.delay_ns = KITH_SIM_MS}, {.delay_ns = KITH_SIM_MS, .jitter_ns = 50 * KITH_SIM_MS}};
    for (uint64_t seed = 0; seed < 6; seed++) {
        static world w;
        make_world(&w, 70 + seed, 3);
        assert_ok(pair(&w, 0, 1, false));
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        assert_ok(pair(&w, 2, 1, true));
        revoke(&w, 0, 1);
        kith_sim_lan_set_link(w.lan, &links[seed % 2]);
        kith_err err = pair(&w, 0, 1, true);
        if (err != KITH_ERR_REVOKED) fail_msg("world %llu: %s", (unsigned long long)seed, kith_err_name(err));
        end_world(&w);
    }
}

/* It is handed what its revoker knew, and nothing that came after. */
static void a_revoked_device_learns_no_more(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 60, 4);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
    revoke(&w, 0, 1);
    assert_ok(pair(&w, 0, 3, false)); /* later */
    assert_int_equal(ping(&w, 1, 0), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 1), KITH_MEMBER_REVOKED);
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER);
    assert_int_equal(state_of(&w, 1, 3), 0);
    assert_int_equal(state_of(&w, 0, 3), KITH_MEMBER);
    end_world(&w);
}

/* A thief of a device that was let in later revokes one before it, and tells it so.  One that has not heard of the
 * thief cannot know better, and says it until it meets one that does; one that has believes nothing. */
static void a_thief_silences_nobody(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 61, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    assert_ok(ping(&w, 2, 1));
    kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
    revoke(&w, 0, 2);
    revoke(&w, 2, 1); /* the thief */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(ping(&w, 1, 2), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_non_null(strstr(says(&w, 1), "this device was revoked by device2"));
    assert_ok(ping(&w, 1, 0)); /* which lets it in */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_string_equal(says(&w, 1), "");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(state_of(&w, i, 1), KITH_MEMBER);
        assert_int_equal(state_of(&w, i, 2), KITH_MEMBER_REVOKED);
    }
    assert_int_equal(ping(&w, 2, 0), KITH_ERR_REVOKED);
    assert_string_equal(says(&w, 0), "");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_non_null(strstr(says(&w, 2), "this device was revoked by device0"));
    end_world(&w);
}

/* ---- appeals ---- */

/* The thief, let in last, is quicker: the others hear that it has revoked the first device before they hear that this
 * one has revoked it.  They let the first one say so. */
static void who_was_let_in_earlier_is_heard(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 8, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, true));
    assert_ok(kith_sim_partition(w.v[0].host, w.v[2].host, true));
    revoke(&w, 2, 0);
    revoke(&w, 0, 2);
    assert_ok(ping(&w, 1, 2));
    kith_sim_run_for(w.sim, 60 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER_REVOKED);
    assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, false));
    assert_ok(kith_sim_partition(w.v[0].host, w.v[2].host, false));
    assert_ok(ping(&w, 0, 1));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER);
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER_REVOKED);
    assert_int_equal(records_of(&w, 0), records_of(&w, 1));
    assert_int_equal(ping(&w, 2, 1), KITH_ERR_REVOKED);
    assert_ok(ping(&w, 1, 0));
    end_world(&w);
}

static void apart(world *w, size_t a, size_t b, bool are)
{
    assert_ok(kith_sim_partition(w->v[a].host, w->v[b].host, are));
}

/* 1 was thrown out by the thief (2), has heard so, and pins nobody since.  By what 3 knows it is in; but 3, whom it
 * never met, is in its graph alone: 3 is heard all the same. */
static void who_is_out_hears_who_knows_better(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 9, 4);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    apart(&w, 1, 0, true), apart(&w, 1, 2, true), apart(&w, 1, 3, true);
    assert_ok(pair(&w, 0, 3, false));
    assert_ok(ping(&w, 2, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 2, 3), KITH_MEMBER);
    apart(&w, 2, 0, true), apart(&w, 2, 3, true);
    revoke(&w, 2, 1);
    apart(&w, 1, 2, false);
    assert_int_equal(ping(&w, 1, 2), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 1), KITH_MEMBER_REVOKED);
    assert_int_equal(state_of(&w, 1, 3), KITH_MEMBER);
    assert_false(pinned_as_own(&w, 1, 3));
    apart(&w, 1, 2, true), apart(&w, 1, 3, false);
    assert_int_equal(ping(&w, 3, 1), KITH_ERR_UNTRUSTED); /* it has nothing to say yet: it is 1 that is out */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    revoke(&w, 0, 2); /* without having heard of it */
    assert_ok(ping(&w, 3, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 3, 2), KITH_MEMBER_REVOKED);
    assert_ok(ping(&w, 3, 1));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 1), KITH_MEMBER);
    assert_true(pinned_as_own(&w, 1, 3));
    end_world(&w);
}

/* 0 founds its network with a code, and is revoked by a thief who was let in later; so 1 hears it. */
static void make_thrown_out(world *w, uint64_t seed, const uint8_t *code)
{
    kith_problem problem;
    kith_recovery_public pair_of;
    kith_graph_entry self;
    kith_graph *graph;
    make_world(w, seed, 3);
    kith_recovery_derive(code, &pair_of);
    kith_graph_entry_make(w->v[0].self.device.id, w->v[0].self.public_key, "device0", "Linux", "", &self);
    const kith_graph_author a = {.seed = w->v[0].seed, .self = &self, .now_ms = KITH_SIM_START_WALL_MS};
    assert_ok(kith_graph_new(&graph));
    assert_ok(kith_graph_found(graph, &a, &pair_of, NULL));
    assert_ok(kith_home_replace_graph(w->v[0].home, graph, &problem));
    kith_graph_free(graph);
    kith_sim_run_for(w->sim, KITH_SIM_S);
    assert_ok(pair(w, 0, 1, false));
    assert_ok(pair(w, 0, 2, false));
    assert_ok(ping(w, 1, 0));
    kith_sim_run_for(w->sim, 40 * KITH_SIM_S);
    revoke(w, 2, 0);
    assert_ok(ping(w, 1, 2));
    kith_sim_run_for(w->sim, 2 * KITH_SIM_S);
}

static void use_code(world *w, size_t by, size_t whom, const uint8_t *code, const uint8_t *next)
{
    kith_problem problem;
    kith_rng rng;
    kith_recovery_public pair_of;
    kith_graph_entry gone;
    const uint8_t rng_seed[KITH_RNG_SEED_SIZE] = {2};
    kith_rng_init(&rng, rng_seed);
    kith_recovery_derive(next, &pair_of);
    const kith_home_author who = {.seed = w->v[by].seed, .rng = &rng, .now_ms = KITH_SIM_START_WALL_MS};
    assert_ok(
        kith_home_revoke(w->v[by].home, &who, w->v[whom].self.device.id, "a thief", code, &pair_of, &gone, &problem));
    kith_rng_done(&rng);
}

/* It appealed in vain and says so itself; then it has a reason why not, and is heard: it says so no more. */
static void who_was_told_is_a_member_again(void **state)
{
    (void)state;
    static world w;
    char text[KITH_REVOCATION_TEXT_SIZE];
    kith_problem problem;
    const uint8_t code[KITH_RECOVERY_CODE_SIZE] = {1}, next[KITH_RECOVERY_CODE_SIZE] = {2};
    make_thrown_out(&w, 70, code);
    size_t records = records_of(&w, 1);
    assert_ok(kith_home_set_name(w.v[0].home, "renamed", &problem)); /* a record that 1 has not heard of */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(ping(&w, 0, 1), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_non_null(strstr(says(&w, 0), "this device was revoked by device2 on 20"));
    assert_int_equal(records_of(&w, 1), records);
    restart(&w, 0);
    assert_non_null(strstr(says(&w, 0), "this device was revoked by device2 on 20"));
    assert_int_equal(ping(&w, 0, 1), KITH_ERR_REVOKED);
    kith__own_told_text(w.v[0].core, text, sizeof text);
    assert_non_null(strstr(text, "device2"));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    use_code(&w, 0, 2, code, next);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_ok(ping(&w, 0, 1)); /* the first thing that 1 hears of it */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_string_equal(says(&w, 0), "");
    kith__own_told_text(w.v[0].core, text, sizeof text);
    assert_string_equal(text, kith_err_text(KITH_ERR_REVOKED));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(state_of(&w, i, 0), KITH_MEMBER);
        assert_int_equal(state_of(&w, i, 1), KITH_MEMBER);
        assert_int_equal(state_of(&w, i, 2), KITH_MEMBER_REVOKED);
    }
    assert_int_equal(records_of(&w, 0), records_of(&w, 1));
    assert_ok(ping(&w, 1, 0));
    end_world(&w);
}

#define FILE_SIZE (KITH_GROUP_SIZE + 1) /* from so much on TCP is better */

/* A file goes over a second connection beside the one that is heard: that waits, and is served. */
static void a_file_of_who_appeals_is_taken(void **state)
{
    (void)state;
    static world w;
    char id[KITH_UUID_TEXT_SIZE];
    const uint8_t code[KITH_RECOVERY_CODE_SIZE] = {1}, next[KITH_RECOVERY_CODE_SIZE] = {2};
    const kith_send_options options = {.size = sizeof options};
    make_thrown_out(&w, 71, code);
    use_code(&w, 0, 2, code, next);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    uint8_t *data = calloc(1, FILE_SIZE);
    assert_non_null(data);
    assert_ok(kith_sim_put_file(w.v[0].host, "/file", data, FILE_SIZE, 0600));
    free(data);
    kith_sim_set_work_delay(w.sim, KITH_SIM_S); /* so long a device is heard: for both connections to be there */
    forget_events(&w.v[0]), forget_events(&w.v[1]);
    kith_core_send_file(w.v[0].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), "/file", &options);
    assert_ok(ended(&w, &w.v[0]));
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "tcp");
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(count_events(&w.v[1], KITH_EVENT_FILE), 1);
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER);
    end_world(&w);
}

/* ---- worlds ---- */

/* Which devices have heard of a revocation, as far as they could: news travels with every session. */
static void live(uint64_t seed)
{
    static world w; /* events take megabytes */
    make_world(&w, seed, DEVICES);
    for (size_t i = 1; i < DEVICES; i++) assert_ok(pair(&w, (size_t)kith_sim_random(w.sim) % i, i, false));
    for (size_t i = 1; i < DEVICES; i++) assert_ok(ping(&w, i, 0));
    for (size_t i = 1; i < DEVICES; i++) assert_ok(ping(&w, i, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    for (size_t i = 0; i < DEVICES; i++)
        for (size_t k = 0; k < DEVICES; k++)
            if (state_of(&w, i, k) != KITH_MEMBER)
                fail_msg("seed %llu: %zu is not in for %zu", (unsigned long long)seed, k, i);
    /* One is stolen; another, admitted earlier or the first, revokes it while one more is cut off. */
    size_t thief = 1 + (size_t)kith_sim_random(w.sim) % (DEVICES - 1), by = 0, cut = thief;
    while (cut == thief || cut == by) cut = (size_t)kith_sim_random(w.sim) % DEVICES;
    for (size_t i = 0; i < DEVICES; i++)
        if (i != cut && i != thief) assert_ok(kith_sim_partition(w.v[cut].host, w.v[i].host, true));
    revoke(&w, by, thief);
    for (size_t i = 0; i < DEVICES; i++)
        if (i != by && i != cut && i != thief) assert_ok(ping(&w, i, by));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    for (size_t i = 0; i < DEVICES; i++) {
        if (i == thief) continue;
        kith_err err = ping(&w, thief, i);
        if (err != (i == cut ? KITH_OK : KITH_ERR_REVOKED))
            fail_msg("seed %llu: the thief at %zu: %s", (unsigned long long)seed, i, kith_err_name(err));
    }
    /* The cut is over: it meets anybody, and has heard; also when its session with the thief lives on. */
    for (size_t i = 0; i < DEVICES; i++)
        if (i != cut && i != thief) assert_ok(kith_sim_partition(w.v[cut].host, w.v[i].host, false));
    size_t other = cut;
    while (other == cut || other == thief) other = (size_t)kith_sim_random(w.sim) % DEVICES;
    kith_sim_run_for(w.sim, 40 * KITH_SIM_S); /* dead sessions are given up */
    assert_ok(ping(&w, cut, other));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    if (ping(&w, thief, cut) != KITH_ERR_REVOKED)
        fail_msg("seed %llu: the thief is still served", (unsigned long long)seed);
    for (size_t i = 0; i < DEVICES; i++)
        if (i != thief && (state_of(&w, i, thief) != KITH_MEMBER_REVOKED || pinned_as_own(&w, i, thief)))
            fail_msg("seed %llu: it is still in at %zu", (unsigned long long)seed, i);
    end_world(&w);
}

static void nobody_serves_a_revoked_device(void **state)
{
    (void)state;
    const char *one = getenv("KITH_SEED"), *text = getenv("KITH_SEEDS");
    uint64_t seeds = text ? strtoull(text, NULL, 10) / 50 + 1 : 8;
    if (one) {
        live(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) live(seed);
    printf("%llu worlds\n", (unsigned long long)seeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_revoked_device_is_refused_and_told),
                                       TEST(a_revoked_device_remembers),
                                       TEST(who_has_nothing_to_show_is_told),
                                       TEST(a_revoked_device_learns_no_more),
                                       TEST(a_thief_silences_nobody),
                                       TEST(who_was_let_in_earlier_is_heard),
                                       TEST(who_is_out_hears_who_knows_better),
                                       TEST(who_was_told_is_a_member_again),
                                       TEST(a_file_of_who_appeals_is_taken),
                                       TEST(nobody_serves_a_revoked_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
