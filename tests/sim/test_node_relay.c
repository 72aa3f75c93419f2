/* Devices behind NATs of every kind, and a relay between them: they find each other, talk at once, and go over to a
 * direct way where the NATs let them.  Whole nodes and the relay's own hub, in virtual time. */
#include "hostile_world.h"
#include "nat_world.h"
#include "service/code.h"

static const char *const kind_names[KINDS] = {"open", "full cone", "address", "port", "symmetric", "no UDP"};

/* While a device moves from one home to another; progress is told once a chunk, that is after 0.6 s. */
#define STALL       (5 * KITH_SIM_S / 4)
#define STALL_RELAY (5 * KITH_SIM_S / 2) /* where the relay is all there is, and has to be connected to anew */
#define DIRECT      (3 * KITH_SIM_S)
#define AWAY        (5 * KITH_SIM_S)     /* a relay that is away for a second is in use again */
#define TAKEN_OVER  (5 * KITH_SIM_S / 2) /* of which a chunk over the other one, far away, takes most */

/* Whether a hole can be punched between two such NATs: one that gives each remote another port (symmetric) is not
 * found by one that lets only those in whom it has sent to. */
static bool direct_is_possible(kind a, kind b)
{
    if (a == NO_UDP || b == NO_UDP) return false;
    bool strict_a = a == PORT || a == SYMMETRIC, strict_b = b == PORT || b == SYMMETRIC;
    return !((a == SYMMETRIC && strict_b) || (b == SYMMETRIC && strict_a));
}

static void every_pair_of_nats(void **state)
{
    (void)state;
    printf("                 ");
    for (int b = 0; b < KINDS; b++) printf("%-11s", kind_names[b]);
    printf("\n");
    for (kind a = 0; a < KINDS; a++) {
        printf("%-17s", kind_names[a]);
        for (kind b = 0; b < KINDS; b++) {
            static world w;
            world_make(&w, 1 + a * KINDS + b, a, b);
            open_both(&w);
            receive(&w);
            uint64_t start = kith_sim_now_ns(w.sim);
            const kith_event *first = pong(&w, 1);
            assert_string_equal(first->path, "relay");
            assert_string_equal(first->scope, "relay");
            kith_sim_run_for(w.sim, RELAYED);
            const kith_event *then = pong(&w, 1);
            bool direct = strcmp(then->path, "udp") == 0;
            printf("%-11s", then->path);
            if (direct != direct_is_possible(a, b))
                fail_msg("%s and %s: %s after %.1f s", kind_names[a], kind_names[b], then->path,
                         (double)(kith_sim_now_ns(w.sim) - start) / 1e9);
            w.v[0].count = 0;
            send(&w, KITH_PATH_ANY);
            check_arrived(&w);
            world_free(&w);
        }
        printf("\n");
    }
}

static void the_relay_alone(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 3, OPEN, OPEN);
    open_both(&w);
    receive(&w);
    send(&w, KITH_PATH_RELAY);
    check_arrived(&w);
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "relay");
    world_free(&w);
}

/* A direct way alone: no relay is asked although there is one. */
static void no_relay_where_none_is_wanted(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 3, PORT, PORT);
    open_both(&w);
    receive(&w);
    send(&w, KITH_PATH_UDP);
    if (!kith_sim_run_until(w.sim, ended, &w.v[0], 120 * KITH_SIM_S)) fail_msg("it does not end");
    assert_int_equal(last_event(&w.v[0], KITH_EVENT_END)->err, KITH_ERR_UNREACHABLE);
    assert_non_null(strstr(last_event(&w.v[0], KITH_EVENT_END)->message, "--path forbids the way over the relay"));
    world_free(&w);
}

static const char *ping_fails(world *w)
{
    char id[KITH_UUID_TEXT_SIZE];
    w->v[0].count = 0;
    kith_core_ping(w->v[0].core, ++w->v[0].last_op, kith_uuid_text(w->v[1].self.device.id, id), 1);
    if (!kith_sim_run_until(w->sim, ended, &w->v[0], 60 * KITH_SIM_S)) fail_msg("it does not end");
    const kith_event *end = last_event(&w->v[0], KITH_EVENT_END);
    assert_int_equal(end->err, KITH_ERR_UNREACHABLE);
    return end->message;
}

/* When it is the relay that does not help, that is what is said. */
static void a_relay_that_does_not_help(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 11, PORT, PORT);
    open_both(&w);
    assert_null(strstr(ping_fails(&w), "wss://relay.example/")); /* it does: the other device is not there */
    station_kill();
    send(&w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w.sim, ended, &w.v[0], 60 * KITH_SIM_S)) fail_msg("it does not end");
    assert_non_null(strstr(ping_fails(&w), "the relay wss://relay.example/ does not help: it does not answer"));
    station_start(w.relay);
    world_free(&w);
}

/* A relay that wants a token which nobody has. */
static void refusing_world(world *w, uint64_t seed)
{
    static const char text[] = "family tWnEbBcTa3jXQZ0BFq5LUmKp\n";
    kith_tokens *tokens;
    kith_relay_reason reason;
    world_make(w, seed, OPEN, OPEN);
    assert_ok(kith_tokens_read(text, strlen(text), &tokens, &reason));
    kith_hub_set_tokens(hub.hub, tokens, station_now(&hub));
    open_both(w);
}

/* Nobody is nearby, and the only relay has refused us: nothing is waited for, and it is asked once. */
static void a_relay_that_refuses_us(void **state)
{
    (void)state;
    static const kith_path paths[] = {KITH_PATH_ANY, KITH_PATH_RELAY};
    for (size_t i = 0; i < 2; i++) {
        static world w;
        refusing_world(&w, 12);
        uint64_t start = kith_sim_now_ns(w.sim);
        send(&w, paths[i]);
        if (!kith_sim_run_until(w.sim, ended, &w.v[0], 10 * KITH_SIM_S)) fail_msg("it waits");
        const kith_event *end = last_event(&w.v[0], KITH_EVENT_END);
        assert_int_equal(end->err, KITH_ERR_UNREACHABLE);
        assert_non_null(strstr(end->message, "it wants its operator's token"));
        assert_true(kith_sim_now_ns(w.sim) - start < 3 * KITH_SIM_S);
        kith_sim_run_for(w.sim, 30 * KITH_SIM_S);
        assert_int_equal(kith_hub_stats_of(hub.hub)->tokens_wrong, 1);
        world_free(&w);
    }
}

/* It says nothing of who is nearby, or of who comes later to where relays are not asked. */
static void a_relay_that_refuses_us_is_not_everything(void **state)
{
    (void)state;
    static world w;
    refusing_world(&w, 13);
    kith_sim_lan_set_discovery(w.net, 100 * KITH_SIM_MS, 0);
    receive(&w);
    send(&w, KITH_PATH_ANY);
    check_arrived(&w);
    world_free(&w);
    refusing_world(&w, 14);
    kith_sim_lan_set_discovery(w.net, 100 * KITH_SIM_MS, 0);
    send(&w, KITH_PATH_UDP);
    kith_sim_run_for(w.sim, 10 * KITH_SIM_S);
    receive(&w);
    check_arrived(&w);
    world_free(&w);
}

/* Two people who are nowhere near each other pair with six words. */
static void pairing_over_the_relay(void **state)
{
    (void)state;
    static world w;
    kith_pair_options options = {.size = sizeof options, .yes = true};
    world_make(&w, 5, PORT, SYMMETRIC);
    for (int i = 0; i < 2; i++) victim_open(&w.v[i]);
    kith_core_pair(w.v[1].core, ++w.v[1].last_op, &options);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    kith_core_join(w.v[0].core, ++w.v[0].last_op, last_event(&w.v[1], KITH_EVENT_CODE)->words, &options);
    if (!kith_sim_run_until(w.sim, ended, &w.v[0], 60 * KITH_SIM_S)) fail_msg("it does not end");
    assert_ok(last_event(&w.v[0], KITH_EVENT_END)->err);
    assert_int_equal(count_events(&w.v[0], KITH_EVENT_PAIRED), 1);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_int_equal(count_events(&w.v[1], KITH_EVENT_PAIRED), 1);
    w.v[0].count = 0;
    receive(&w);
    send(&w, KITH_PATH_ANY);
    check_arrived(&w);
    world_free(&w);
}

static void join(victim *v, const char *words)
{
    kith_pair_options options = {.size = sizeof options, .yes = true};
    v->count = 0;
    kith_core_join(v->core, ++v->last_op, words, &options);
    if (!kith_sim_run_until(v->sim, ended, v, 60 * KITH_SIM_S)) fail_msg("it does not end");
}

/* Somebody at the relay who found the two public words guesses the rest: that is his loss alone. */
static void a_stranger_at_the_relay_burns_no_code(void **state)
{
    (void)state;
    static world w;
    static victim eve;
    kith_pair_options options = {.size = sizeof options, .yes = true};
    char wrong[KITH_WORDS_TEXT], right[KITH_WORDS_TEXT];
    world_make(&w, 7, PORT, PORT);
    eve = (victim){.sim = w.sim, .relay = w.v[0].relay};
    assert_ok(kith_sim_host_new(w.sim, "eve", &eve.host));
    assert_ok(kith_sim_attach(eve.host, w.net, "203.0.113.30"));
    victim_home(&eve, "eve");
    victim_open(&eve);
    for (int i = 0; i < 2; i++) victim_open(&w.v[i]);
    kith_core_pair(w.v[1].core, ++w.v[1].last_op, &options);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    snprintf(right, sizeof right, "%s", last_event(&w.v[1], KITH_EVENT_CODE)->words);
    snprintf(wrong, sizeof wrong, "%s", right);
    snprintf(strrchr(wrong, ' '), 9, " %s", strcmp(strrchr(right, ' '), " zoo") ? "zoo" : "zone");
    for (size_t i = 1; i <= KITH_CODE_FAILURES_SOURCE; i++) {
        join(&eve, wrong);
        assert_int_equal(last_event(&eve, KITH_EVENT_END)->err, KITH_ERR_CODE);
        assert_int_equal(count_events(&w.v[1], KITH_EVENT_ATTEMPT), i);
    }
    join(&eve, wrong);
    assert_int_equal(last_event(&eve, KITH_EVENT_END)->err, KITH_ERR_CODE_BURNT);
    assert_int_equal(count_events(&w.v[1], KITH_EVENT_END), 0);
    join(&w.v[0], right);
    assert_ok(last_event(&w.v[0], KITH_EVENT_END)->err);
    victim_close(&eve);
    world_free(&w);
}

static void a_device_that_serves_nothing_is_not_there(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 6, PORT, PORT);
    open_both(&w);
    send(&w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w.sim, ended, &w.v[0], 60 * KITH_SIM_S)) fail_msg("it does not end");
    assert_int_equal(last_event(&w.v[0], KITH_EVENT_END)->err, KITH_ERR_UNREACHABLE);
    world_free(&w);
}

/* It comes while the sender waits. */
static void a_device_that_comes_later(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 7, SYMMETRIC, PORT);
    open_both(&w);
    send(&w, KITH_PATH_ANY);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    receive(&w);
    check_arrived(&w);
    world_free(&w);
}

static bool some_is_through(void *user)
{
    const kith_event *e = last_event(user, KITH_EVENT_PROGRESS);
    return e && e->bytes > SIZE / 8;
}

/* The relay is killed and started anew in the middle of a transfer that has no other way. */
static void a_relay_that_is_started_anew(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 8, SYMMETRIC, SYMMETRIC);
    const kith_sim_link slow = {.delay_ns = 10 * KITH_SIM_MS, .rate = 1000000, .queue = 200000, .mtu = 1500};
    kith_sim_lan_set_link(w.net, &slow);
    open_both(&w);
    receive(&w);
    send(&w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w.sim, some_is_through, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
    station_kill();
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    station_start(w.relay);
    check_arrived(&w);
    world_free(&w);
}

/* Until it is through: the longest time in which nothing came, and when, after `from_ns`, the direct way was used. */
typedef struct gaps {
    uint64_t longest_ns, direct_ns;
} gaps;

static gaps watch_progress(world *w, uint64_t from_ns)
{
    gaps g = {0};
    uint64_t bytes = 0, last_ns = kith_sim_now_ns(w->sim);
    while (!last_event(&w->v[0], KITH_EVENT_END)) {
        kith_sim_run_for(w->sim, 10 * KITH_SIM_MS);
        const kith_event *e = last_event(&w->v[0], KITH_EVENT_PROGRESS);
        uint64_t now = kith_sim_now_ns(w->sim);
        if (e && e->bytes > bytes) {
            bytes = e->bytes;
            last_ns = now;
        }
        if (now - last_ns > g.longest_ns) g.longest_ns = now - last_ns;
        if (!g.direct_ns && now > from_ns + STALL && !strcmp(e->path, "udp")) g.direct_ns = now - from_ns;
        if (now > from_ns + 120 * KITH_SIM_S) fail_msg("it does not end");
    }
    return g;
}

/* ---- a relay that goes ---- */

/* Killed, its machine's connections end; or nothing of it is heard any more. */
typedef enum death { KILLED, SILENT, DEATHS } death;

static void goes(world *w, death how)
{
    if (how == KILLED) station_kill();
    for (int i = 0; how == SILENT && i < 2; i++) assert_ok(kith_sim_partition(w->v[i].host, w->relay, true));
}

static void slow_transfer(world *w)
{
    const kith_sim_link slow = {.delay_ns = 10 * KITH_SIM_MS, .rate = 2000000, .queue = 200000, .mtu = 1500};
    kith_sim_lan_set_link(w->net, &slow);
    put_file(w, BIG);
    receive(w);
    send(w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w->sim, some_is_through, &w->v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
}

/* In the middle of a file that has no other way it is away for a second: those who need it are back soon after. */
static void a_relay_that_is_away_for_a_moment(void **state)
{
    (void)state;
    uint64_t longest = 0;
    for (uint64_t seed = 30; seed < 42; seed++) {
        static world w;
        death how = seed % DEATHS;
        world_make(&w, seed, SYMMETRIC, SYMMETRIC);
        open_both(&w);
        slow_transfer(&w);
        goes(&w, how);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        for (int i = 0; how == SILENT && i < 2; i++) assert_ok(kith_sim_partition(w.v[i].host, w.relay, false));
        if (how == KILLED) station_start(w.relay);
        gaps g = watch_progress(&w, kith_sim_now_ns(w.sim));
        if (g.longest_ns > longest) longest = g.longest_ns;
        if (g.longest_ns > AWAY) fail_msg("seed %d: nothing came for %.2f s", (int)seed, (double)g.longest_ns / 1e9);
        check_arrived(&w);
        assert_int_equal(count_events(&w.v[0], KITH_EVENT_CONNECTED), 1); /* the same session */
        world_free(&w);
    }
    printf("the longest: %.2f s\n", (double)longest / 1e9);
}

/* There is another: the file goes on over that. */
static void another_relay_takes_over(void **state)
{
    (void)state;
    static station second;
    for (death how = 0; how < DEATHS; how++) {
        static world w;
        kith_sim_host *host;
        world_make(&w, 50 + how, SYMMETRIC, SYMMETRIC);
        assert_ok(kith_sim_host_new(w.sim, "relay2", &host));
        assert_ok(kith_sim_attach(host, w.net, "203.0.113.2"));
        assert_ok(kith_sim_name(w.sim, "relay2.example", "203.0.113.2"));
        station_start_at(&second, host, "relay2.example");
        const kith_sim_link far = {.delay_ns = 60 * KITH_SIM_MS, .mtu = 1500};
        for (int i = 0; i < 2; i++) {
            assert_ok(kith_sim_pair_link(kith_sim_nat_host(w.nats[i]), host, &far)); /* so the first is used */
            w.v[i].relay2 = "wss://relay2.example/";
        }
        open_both(&w);
        slow_transfer(&w);
        goes(&w, how);
        gaps g = watch_progress(&w, kith_sim_now_ns(w.sim));
        if (g.longest_ns > TAKEN_OVER) fail_msg("%d: nothing came for %.2f s", how, (double)g.longest_ns / 1e9);
        printf("the longest: %.2f s\n", (double)g.longest_ns / 1e9);
        check_arrived(&w);
        assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "relay");
        assert_int_equal(count_events(&w.v[0], KITH_EVENT_CONNECTED), 1);
        station_kill_at(&second);
        if (how == KILLED) station_start(w.relay);
        world_free(&w);
    }
}

/* From one home to another, where it has the same address or not: the file goes on at once, and soon directly, if that
 * is possible. */
static void to_another_home(int who, kind k, const char *address)
{
    static world w;
    const kith_sim_link slow = {.delay_ns = 10 * KITH_SIM_MS, .rate = 2000000, .queue = 200000, .mtu = 1500};
    kith_sim_nat_config config = nat_of(k);
    kith_sim_lan *home;
    kith_sim_nat *nat;
    world_make(&w, 10, k, k);
    assert_ok(kith_sim_lan_new(w.sim, "another home", &home));
    assert_ok(kith_sim_nat_new(w.sim, home, w.net, "203.0.113.30", &config, &nat));
    open_both(&w);
    receive(&w);
    (void)pong(&w, 1);
    kith_sim_run_for(w.sim, RELAYED);
    kith_sim_lan_set_link(w.net, &slow);
    w.v[0].count = 0;
    put_file(&w, BIG);
    send(&w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w.sim, some_is_through, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
    kith_sim_detach(w.v[who].host, w.homes[who]);
    assert_ok(kith_sim_attach(w.v[who].host, home, address));
    gaps g = watch_progress(&w, kith_sim_now_ns(w.sim));
    if (g.longest_ns > (k == SYMMETRIC ? STALL_RELAY : STALL))
        fail_msg("%d, %s, %s: nothing came for %.2f s", who, kind_names[k], address, (double)g.longest_ns / 1e9);
    if (k == SYMMETRIC ? g.direct_ns != 0 : !g.direct_ns || g.direct_ns > DIRECT)
        fail_msg("%d, %s, %s: direct after %.2f s", who, kind_names[k], address, (double)g.direct_ns / 1e9);
    check_arrived(&w);
    assert_int_equal(count_events(&w.v[0], KITH_EVENT_CONNECTED), 1);
    world_free(&w);
}

static void one_moves_to_another_home(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        to_another_home(who, PORT, "192.168.1.77");
        to_another_home(who, PORT, "192.168.1.10"); /* as before */
        to_another_home(who, SYMMETRIC, "192.168.1.77");
        to_another_home(who, SYMMETRIC, "192.168.1.10");
    }
}

/* A direct way that goes: back to the relay, in the same session. */
static void back_to_the_relay(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 9, OPEN, OPEN);
    const kith_sim_link slow = {.delay_ns = 10 * KITH_SIM_MS, .rate = 1000000, .queue = 200000, .mtu = 1500};
    kith_sim_lan_set_link(w.net, &slow);
    open_both(&w);
    receive(&w);
    (void)pong(&w, 1);
    kith_sim_run_for(w.sim, RELAYED);
    assert_string_equal(pong(&w, 1)->path, "udp");
    w.v[0].count = 0;
    send(&w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w.sim, some_is_through, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
    assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, true));
    check_arrived(&w);
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "relay");
    assert_int_equal(count_events(&w.v[0], KITH_EVENT_CONNECTED), 1);
    assert_int_equal(count_events(&w.v[0], KITH_EVENT_WAITING), 0);
    world_free(&w);
}

/* Another process of the same device, which takes files, but from somebody else. */
static void open_other(victim *v, const victim *first)
{
    kith_problem problem = {0};
    kith_receive_options options = {
        .size = sizeof options, .folder = "/in", .from = "01890000-0000-7000-8000-000000000099"};
    *v = (victim){.sim = first->sim, .host = first->host, .relay = first->relay};
    assert_ok(kith_sim_env_new(v->host, &v->env));
    assert_ok(kith_home_open(v->env, "/home", &v->home));
    if (kith_home_unlock(v->home, (kith_bytes){"pw", 2}, &v->seed, &problem)) fail_msg("%s", problem.message);
    victim_open(v);
    kith_core_receive(v->core, ++v->last_op, &options);
}

#define OTHERS 3

/* The relay leads to the node that registered last, which does not take the file, nor do the two before that: the one
 * that does is found, and when there is none that is said. */
static void nodes_of_a_device_behind_a_relay(void **state)
{
    (void)state;
    for (int takes = 0; takes < 2; takes++) {
        static world w;
        static victim other[OTHERS];
        world_make(&w, 31, SYMMETRIC, SYMMETRIC);
        open_both(&w);
        if (takes) receive(&w);
        for (size_t i = 0; i < OTHERS; i++) {
            open_other(&other[i], &w.v[1]);
            kith_sim_run_for(w.sim, KITH_SIM_S);
        }
        send(&w, KITH_PATH_ANY);
        if (takes) check_arrived(&w);
        if (!kith_sim_run_until(w.sim, ended, &w.v[0], 10 * KITH_SIM_S)) fail_msg("it does not end");
        if (!takes) assert_int_equal(last_event(&w.v[0], KITH_EVENT_END)->err, KITH_ERR_NOT_ALLOWED);
        for (size_t i = 0; i < OTHERS; i++) victim_close(&other[i]);
        world_free(&w);
    }
}

/* A relay that does not know of leaving instances out leads to the same node again: that ends, with what that node
 * says, and a file that the last one takes is taken. */
static void nodes_of_a_device_behind_an_old_relay(void **state)
{
    (void)state;
    for (int takes = 0; takes < 2; takes++) {
        static world w;
        static victim other;
        world_make(&w, 32, SYMMETRIC, SYMMETRIC);
        hub.old = true;
        if (takes) { /* the node that takes it registers last */
            open_other(&other, &w.v[1]);
            kith_sim_run_for(w.sim, KITH_SIM_S);
        }
        open_both(&w);
        receive(&w);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        if (!takes) {
            open_other(&other, &w.v[1]);
            kith_sim_run_for(w.sim, KITH_SIM_S);
        }
        send(&w, KITH_PATH_ANY);
        if (takes) check_arrived(&w);
        if (!kith_sim_run_until(w.sim, ended, &w.v[0], 20 * KITH_SIM_S)) fail_msg("it does not end");
        kith_err err = last_event(&w.v[0], KITH_EVENT_END)->err;
        assert_int_equal(err, takes ? KITH_OK : KITH_ERR_NOT_ALLOWED);
        victim_close(&other);
        world_free(&w);
    }
}

/* The node that registered last hangs, with its connection to the relay standing: the one before it is reached. */
static void a_node_behind_a_relay_that_is_silent(void **state)
{
    (void)state;
    static world w;
    static victim other;
    world_make(&w, 33, SYMMETRIC, SYMMETRIC);
    open_both(&w);
    receive(&w);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    open_other(&other, &w.v[1]);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    station_silence(&hub);
    send(&w, KITH_PATH_ANY);
    check_arrived(&w);
    victim_close(&other);
    world_free(&w);
}

/* One that does not take it has said so, and of the others the relay asks a silent one first, for as long as it waits
 * for that: the dialler waits longer. */
static void a_silent_node_among_those_behind_a_relay(void **state)
{
    (void)state;
    static world w;
    static victim silent, other;
    world_make(&w, 34, SYMMETRIC, SYMMETRIC);
    open_both(&w);
    receive(&w);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    open_other(&silent, &w.v[1]);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    station_silence(&hub);
    open_other(&other, &w.v[1]);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    send(&w, KITH_PATH_ANY);
    check_arrived(&w);
    victim_close(&silent);
    victim_close(&other);
    world_free(&w);
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    for (size_t i = 0; i < BIG; i += 61) content[i] = (uint8_t)(i >> 7);
    const struct CMUnitTest tests[] = {
        TEST(nodes_of_a_device_behind_a_relay),
        TEST(nodes_of_a_device_behind_an_old_relay),
        TEST(a_node_behind_a_relay_that_is_silent),
        TEST(a_silent_node_among_those_behind_a_relay),
        TEST(every_pair_of_nats),
        TEST(the_relay_alone),
        TEST(no_relay_where_none_is_wanted),
        TEST(a_relay_that_does_not_help),
        TEST(a_relay_that_refuses_us),
        TEST(a_relay_that_refuses_us_is_not_everything),
        TEST(pairing_over_the_relay),
        TEST(a_stranger_at_the_relay_burns_no_code),
        TEST(a_device_that_serves_nothing_is_not_there),
        TEST(a_device_that_comes_later),
        TEST(a_relay_that_is_started_anew),
        TEST(back_to_the_relay),
        TEST(one_moves_to_another_home),
        TEST(a_relay_that_is_away_for_a_moment),
        TEST(another_relay_takes_over),
    };
    return cmocka_run_group_tests_name("sim/node_relay", tests, NULL, NULL);
}
