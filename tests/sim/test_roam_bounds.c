/* What a session tells of our addresses and asks of others': in which order, how much of it, and what is not done. */
#include "nat_world.h"
#include "node/roam.h"

#define TOLD_BYTES 8192 /* ROAM_UNSENT_MAX, said again: who changes it has to mean it */

static kith_candidates told; /* the last that was heard, of any line */
static size_t tellings;
static kith_control_reader readers[CONNS_MAX];
static size_t skip[CONNS_MAX]; /* bytes of number and hello still to come; SIZE_MAX: not begun */

static void hears(line *l, const uint8_t *data, size_t size)
{
    size_t at = (size_t)(l - l->owner->lines);
    if (skip[at] == SIZE_MAX) { /* it begins with them whole: they are in one packet */
        kith_reader r = kith_reader_of(data, size);
        (void)kith_read_varint(&r);
        uint64_t length = kith_read_varint(&r);
        skip[at] = size - kith_reader_left(&r) + (size_t)length;
    }
    size_t n = skip[at] < size ? skip[at] : size;
    skip[at] -= n;
    for (; n < size;) {
        const uint8_t *message;
        size_t length;
        n += kith_control_add(&readers[at], data + n, size - n, &message, &length);
        if (message && !kith_candidates_read(message, length, &told)) tellings++;
    }
}

static void contact_make(hostile *h, world *w, kith_sim_lan *lan, const char *name, const char *addr)
{
    hostile_make(h, w->sim, lan, name, addr);
    h->hear = hears;
    trust(&w->v[1], h, KITH_PEER_CONTACT, false);
    memset(readers, 0, sizeof readers);
    for (size_t i = 0; i < CONNS_MAX; i++) skip[i] = SIZE_MAX;
    tellings = 0;
}

static void say(hostile *h, line *l, const kith_candidates *candidates)
{
    uint8_t message[KITH_CANDIDATES_ENCODED], prefix[8];
    size_t size;
    kith_writer w = kith_writer_of(prefix, sizeof prefix);
    assert_ok(kith_candidates_write(candidates, message, sizeof message, &size));
    kith_write_varint(&w, size);
    assert_ok(kith_stream_write(l->control, prefix, kith_writer_size(&w)));
    assert_ok(kith_stream_write(l->control, message, size));
    quic_env_flush(&h->quic);
}

/* The receiver is on more networks than it can tell of. */
static void many_addresses(world *w)
{
    char text[64];
    for (int i = 0; i < KITH_CANDIDATES_MAX + 4; i++) {
        kith_sim_lan *lan;
        snprintf(text, sizeof text, "another %d", i);
        assert_ok(kith_sim_lan_new(w->sim, text, &lan));
        snprintf(text, sizeof text, "2001:db8:%d::1", i + 1);
        assert_ok(kith_sim_attach(w->v[1].host, lan, text));
    }
}

static const session *first_session(const victim *v)
{
    assert_ptr_not_equal(v->core->sessions.head.next, &v->core->sessions.head);
    return KITH_OF(v->core->sessions.head.next, const session, link);
}

/* ---- */

/* Of a device with more addresses than can be told: what works from outside is among them. */
static void what_relays_see_is_told_first(void **state)
{
    (void)state;
    static world w;
    static hostile h;
    kith_addr outside, local;
    world_make(&w, 60, OPEN, SYMMETRIC);
    many_addresses(&w);
    open_both(&w);
    receive(&w);
    contact_make(&h, &w, w.homes[1], "contact", "192.168.1.66");
    line *l = dial_node(&h, &w.v[1], "192.168.1.10");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_ok(kith_addr_parse("203.0.113.20:1", &outside));
    local = kith_core_local(w.v[1].core);
    assert_int_equal(told.count, KITH_CANDIDATES_MAX);
    assert_true(told.tcp);
    for (size_t i = 0; i < told.count; i++) assert_int_equal(kith_addr_same_ip(&told.addrs[i], &outside), i < 2);
    assert_int_not_equal(told.addrs[0].port, local.port); /* as its datagrams come out; */
    for (size_t i = 1; i < told.count; i++) assert_int_equal(told.addrs[i].port, local.port); /* a forwarded port */
    hang_up(&h, l, 0);
    hostile_free(&h);
    world_free(&w);
}

static kith_env_net counting;
static const kith_env_net *real;
static size_t asked;
static size_t count_addresses(kith_env *env, kith_interface_addr *out, size_t cap)
{
    asked++;
    return real->addresses(env, out, cap);
}

/* The system is asked for its addresses once for all sessions, and they all tell. */
static void a_change_is_asked_about_once(void **state)
{
    (void)state;
    static world w;
    static hostile h;
    line *lines[12];
    world_make(&w, 61, OPEN, OPEN);
    real = w.v[1].env->net;
    counting = *real;
    counting.addresses = count_addresses;
    w.v[1].env->net = &counting;
    open_both(&w);
    contact_make(&h, &w, w.net, "contact", "203.0.113.66");
    for (size_t i = 0; i < 12; i++) lines[i] = dial_node(&h, &w.v[1], "203.0.113.20");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    asked = tellings = 0;
    assert_ok(kith_sim_attach(w.v[1].host, w.net, "203.0.113.21"));
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(tellings, 12);
    assert_int_equal(told.count, 2);
    assert_int_equal(asked, 2); /* which there are now, and what of it is told */
    for (size_t i = 0; i < 12; i++) hang_up(&h, lines[i], 0);
    hostile_free(&h);
    world_free(&w);
}

/* A peer that takes none, of whom nothing is heard: what waits for it has a bound, however often addresses change. */
static void what_waits_to_be_told_is_bounded(void **state)
{
    (void)state;
    static world w;
    static hostile h;
    size_t most = 0;
    world_make(&w, 62, OPEN, OPEN);
    many_addresses(&w);
    open_both(&w);
    contact_make(&h, &w, w.net, "contact", "203.0.113.66");
    (void)dial_node(&h, &w.v[1], "203.0.113.20");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_ok(kith_sim_partition(w.v[1].host, h.host, true));
    for (int i = 0; i < 100; i++) {
        assert_ok(kith_sim_change_addr(w.v[1].host, i % 2 ? "203.0.113.21" : "203.0.113.20",
                                       i % 2 ? "203.0.113.20" : "203.0.113.21"));
        kith_sim_run_for(w.sim, KITH_SIM_S / 4);
        size_t unsent = kith_stream_unsent(first_session(&w.v[1])->control_out);
        if (unsent > most) most = unsent;
    }
    assert_int_equal(TOLD_BYTES, ROAM_UNSENT_MAX);
    assert_in_range(most, TOLD_BYTES / 2, TOLD_BYTES + KITH_CANDIDATES_ENCODED + 8);
    hostile_free(&h);
    world_free(&w);
}

/* --path udp: a session that falls silent makes nobody go to a relay. */
static void no_relay_is_woken_where_none_is_wanted(void **state)
{
    (void)state;
    for (int any = 0; any < 2; any++) {
        static world w;
        const kith_sim_link slow = {.delay_ns = KITH_SIM_MS, .rate = 1000000, .queue = 100000, .mtu = 1500};
        world_make(&w, 63, OPEN, OPEN);
        w.v[1].relay = NULL;
        kith_sim_lan_set_discovery(w.net, 0, 0);
        kith_sim_lan_set_link(w.net, &slow);
        open_both(&w);
        receive(&w);
        assert_ok(kith_sim_firewall(w.v[0].host, w.v[1].host, false, true));
        send(&w, any ? KITH_PATH_ANY : KITH_PATH_UDP);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        assert_int_equal(kith_hub_stats_of(hub.hub)->connections_accepted, 0); /* it is nearby */
        assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, true));
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, false));
        check_arrived(&w);
        assert_int_equal(kith_hub_stats_of(hub.hub)->connections_accepted, any);
        world_free(&w);
    }
}

/* What is remembered of a device is where it is dialled without a relay. */
static void the_relays_address_is_not_remembered(void **state)
{
    (void)state;
    for (int direct = 0; direct < 2; direct++) {
        static world w;
        kith_addr found[KITH_CANDIDATES_MAX];
        kith_peer peer;
        world_make(&w, 64, direct ? OPEN : SYMMETRIC, direct ? OPEN : SYMMETRIC);
        open_both(&w);
        receive(&w);
        (void)pong(&w, direct ? 3 : 1);
        w.v[0].count = 0;
        send(&w, KITH_PATH_RELAY); /* nor does it take the place of what is */
        check_arrived(&w);
        victim_close(&w.v[0]);
        victim_home(&w.v[0], "a");
        victim_open(&w.v[0]);
        assert_true(kith__core_peer_at(w.v[0].core, 0, &peer));
        size_t count = kith__core_seen_addresses(w.v[0].core, &peer, found, KITH_CANDIDATES_MAX);
        assert_int_equal(count, direct);
        for (size_t i = 0; i < count; i++) assert_int_not_equal(found[i].family, KITH_FAMILY_RELAY);
        world_free(&w);
    }
}

#define PLACES 12 /* that the accepting side of a connection has numbers for */

static uint8_t asks[1000][9]; /* of which connection, at which place */
static size_t ask_count;

static void probed(void *user, const kith_packet *packets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t ask[9] = {*(uint8_t *)user};
        memcpy(ask + 1, packets[i].data + 1, sizeof ask - 1);
        bool known = false; /* repeated, until it is answered */
        for (size_t k = 0; k < ask_count; k++) known |= memcmp(asks[k], ask, sizeof ask) == 0;
        if (!known && ask_count < 1000) memcpy(asks[ask_count++], ask, sizeof ask);
    }
}
static void writable(void *user) { (void)user; }

/* Two contacts with all the sessions they may have, each of which names twelve places: half as many again as a node
 * asks. */
static void all_sessions_together_ask_no_more_than_this(void **state)
{
    (void)state;
    static world w;
    static hostile h[2];
    static const kith_udp_events events = {probed, writable};
    line *lines[2][SESSIONS_DEVICE_MAX];
    static uint8_t numbers[PLACES];
    kith_candidates claims = {.count = PLACES};
    kith_sim_host *host;
    kith_env *env;
    kith_udp *sockets[PLACES];
    world_make(&w, 65, OPEN, OPEN);
    assert_ok(kith_sim_attach(w.v[1].host, w.net, "10.0.0.20"));
    open_both(&w);
    assert_ok(kith_sim_host_new(w.sim, "bystander", &host));
    assert_ok(kith_sim_attach(host, w.net, "10.0.0.99"));
    assert_ok(kith_sim_env_new(host, &env));
    for (uint8_t i = 0; i < PLACES; i++) {
        numbers[i] = i;
        assert_ok(kith_addr_parse("10.0.0.99:5000", &claims.addrs[i]));
        claims.addrs[i].port = (uint16_t)(5000 + i);
        assert_ok(env->udp->open(env, &claims.addrs[i], &events, &numbers[i], &sockets[i]));
    }
    for (size_t k = 0; k < 2; k++) {
        contact_make(&h[k], &w, w.net, k ? "another" : "contact", k ? "203.0.113.67" : "203.0.113.66");
        for (size_t i = 0; i < SESSIONS_DEVICE_MAX; i++) {
            lines[k][i] = dial_node(&h[k], &w.v[1], "203.0.113.20");
            kith_sim_run_for(w.sim, KITH_SIM_S / 4);
        }
    }
    ask_count = 0;
    uint64_t start = kith_sim_now_ns(w.sim);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < SESSIONS_DEVICE_MAX; i++) {
            say(&h[k], lines[k][i], &claims);
            kith_sim_run_for(w.sim, 5 * KITH_SIM_MS); /* what is asked at one moment is no more than a queue holds */
        }
    kith_sim_run_for(w.sim, 40 * KITH_SIM_MS);
    uint64_t more = (kith_sim_now_ns(w.sim) - start) / ROAM_PROBE_EVERY + 1;
    assert_in_range(ask_count, ROAM_PROBES_MAX, ROAM_PROBES_MAX + more);
    assert_true(2 * SESSIONS_DEVICE_MAX * PLACES > ROAM_PROBES_MAX + more);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < SESSIONS_DEVICE_MAX; i++) hang_up(&h[k], lines[k][i], 0);
    for (size_t k = 0; k < 2; k++) hostile_free(&h[k]);
    kith_sim_kill(env);
    world_free(&w);
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    for (size_t i = 0; i < BIG; i += 61) content[i] = (uint8_t)(i >> 7);
    const struct CMUnitTest tests[] = {
        TEST(what_relays_see_is_told_first),        TEST(a_change_is_asked_about_once),
        TEST(what_waits_to_be_told_is_bounded),     TEST(no_relay_is_woken_where_none_is_wanted),
        TEST(the_relays_address_is_not_remembered), TEST(all_sessions_together_ask_no_more_than_this),
    };
    return cmocka_run_group_tests_name("sim/roam_bounds", tests, NULL, NULL);
}
