/* Trust at first use: what a device that is announced nearby has to show, and what who wants to trust it shows. */
#include "hostile_world.h"
#include "node/lan.h"

#include <inttypes.h>

#define A    "192.168.1.10"
#define B    "192.168.1.11"
#define EVIL "192.168.1.66"

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim a, b; /* a wants to trust b, which receives */
    int64_t live;
} world;

static void receive(victim *v)
{
    kith_receive_options options = {.size = sizeof options, .folder = "/in"};
    kith_core_receive(v->core, ++v->last_op, &options);
}

static void world_make(world *w)
{
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(11, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    victim_make(&w->a, w->sim, w->lan, "a", A);
    victim_make(&w->b, w->sim, w->lan, "b", B);
    receive(&w->b);
    w->b.count = 0;
}

static void world_free(world *w)
{
    victim_close(&w->a);
    victim_close(&w->b);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }
static bool asked(void *user) { return last_event(user, KITH_EVENT_ASK) || ended(user); }

static kith_err pin(victim *v, const char *device, const char *name, bool yes)
{
    kith_pin_options options = {.size = sizeof options, .name = name, .yes = yes};
    v->count = 0;
    kith_core_pin(v->core, ++v->last_op, device, &options);
    if (!kith_sim_run_until(v->sim, yes ? ended : asked, v, 60 * KITH_SIM_S)) fail_msg("it does not end");
    return ended(v) ? last_event(v, KITH_EVENT_END)->err : KITH_OK;
}

static const char *id_of(const victim *v)
{
    static char id[KITH_UUID_TEXT_SIZE];
    return kith_uuid_text(v->self.device.id, id);
}

static void fingerprint_of(const victim *v, char text[KITH_FINGERPRINT_TEXT])
{
    kith_hex(v->self.fingerprint, sizeof v->self.fingerprint, text);
}

static const kith_peer *known(const victim *v, const victim *other, kith_trust **trust)
{
    kith_problem problem = {0};
    assert_ok(kith_home_load_trust(v->home, trust, &problem));
    return kith_trust_by_uuid(*trust, other->self.device.id);
}

static kith_err ping(victim *v, const victim *other)
{
    v->count = 0;
    kith_core_ping(v->core, ++v->last_op, id_of(other), 1);
    if (!kith_sim_run_until(v->sim, ended, v, 60 * KITH_SIM_S)) fail_msg("it does not end");
    return last_event(v, KITH_EVENT_END)->err;
}

/* The right key, from two messages of a handshake; b neither hears who asked nor is told. */
static void the_key_is_pinned_and_nothing_shown(void **state)
{
    static world w;
    char fingerprint[KITH_FINGERPRINT_TEXT];
    kith_trust *trust;
    (void)state;
    world_make(&w);
    fingerprint_of(&w.b, fingerprint);
    assert_ok(pin(&w.a, id_of(&w.b), NULL, false));
    const kith_event *ask = last_event(&w.a, KITH_EVENT_ASK);
    assert_string_equal(ask->device.fingerprint, fingerprint);
    assert_string_equal(ask->device.id, id_of(&w.b));
    assert_true(ask->device.first_use);
    assert_false(ask->device.verified);
    assert_int_equal(ask->device.trust, KITH_RELATION_CONTACT);
    assert_null(known(&w.a, &w.b, &trust)); /* not before the answer */
    kith_trust_free(trust);
    kith_core_answer(w.a.core, w.a.last_op, true);
    if (!kith_sim_run_until(w.sim, ended, &w.a, 60 * KITH_SIM_S)) fail_msg("it does not end");
    assert_ok(last_event(&w.a, KITH_EVENT_END)->err);
    const kith_peer *peer = known(&w.a, &w.b, &trust);
    assert_non_null(peer);
    assert_memory_equal(peer->ed25519, w.b.self.public_key, sizeof peer->ed25519);
    assert_memory_equal(peer->fingerprint, w.b.self.fingerprint, sizeof peer->fingerprint);
    assert_int_equal(peer->kind, KITH_PEER_CONTACT);
    assert_int_equal(peer->how, KITH_PEER_TOFU);
    assert_false(peer->verified);
    assert_int_equal(strncmp(peer->local_name, "device-", 7), 0);
    assert_int_equal(strncmp(peer->local_name + 7, fingerprint, 8), 0);
    kith_trust_free(trust);
    assert_int_equal(w.b.count, 0);
    world_free(&w);
}

/* Each pins on its own; only then they talk. */
static void both_have_to(void **state)
{
    static world w;
    char digits[KITH_FINGERPRINT_TEXT];
    kith_trust *trust;
    (void)state;
    world_make(&w);
    receive(&w.a);
    fingerprint_of(&w.b, digits);
    digits[6] = 0; /* a prefix is enough */
    assert_ok(pin(&w.a, digits, "bob", true));
    assert_string_equal(last_event(&w.a, KITH_EVENT_PAIRED)->device.name, "bob");
    assert_int_equal(ping(&w.a, &w.b), KITH_ERR_UNTRUSTED);
    assert_ok(pin(&w.b, id_of(&w.a), NULL, true));
    assert_ok(ping(&w.a, &w.b));
    assert_ok(ping(&w.b, &w.a));
    assert_ok(pin(&w.a, digits, "other", true)); /* again: nothing changes */
    assert_true(last_event(&w.a, KITH_EVENT_PAIRED)->already);
    /* What each says of itself once they talk is known from then on; a name that a person chose stays. */
    kith_sim_run_for(w.sim, KITH_SIM_S);
    const kith_peer *peer = known(&w.a, &w.b, &trust);
    assert_string_equal(peer->local_name, "bob");
    assert_string_equal(peer->name, w.b.self.device.name);
    assert_string_equal(peer->os, w.b.self.device.os);
    assert_false(peer->verified);
    kith_trust_free(trust);
    peer = known(&w.b, &w.a, &trust);
    assert_string_equal(peer->local_name, w.a.self.device.name);
    assert_int_equal(peer->how, KITH_PEER_TOFU);
    kith_trust_free(trust);
    world_free(&w);
}

/* One that a code paired is not made less by it. */
static void what_is_known_better_stays(void **state)
{
    static world w;
    kith_trust *trust;
    (void)state;
    world_make(&w);
    know(&w.a, &w.b);
    assert_ok(pin(&w.a, id_of(&w.b), "x", true));
    assert_true(last_event(&w.a, KITH_EVENT_PAIRED)->already);
    const kith_peer *peer = known(&w.a, &w.b, &trust);
    assert_int_equal(peer->kind, KITH_PEER_OWN);
    assert_int_equal(peer->how, KITH_PEER_PAIRED);
    kith_trust_free(trust);
    world_free(&w);
}

static void no_is_no(void **state)
{
    static world w;
    kith_trust *trust;
    (void)state;
    world_make(&w);
    assert_ok(pin(&w.a, id_of(&w.b), NULL, false));
    kith_core_answer(w.a.core, w.a.last_op, false);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(last_event(&w.a, KITH_EVENT_END)->err, KITH_ERR_DECLINED);
    assert_null(known(&w.a, &w.b, &trust));
    kith_trust_free(trust);
    assert_int_equal(pin(&w.a, "abcdef0123", NULL, true), KITH_ERR_NOT_FOUND);
    assert_int_equal(pin(&w.a, "bob", NULL, true), KITH_ERR_ARG);
    assert_int_equal(pin(&w.a, "abc", NULL, true), KITH_ERR_ARG);
    assert_int_equal(pin(&w.a, "abcd", "a\nb", true), KITH_ERR_ARG);
    world_free(&w);
}

/* Him, announced with the id and fingerprint given. */
static void announce_as(hostile *h, kith_sim_lan *lan, const uint8_t *id, const uint8_t *fingerprint)
{
    kith_lan_record record = {.port = h->quic.env->udp->local(h->quic.udp).port, .addr_count = 1};
    kith_txt txt = {0};
    memcpy(txt.id, id, sizeof txt.id);
    memcpy(txt.fingerprint, fingerprint, sizeof txt.fingerprint);
    kith_instance_name(txt.id, 99, record.instance);
    record.txt_size = kith_txt_write(&txt, record.txt, sizeof record.txt);
    assert_ok(kith_addr_parse(EVIL, &record.addrs[0]));
    record.addrs[0].port = record.port;
    assert_ok(kith_sim_lan_inject(lan, &record));
}

/* Somebody announces b's id with his own key, or b's id and fingerprint at his own place, or his own. */
static void impostors(void **state)
{
    static world w;
    static hostile evil;
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    char digits[KITH_FINGERPRINT_TEXT];
    (void)state;
    world_make(&w);
    hostile_make(&evil, w.sim, w.lan, "evil", EVIL);
    kith_fingerprint(w.b.self.device.id, evil.signer.public_key, fingerprint);
    announce_as(&evil, w.lan, w.b.self.device.id, fingerprint);
    assert_int_equal(pin(&w.a, id_of(&w.b), NULL, true), KITH_ERR_AMBIGUOUS);
    assert_non_null(strstr(last_event(&w.a, KITH_EVENT_END)->message, id_of(&w.b)));
    fingerprint_of(&w.b, digits); /* the fingerprint says which */
    assert_ok(pin(&w.a, digits, NULL, true));
    assert_string_equal(last_event(&w.a, KITH_EVENT_PAIRED)->device.fingerprint, digits);
    for (size_t i = 0; i < evil.count; i++) assert_false(evil.lines[i].connected); /* nobody told him who asked */
    kith_hex(fingerprint, sizeof fingerprint, digits); /* b's id with his key, when b is known */
    assert_int_equal(pin(&w.a, digits, NULL, true), KITH_ERR_KEY_CHANGED);
    assert_non_null(strstr(last_event(&w.a, KITH_EVENT_END)->message, "kith forget"));
    hostile_free(&evil);
    world_free(&w);
}

static void who_answers_is_another(void **state)
{
    static world w;
    static hostile evil;
    static const uint8_t id[16] = {7, 7, 7, 7}, fingerprint[32] = {8, 8, 8};
    kith_trust *trust;
    (void)state;
    world_make(&w);
    hostile_make(&evil, w.sim, w.lan, "evil", EVIL);
    announce_as(&evil, w.lan, id, fingerprint); /* a device whose key he has not */
    assert_int_equal(pin(&w.a, "07070707", NULL, true), KITH_ERR_WRONG_DEVICE);
    kith_problem problem = {0};
    assert_ok(kith_home_load_trust(w.a.home, &trust, &problem));
    assert_int_equal(kith_trust_count(trust), 0);
    kith_trust_free(trust);
    hostile_free(&evil);
    world_free(&w);
}

/* Later somebody else has the address, or the device a new key: it is refused, whoever dials. */
static void a_key_that_changes_later(void **state)
{
    static world w;
    static hostile evil;
    (void)state;
    world_make(&w);
    assert_ok(pin(&w.a, id_of(&w.b), NULL, true));
    victim_close(&w.b);
    hostile_make(&evil, w.sim, w.lan, "evil", EVIL);
    announce_as(&evil, w.lan, w.b.self.device.id, w.b.self.fingerprint);
    assert_int_equal(ping(&w.a, &w.b), KITH_ERR_WRONG_DEVICE);
    for (size_t i = 0; i < evil.count; i++) assert_false(evil.lines[i].connected);
    hostile_free(&evil);
    victim_close(&w.a);
    kith_sim_free(w.sim);
    assert_int_equal(kith_mem_live(), w.live);
}

/* Strangers are listed when that is asked for, known ones as such, each once. */
static void who_is_nearby(void **state)
{
    static world w;
    char fingerprint[KITH_FINGERPRINT_TEXT];
    (void)state;
    world_make(&w);
    fingerprint_of(&w.b, fingerprint);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    kith_core_look(w.a.core, ++w.a.last_op, false);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(count_events(&w.a, KITH_EVENT_SIGHTED), 0);
    kith_core_look(w.a.core, ++w.a.last_op, true);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(count_events(&w.a, KITH_EVENT_SIGHTED), 1);
    const kith_event *e = last_event(&w.a, KITH_EVENT_SIGHTED);
    assert_non_null(e);
    assert_string_equal(e->device.id, id_of(&w.b));
    fingerprint[16] = 0;
    assert_string_equal(e->device.fingerprint, fingerprint);
    assert_int_equal(e->device.trust, 0);
    world_free(&w);
}

/* When LOOKED comes after a look that begins now, in virtual time. */
static uint64_t looked_after(world *w)
{
    const uint64_t begin = kith_sim_now_ns(w->sim);
    w->a.count = 0;
    kith_core_look(w->a.core, ++w->a.last_op, true);
    while (!count_events(&w->a, KITH_EVENT_LOOKED)) {
        if (kith_sim_now_ns(w->sim) - begin > 10 * LAN_ANSWERS_NS) fail_msg("LOOKED does not come");
        kith_sim_run_for(w->sim, KITH_SIM_MS);
    }
    return kith_sim_now_ns(w->sim) - begin;
}

/* Who looks hears when all have had the time to answer: at once where the node looks for long, and for as long again
 * where it may be on another network, also when that comes in between. */
static void when_all_have_answered(void **state)
{
    static world w;
    (void)state;
    world_make(&w);
    uint64_t made = kith_sim_now_ns(w.sim), first = looked_after(&w);
    if (first + made < LAN_ANSWERS_NS || first > LAN_ANSWERS_NS + KITH_SIM_MS) fail_msg("%" PRIu64 " ns", first);
    assert_int_equal(count_events(&w.a, KITH_EVENT_SIGHTED), 1);
    assert_int_equal(looked_after(&w), 0);
    assert_int_equal(count_events(&w.a, KITH_EVENT_SIGHTED), 1); /* before it */
    assert_ok(kith_sim_change_addr(w.a.host, A, "192.168.1.77"));
    kith_sim_run_for(w.sim, LAN_ANSWERS_NS / 2);
    uint64_t after = looked_after(&w);
    if (after < LAN_ANSWERS_NS / 4 || after > LAN_ANSWERS_NS) fail_msg("%" PRIu64 " ns", after);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(count_events(&w.a, KITH_EVENT_LOOKED), 1); /* once */
    assert_ok(kith_sim_change_addr(w.a.host, "192.168.1.77", A));
    kith_sim_run_for(w.sim, KITH_SIM_WATCH_NS);
    w.a.count = 0;
    kith_core_look(w.a.core, ++w.a.last_op, false);
    kith_sim_run_for(w.sim, LAN_ANSWERS_NS / 2);
    assert_ok(kith_sim_change_addr(w.a.host, A, "192.168.1.78"));
    kith_sim_run_for(w.sim, 3 * LAN_ANSWERS_NS / 4);
    assert_int_equal(count_events(&w.a, KITH_EVENT_LOOKED), 0);
    kith_sim_run_for(w.sim, LAN_ANSWERS_NS);
    assert_int_equal(count_events(&w.a, KITH_EVENT_LOOKED), 1);
    world_free(&w);
}

/* A router that gives this device another address every second keeps nobody waiting for ever. */
static void a_network_that_changes_all_the_time(void **state)
{
    static world w;
    (void)state;
    static const char *const addrs[] = {A, "192.168.1.77"};
    world_make(&w);
    kith_core_look(w.a.core, ++w.a.last_op, true);
    for (size_t i = 0; i < 20; i++) {
        assert_ok(kith_sim_change_addr(w.a.host, addrs[i % 2], addrs[1 - i % 2]));
        kith_sim_run_for(w.sim, KITH_SIM_S);
    }
    assert_int_equal(count_events(&w.a, KITH_EVENT_LOOKED), 1);
    world_free(&w);
}

/* Stopped at any moment, nothing is left of it. */
static void cancelled_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 2400; ms += ms < 1900 ? 300 : 7) {
        static world w;
        kith_pin_options options = {.size = sizeof options, .yes = true};
        world_make(&w);
        kith_core_pin(w.a.core, ++w.a.last_op, id_of(&w.b), &options);
        kith_sim_run_for(w.sim, ms * KITH_SIM_MS);
        kith_core_cancel(w.a.core, w.a.last_op);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        assert_int_equal(count_events(&w.a, KITH_EVENT_END), 1);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_key_is_pinned_and_nothing_shown),
        TEST(both_have_to),
        TEST(what_is_known_better_stays),
        TEST(no_is_no),
        TEST(impostors),
        TEST(who_answers_is_another),
        TEST(a_key_that_changes_later),
        TEST(who_is_nearby),
        TEST(when_all_have_answered),
        TEST(a_network_that_changes_all_the_time),
        TEST(cancelled_at_any_moment),
    };
    return cmocka_run_group_tests_name("sim/node_pin", tests, NULL, NULL);
}
