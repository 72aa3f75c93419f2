/* Who waits for whom: of two devices each has limits of its own, and what one of them still says, over a link that is
 * slow and loses packets, the other is still there to hear (docs/protocol.md, "Who waits how long"). */
#include "node/dial.h"
#include "own_world.h"
#include "service/pairing.h"

#include <stdlib.h>

#define WAY(rtt_ms) .delay_ns = (rtt_ms)*KITH_SIM_MS / 4, .jitter_ns = 5 * KITH_SIM_MS /* of both hosts' links */

static const kith_sim_link slow = {WAY(300)}, lossy = {WAY(300), .loss = 0.1}, worst = {WAY(1000), .loss = 0.2};

static void close_now(victim *v)
{
    v->closed = false;
    kith_core_close(v->core, victim_closed, v);
}

static void end_world_without(world *w, victim *v)
{
    if (!kith_sim_run_until(w->sim, victim_is_closed, v, 60 * KITH_SIM_S)) fail_msg("the node does not close");
    victim_release(v);
    end_world(w);
}

/* The command at the host ends with its operation; the joiner has the network all the same. */
static void who_shows_a_code_may_leave_when_it_is_paired(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        static world w;
        make_world(&w, 500 + seed, 2);
        kith_sim_lan_set_link(w.lan, &lossy);
        victim *host = &w.v[0], *joiner = &w.v[1];
        const kith_pair_options options = {.size = sizeof options, .yes = true};
        kith_core_pair(host->core, w.op++, &options);
        kith_core_join(joiner->core, w.op++, last_event(host, KITH_EVENT_CODE)->words, &options);
        assert_ok(ended(&w, host));
        close_now(host);
        assert_ok(ended(&w, joiner));
        if (state_of(&w, 1, 0) != KITH_MEMBER) fail_msg("world %llu: left outside", (unsigned long long)seed);
        end_world_without(&w, host);
    }
}

typedef struct wait_pin {
    world *w;
    size_t i, whom;
} wait_pin;

static bool has_pinned(void *user)
{
    const wait_pin *p = user;
    return pinned_as_own(p->w, p->i, p->whom);
}

/* The host dies when both have stored the pairing: who wanted to leave its own devices for the host's has not. */
static void who_is_left_outside_is_told(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 520, 3);
    assert_ok(pair(&w, 0, 1, false));
    kith_sim_lan_set_link(w.lan, &slow);
    victim *host = &w.v[2], *joiner = &w.v[1];
    const kith_pair_options options = {.size = sizeof options, .yes = true, .replace_network = true};
    forget_events(joiner);
    kith_core_pair(host->core, w.op++, &options);
    kith_core_join(joiner->core, w.op++, last_event(host, KITH_EVENT_CODE)->words, &options);
    wait_pin at_host = {.w = &w, .i = 2, .whom = 1};
    assert_true(kith_sim_run_until(w.sim, has_pinned, &at_host, 60 * KITH_SIM_S));
    kith_sim_run_for(w.sim, KITH_SIM_MS);
    kith_sim_kill(host->env);
    victim_release(host);
    assert_int_equal(ended(&w, joiner), KITH_ERR_LOST);
    assert_non_null(strstr(last_event(joiner, KITH_EVENT_END)->message, "kith join --replace-master"));
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER);
    end_world(&w);
}

/* `late` answers so long before its question ends.  What comes of it is the same for both. */
static void answer_late(uint64_t seed, bool late_is_host, uint64_t before_ns)
{
    static world w;
    make_world(&w, seed, 2);
    kith_sim_lan_set_link(w.lan, &slow);
    victim *host = &w.v[0], *joiner = &w.v[1], *late = late_is_host ? host : joiner;
    const kith_pair_options options = {.size = sizeof options};
    kith_op asked_at_host = w.op++, asked_at_joiner = w.op++;
    kith_core_pair(host->core, asked_at_host, &options);
    kith_core_join(joiner->core, asked_at_joiner, last_event(host, KITH_EVENT_CODE)->words, &options);
    for (int i = 0; i < 100 && !last_event(late, KITH_EVENT_ASK); i++) kith_sim_run_for(w.sim, KITH_SIM_MS * 50);
    assert_non_null(last_event(late, KITH_EVENT_ASK));
    uint64_t asked_ns = kith__core_now(late->core);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    if (late_is_host)
        kith_core_answer(joiner->core, asked_at_joiner, true);
    else
        kith_core_answer(host->core, asked_at_host, true);
    kith_sim_run_for(w.sim, asked_ns + KITH_PAIR_PEOPLE_NS - before_ns - kith__core_now(late->core));
    kith_core_answer(late->core, late_is_host ? asked_at_host : asked_at_joiner, true);
    kith_err at_host = ended(&w, host), at_joiner = ended(&w, joiner);
    bool host_has = pinned_as_own(&w, 0, 1), joiner_has = pinned_as_own(&w, 1, 0);
    if (host_has != joiner_has || at_host != at_joiner)
        fail_msg("%s, %llu ms before: %s and %s", late_is_host ? "host" : "joiner",
                 (unsigned long long)(before_ns / KITH_SIM_MS), kith_err_name(at_host), kith_err_name(at_joiner));
    end_world(&w);
}

static void who_answers_in_the_last_moment_is_paired_or_not(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 12; i++) {
        answer_late(540 + i, false, i * 50 * KITH_SIM_MS);
        answer_late(560 + i, true, i * 50 * KITH_SIM_MS);
    }
}

static void stop_receiving(world *w, size_t i)
{
    kith_core_cancel(w->v[i].core, i + 1); /* make_device */
    kith_sim_run_for(w->sim, KITH_SIM_S);
}

static void send_small(world *w, size_t from, size_t to)
{
    char id[KITH_UUID_TEXT_SIZE];
    kith_send_options options = {.size = sizeof options};
    assert_ok(kith_sim_put_file(w->v[from].host, "/film", (const uint8_t *)"film", 4, 0644));
    forget_events(&w->v[from]);
    kith_core_send_file(w->v[from].core, w->op++, kith_uuid_text(w->v[to].self.device.id, id), "/film", &options);
}

/* A node listens before it receives: who comes in that moment, at the address it remembers, is not sent away. */
static void who_has_just_been_started_is_asked_again(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 580, 2);
    assert_ok(pair(&w, 0, 1, false));
    stop_receiving(&w, 0);
    send_small(&w, 1, 0);
    kith_sim_run_for(w.sim, KITH_SIM_S / 10);
    const kith_receive_options options = {.size = sizeof options, .folder = "/in"};
    kith_core_receive(w.v[0].core, w.op++, &options);
    assert_ok(ended(&w, &w.v[1]));
    end_world(&w);
}

static void who_does_not_receive_says_so_once_more(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 581, 2);
    assert_ok(pair(&w, 0, 1, false));
    stop_receiving(&w, 0);
    uint64_t begun_ns = kith__core_now(w.v[1].core);
    send_small(&w, 1, 0);
    assert_int_equal(ended(&w, &w.v[1]), KITH_ERR_NOT_ALLOWED);
    assert_in_range(kith__core_now(w.v[1].core) - begun_ns, 0, 2 * DIAL_OTHERS_NS);
    end_world(&w);
}

/* Who dialled closes a session that is idle, and that may cross what the other begins over it. */
static void what_crosses_the_end_of_an_idle_session_is_begun_anew(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 24; i++) {
        static world w;
        make_world(&w, 590, 2);
        assert_ok(pair(&w, 0, 1, false));
        kith_sim_run_for(w.sim, 60 * KITH_SIM_S);
        kith_sim_lan_set_link(w.lan, &slow);
        assert_ok(ping(&w, 1, 0));
        kith_sim_run_for(w.sim, SESSION_IDLE_NS + i * 50 * KITH_SIM_MS - 300 * KITH_SIM_MS);
        kith_err err = ping(&w, 0, 1);
        if (err) fail_msg("%llu: %s", (unsigned long long)i, kith_err_name(err));
        end_world(&w);
    }
}

/* A command waits for one file and ends with it, however that ended.  What the sender says of it. */
static kith_err sent_to_one_who_leaves(uint64_t seed, bool full)
{
    static world w;
    const kith_receive_options options = {.size = sizeof options, .folder = "/in", .once = true};
    make_world(&w, seed, 2);
    assert_ok(pair(&w, 0, 1, false));
    stop_receiving(&w, 0);
    kith_sim_lan_set_link(w.lan, &worst);
    forget_events(&w.v[0]);
    kith_core_receive(w.v[0].core, w.op++, &options);
    if (full) kith_sim_set_capacity(w.v[0].host, kith_sim_disk_used(w.v[0].host));
    send_small(&w, 1, 0);
    kith_err there = ended(&w, &w.v[0]);
    if (!full) assert_ok(there);
    assert_true(full == (last_event(&w.v[0], KITH_EVENT_FAILED) != NULL));
    close_now(&w.v[0]);
    kith_err err = ended(&w, &w.v[1]);
    end_world_without(&w, &w.v[0]);
    return err;
}

static void who_receives_one_file_may_leave_when_it_is_there(void **state)
{
    (void)state;
    for (uint64_t seed = 678; seed < 688; seed++) {
        kith_err err = sent_to_one_who_leaves(seed, false);
        if (err) fail_msg("world %llu: %s", (unsigned long long)seed, kith_err_name(err));
    }
}

/* It cannot be stored: the sender hears so. */
static void who_cannot_store_the_one_file_may_leave(void **state)
{
    (void)state;
    for (uint64_t seed = 650; seed < 660; seed++) {
        kith_err err = sent_to_one_who_leaves(seed, true);
        if (err != KITH_ERR_REMOTE_STORAGE) fail_msg("world %llu: %s", (unsigned long long)seed, kith_err_name(err));
    }
}

/* It is handed the record that revokes it, so that it knows by its own files from then on. */
static void who_is_revoked_has_what_says_so(void **state)
{
    (void)state;
    for (uint64_t seed = 26; seed < 36; seed++) {
        static world w;
        make_world(&w, 700 + seed, 3);
        assert_ok(pair(&w, 0, 1, false));
        assert_ok(pair(&w, 0, 2, false));
        kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
        revoke(&w, 0, 2);
        kith_sim_lan_set_link(w.lan, &worst);
        kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
        (void)ping(&w, 2, 0);
        kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
        if (state_of(&w, 2, 2) != KITH_MEMBER_REVOKED) fail_msg("world %llu: not handed", (unsigned long long)seed);
        end_world(&w);
    }
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    const struct CMUnitTest tests[] = {TEST(who_shows_a_code_may_leave_when_it_is_paired),
                                       TEST(who_is_left_outside_is_told),
                                       TEST(who_answers_in_the_last_moment_is_paired_or_not),
                                       TEST(who_has_just_been_started_is_asked_again),
                                       TEST(who_does_not_receive_says_so_once_more),
                                       TEST(what_crosses_the_end_of_an_idle_session_is_begun_anew),
                                       TEST(who_receives_one_file_may_leave_when_it_is_there),
                                       TEST(who_cannot_store_the_one_file_may_leave),
                                       TEST(who_is_revoked_has_what_says_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
