#include "base/mem.h"
#include "discovery/sightings.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

static const uint8_t own_id[KITH_UUID_SIZE] = {0xee, 0xee};

static kith_txt device(unsigned n)
{
    kith_txt txt = {.id = {(uint8_t)(n >> 8), (uint8_t)n}, .fingerprint = {(uint8_t)n}};
    return txt;
}

static kith_txt pairing(unsigned n, uint32_t tag)
{
    kith_txt txt = device(n);
    txt.pairing = true;
    txt.tag = tag;
    return txt;
}

static kith_addr at(const char *text)
{
    kith_addr addr;
    assert_ok(kith_addr_parse(text, &addr));
    return addr;
}

typedef struct told {
    const char *instance;
    kith_txt txt;
    bool priority;
    kith_sighting_source source;
    uint64_t expires_ns; /* 0 = never */
} told;

static kith_err note(kith_sightings *s, told t, uint64_t now, bool *changed)
{
    const kith_addr addr = at("192.0.2.1:7000");
    const kith_sighting_note n = {.instance = t.instance,
                                  .source = t.source,
                                  .txt = &t.txt,
                                  .addrs = &addr,
                                  .addr_count = 1,
                                  .priority = t.priority,
                                  .expires_ns = t.expires_ns ? t.expires_ns : UINT64_MAX};
    return kith_sightings_note(s, &n, now, changed);
}

/* Strangers 1000, 1001, ... named "stranger 1000" ... until the table is full `rounds` times over. */
static void flood(kith_sightings *s, unsigned rounds, uint64_t now)
{
    for (unsigned i = 0; i < rounds * KITH_SIGHTINGS_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "stranger %u", 1000 + i);
        kith_err err = note(s, (told){.instance = name, .txt = pairing(1000 + i, i)}, now + i, NULL);
        assert_true(err == KITH_OK || err == KITH_ERR_LIMIT);
    }
}

static void noted_and_found(void **state)
{
    (void)state;
    kith_sightings *s;
    const kith_sighting *found[4];
    bool changed = false;
    assert_ok(kith_sightings_new(own_id, &s));
    assert_ok(note(s, (told){.instance = "a", .txt = device(1)}, 10, &changed));
    assert_true(changed);
    assert_ok(note(s, (told){.instance = "a", .txt = device(1)}, 20, &changed));
    assert_false(changed);
    assert_int_equal(kith_sightings_count(s), 1);
    assert_int_equal(kith_sightings_at(s, 0)->seen_ns, 20);
    assert_ok(note(s, (told){.instance = "a", .txt = pairing(1, 7)}, 30, &changed));
    assert_true(changed);
    assert_ok(note(s, (told){.instance = "b", .txt = device(1)}, 25, &changed));
    assert_ok(note(s, (told){.instance = "a", .txt = device(1), .source = KITH_SIGHTING_KNOWN}, 5, &changed));
    assert_true(changed); /* another source is another entry */
    assert_int_equal(kith_sightings_find_device(s, device(1).id, found, 4), 3);
    assert_int_equal(found[0]->seen_ns, 30);
    assert_int_equal(found[1]->seen_ns, 25);
    assert_int_equal(found[2]->source, KITH_SIGHTING_KNOWN);
    assert_int_equal(kith_sightings_find_device(s, device(1).id, found, 1), 3);
    assert_string_equal(found[0]->instance, "a");
    assert_int_equal(kith_sightings_find_device(s, device(1).id, NULL, 0), 3);
    assert_int_equal(kith_sightings_find_device(s, device(2).id, found, 4), 0);
    assert_int_equal(kith_sightings_find_tag(s, 7, found, 4), 1);
    assert_string_equal(found[0]->instance, "a");
    assert_int_equal(kith_sightings_find_tag(s, 0, found, 4), 0); /* no tag is not tag 0 */
    assert_true(kith_sightings_gone(s, "a"));
    assert_false(kith_sightings_gone(s, "a")); /* what is known from before stays */
    assert_non_null(kith_sightings_find(s, "a", KITH_SIGHTING_KNOWN));
    assert_null(kith_sightings_find(s, "a", KITH_SIGHTING_LAN));
    assert_int_equal(kith_sightings_find_tag(s, 7, found, 4), 0);
    assert_null(kith_sightings_at(s, 2));
    kith_sightings_free(s);
}

static void latest_first_with_few_places(void **state)
{
    (void)state;
    static const uint64_t times[] = {50, 10, 40, 60, 20, 30};
    for (size_t cap = 1; cap <= 7; cap++) {
        kith_sightings *s;
        const kith_sighting *found[8] = {0};
        assert_ok(kith_sightings_new(own_id, &s));
        for (size_t i = 0; i < 6; i++) {
            char name[2] = {(char)('a' + i), 0};
            assert_ok(note(s, (told){.instance = name, .txt = pairing(1, 3)}, times[i], NULL));
        }
        assert_int_equal(kith_sightings_find_device(s, device(1).id, found, cap), 6);
        for (size_t i = 0; i < cap && i < 6; i++) assert_int_equal(found[i]->seen_ns, 60 - 10 * i);
        assert_null(found[cap]);
        assert_int_equal(kith_sightings_find_tag(s, 3, found, cap), 6);
        for (size_t i = 0; i < cap && i < 6; i++) assert_int_equal(found[i]->seen_ns, 60 - 10 * i);
        kith_sightings_free(s);
    }
}

static void our_own_is_marked_and_not_found(void **state)
{
    (void)state;
    kith_sightings *s;
    kith_txt txt = pairing(0, 9);
    memcpy(txt.id, own_id, sizeof txt.id);
    assert_ok(kith_sightings_new(own_id, &s));
    assert_ok(note(s, (told){.instance = "me", .txt = txt}, 1, NULL));
    assert_true(kith_sightings_find(s, "me", KITH_SIGHTING_LAN)->own);
    assert_int_equal(kith_sightings_find_device(s, own_id, NULL, 0), 0);
    assert_int_equal(kith_sightings_find_tag(s, 9, NULL, 0), 0);
    assert_ok(note(s, (told){.instance = "you", .txt = device(1)}, 1, NULL));
    assert_false(kith_sightings_find(s, "you", KITH_SIGHTING_LAN)->own);
    kith_sightings_free(s);
}

static void a_flood_pushes_out_strangers_only(void **state)
{
    (void)state;
    kith_sightings *s;
    assert_ok(kith_sightings_new(own_id, &s));
    const uint32_t tag = 0x3fffff;
    kith_sightings_want_tag(s, &tag);
    assert_ok(note(s, (told){.instance = "friend", .txt = device(1), .priority = true}, 1, NULL));
    assert_ok(note(s, (told){.instance = "known", .txt = device(2), .source = KITH_SIGHTING_KNOWN}, 1, NULL));
    assert_ok(note(s, (told){.instance = "to pair", .txt = pairing(3, tag)}, 1, NULL));
    assert_ok(note(s, (told){.instance = "stranger", .txt = device(4)}, 1, NULL));
    flood(s, 3, 100);
    assert_int_equal(kith_sightings_count(s), KITH_SIGHTINGS_MAX);
    assert_non_null(kith_sightings_find(s, "friend", KITH_SIGHTING_LAN));
    assert_non_null(kith_sightings_find(s, "known", KITH_SIGHTING_KNOWN));
    assert_non_null(kith_sightings_find(s, "to pair", KITH_SIGHTING_LAN));
    assert_null(kith_sightings_find(s, "stranger", KITH_SIGHTING_LAN));
    /* the latest strangers are there; and in a full table there is room for friends still */
    assert_non_null(kith_sightings_find(s, "stranger 1767", KITH_SIGHTING_LAN));
    assert_ok(note(s, (told){.instance = "friend 2", .txt = device(5), .priority = true}, 5000, NULL));
    assert_int_equal(kith_sightings_count(s), KITH_SIGHTINGS_MAX);
    assert_non_null(kith_sightings_find(s, "friend", KITH_SIGHTING_LAN));
    /* once nobody looks for the tag its owner is a stranger */
    kith_sightings_want_tag(s, NULL);
    flood(s, 1, 10000);
    assert_null(kith_sightings_find(s, "to pair", KITH_SIGHTING_LAN));
    assert_non_null(kith_sightings_find(s, "friend", KITH_SIGHTING_LAN));
    kith_sightings_free(s);
}

static void full_of_friends(void **state)
{
    (void)state;
    kith_sightings *s;
    char name[32];
    assert_ok(kith_sightings_new(own_id, &s));
    for (unsigned i = 0; i < KITH_SIGHTINGS_MAX; i++) {
        snprintf(name, sizeof name, "friend %u", i);
        assert_ok(note(s, (told){.instance = name, .txt = device(i), .priority = true}, i, NULL));
    }
    bool changed = false;
    assert_int_equal(note(s, (told){.instance = "x", .txt = device(999)}, 999, &changed), KITH_ERR_LIMIT);
    assert_int_equal(note(s, (told){.instance = "x", .txt = device(999), .priority = true}, 999, NULL), KITH_ERR_LIMIT);
    assert_false(changed);
    assert_ok(note(s, (told){.instance = "friend 7", .txt = pairing(7, 7), .priority = true}, 999, &changed));
    assert_true(changed);
    assert_true(kith_sightings_gone(s, "friend 9"));
    assert_ok(note(s, (told){.instance = "x", .txt = device(999)}, 999, NULL));
    kith_sightings_free(s);
}

static void copies_of_one_device_or_tag(void **state)
{
    (void)state;
    kith_sightings *s;
    char name[32];
    const kith_sighting *found[32];
    assert_ok(kith_sightings_new(own_id, &s));
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "copy %u", i);
        assert_ok(note(s, (told){.instance = name, .txt = device(1), .priority = true}, i, NULL));
    }
    /* the latest eight */
    assert_int_equal(kith_sightings_find_device(s, device(1).id, found, 32), KITH_SIGHTINGS_SAME_MAX);
    for (unsigned i = 0; i < KITH_SIGHTINGS_SAME_MAX; i++) assert_int_equal(found[i]->seen_ns, 19 - i);
    /* of one tag the first eight */
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "pair %u", i);
        kith_err err = note(s, (told){.instance = name, .txt = pairing(100 + i, 5)}, 100 + i, NULL);
        assert_int_equal(err, i < KITH_SIGHTINGS_SAME_MAX ? KITH_OK : KITH_ERR_LIMIT);
    }
    assert_int_equal(kith_sightings_find_tag(s, 5, found, 32), KITH_SIGHTINGS_SAME_MAX);
    assert_string_equal(found[KITH_SIGHTINGS_SAME_MAX - 1]->instance, "pair 0");
    kith_sightings_free(s);
}

static void in_order_to_dial(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } table[] = {
        {"", ""},
        {"192.168.1.2:7", "192.168.1.2:7"},
        {"192.168.1.2:7 192.168.1.2:7", "192.168.1.2:7"},
        {"192.168.1.2:7 192.168.1.2:8", "192.168.1.2:7 192.168.1.2:8"},
        {"[fe80::1%2]:7 192.168.1.2:7 [fd00::1]:7 10.0.0.1:7 [2001:db8::1]:7 [2001:db8::2]:7",
         "[fd00::1]:7 192.168.1.2:7 [2001:db8::1]:7 10.0.0.1:7 [2001:db8::2]:7 [fe80::1%2]:7"},
        {"169.254.3.4:7 [fe80::1%2]:7 [fe80::1%3]:7 192.168.1.2:7",
         "192.168.1.2:7 169.254.3.4:7 [fe80::1%2]:7 [fe80::1%3]:7"}, /* one address on two links is two places */
        {"[fe80::1]:7 0.0.0.0:7 [::]:7 192.168.1.2 224.0.0.251:7 [ff02::fb]:7 255.255.255.255:7", ""},
        {"127.0.0.1:7 169.254.1.1:7 10.0.0.1:7", "10.0.0.1:7 127.0.0.1:7 169.254.1.1:7"},
        {"10.0.0.1:1 10.0.0.1:2 10.0.0.1:3 10.0.0.1:4 10.0.0.1:5 10.0.0.1:6 10.0.0.1:7 10.0.0.1:8 [fd00::1]:9",
         "[fd00::1]:9 10.0.0.1:1 10.0.0.1:2 10.0.0.1:3 10.0.0.1:4 10.0.0.1:5 10.0.0.1:6 10.0.0.1:7"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char in[512], text[512] = "", *save = NULL;
        kith_addr addrs[16] = {0}, out[KITH_SIGHTING_ADDRS_MAX];
        size_t count = 0;
        snprintf(in, sizeof in, "%s", table[i].in);
        for (char *word = strtok_r(in, " ", &save); word; word = strtok_r(NULL, " ", &save)) addrs[count++] = at(word);
        size_t n = kith_sightings_order(addrs, count, out, KITH_SIGHTING_ADDRS_MAX);
        assert_int_equal(kith_sightings_order(addrs, count, NULL, 0), 0);
        for (size_t j = 0; j < n; j++) {
            char one[KITH_ADDR_TEXT_SIZE];
            size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, "%s%s", j ? " " : "", kith_addr_text(&out[j], one));
        }
        assert_string_equal(text, table[i].out);
    }
    const kith_addr none = {.port = 7};
    kith_addr out[1];
    assert_int_equal(kith_sightings_order(&none, 1, out, 1), 0);
}

static void a_new_address_is_news(void **state)
{
    (void)state;
    kith_sightings *s;
    const kith_txt txt = device(1);
    kith_addr addrs[2] = {at("10.0.0.1:7"), at("[fe80::1%2]:7")};
    kith_sighting_note n = {.instance = "a", .txt = &txt, .addrs = addrs, .addr_count = 2, .expires_ns = UINT64_MAX};
    bool changed = false;
    assert_ok(kith_sightings_new(own_id, &s));
    assert_ok(kith_sightings_note(s, &n, 1, NULL));
    assert_int_equal(kith_sightings_at(s, 0)->addrs[1].scope, 2);
    kith_addr turned[2] = {addrs[1], addrs[0]};
    n.addrs = turned;
    assert_ok(kith_sightings_note(s, &n, 2, &changed));
    assert_false(changed); /* the order they came in does not matter */
    turned[0].scope = 3;
    assert_ok(kith_sightings_note(s, &n, 3, &changed));
    assert_true(changed);
    n.addr_count = 1;
    assert_ok(kith_sightings_note(s, &n, 4, &changed));
    assert_true(changed);
    assert_int_equal(kith_sightings_at(s, 0)->addr_count, 1);
    kith_sightings_free(s);
}

static void expiry(void **state)
{
    (void)state;
    kith_sightings *s;
    kith_sighting out;
    assert_ok(kith_sightings_new(own_id, &s));
    assert_int_equal(kith_sightings_deadline_ns(s), UINT64_MAX);
    assert_ok(note(s, (told){.instance = "for ever", .txt = device(1)}, 1, NULL));
    assert_int_equal(kith_sightings_deadline_ns(s), UINT64_MAX);
    assert_false(kith_sightings_expire(s, UINT64_MAX, &out));
    assert_ok(note(s, (told){.instance = "later", .txt = device(2), .expires_ns = 300}, 1, NULL));
    assert_ok(note(s, (told){.instance = "soon", .txt = device(3), .expires_ns = 200}, 1, NULL));
    assert_int_equal(kith_sightings_deadline_ns(s), 200);
    assert_false(kith_sightings_expire(s, 199, &out));
    assert_true(kith_sightings_expire(s, 200, &out));
    assert_string_equal(out.instance, "soon");
    assert_false(kith_sightings_expire(s, 200, &out));
    assert_ok(note(s, (told){.instance = "later", .txt = device(2), .expires_ns = 900}, 200, NULL));
    assert_false(kith_sightings_expire(s, 300, &out)); /* it was seen again */
    assert_int_equal(kith_sightings_deadline_ns(s), 900);
    assert_true(kith_sightings_expire(s, 1000, &out));
    assert_int_equal(kith_sightings_count(s), 1);
    kith_sightings_free(s);
}

static void names_have_a_size(void **state)
{
    (void)state;
    kith_sightings *s;
    char name[KITH_INSTANCE_SIZE + 1];
    assert_ok(kith_sightings_new(own_id, &s));
    memset(name, 'x', sizeof name);
    name[KITH_INSTANCE_SIZE] = 0;
    assert_int_equal(note(s, (told){.instance = name, .txt = device(1)}, 1, NULL), KITH_ERR_ARG);
    name[KITH_INSTANCE_SIZE - 1] = 0;
    assert_ok(note(s, (told){.instance = name, .txt = device(1)}, 1, NULL));
    assert_string_equal(kith_sightings_at(s, 0)->instance, name);
    assert_int_equal(note(s, (told){.instance = "", .txt = device(1)}, 1, NULL), KITH_ERR_ARG);
    kith_sightings_free(s);
}

static int some(void *arg)
{
    (void)arg;
    kith_sightings *s = NULL;
    kith_err err = kith_sightings_new(own_id, &s);
    if (!err) err = note(s, (told){.instance = "a", .txt = device(1)}, 1, NULL);
    if (!err) err = note(s, (told){.instance = "b", .txt = device(2)}, 1, NULL);
    if (err && s) assert_true(kith_sightings_count(s) <= 1);
    kith_sightings_free(s);
    return err;
}

static void every_allocation(void **state)
{
    (void)state;
    test_every_allocation(some, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(noted_and_found),
        TEST(latest_first_with_few_places),
        TEST(our_own_is_marked_and_not_found),
        TEST(a_flood_pushes_out_strangers_only),
        TEST(full_of_friends),
        TEST(copies_of_one_device_or_tag),
        TEST(in_order_to_dial),
        TEST(a_new_address_is_news),
        TEST(expiry),
        TEST(names_have_a_size),
        TEST(every_allocation),
    };
    return cmocka_run_group_tests_name("discovery/sightings", tests, NULL, NULL);
}
