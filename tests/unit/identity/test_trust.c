#include "base/mem.h"
#include "identity/envelope.h"
#include "identity/trust.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Device number n: its UUID begins with the bytes n, its key is made from a seed of n. */
static kith_peer device(uint8_t n, const char *name)
{
    uint8_t uuid[16], seed[32], key[32];
    kith_peer peer;
    memset(uuid, n, sizeof uuid);
    memset(seed, n, sizeof seed);
    assert_ok(kith_crypto_init());
    kith_ed25519_public(seed, key);
    assert_ok(kith_peer_make(uuid, key, name, "Linux", "X1", KITH_PEER_OWN, 1000 + n, &peer));
    return peer;
}

static kith_trust *set_of(size_t count)
{
    kith_trust *trust;
    assert_ok(kith_trust_new(&trust));
    for (size_t n = 1; n <= count; n++) {
        kith_peer peer = device((uint8_t)n, "laptop");
        if (n % 2) peer.kind = KITH_PEER_CONTACT, peer.verified = true;
        if (n % 4 == 1) peer.how = KITH_PEER_TOFU, peer.verified = false;
        if (n % 5 == 1) peer.overrides.of[KITH_SERVICE_FILE] = 1 + KITH_DENY;
        assert_ok(kith_trust_add(trust, &peer, NULL));
    }
    return trust;
}

static void equal_sets(const kith_trust *a, const kith_trust *b)
{
    assert_int_equal(kith_trust_count(a), kith_trust_count(b));
    for (size_t i = 0; i < kith_trust_count(a); i++) {
        const kith_peer *p = kith_trust_at(a, i), *q = kith_trust_at(b, i);
        assert_memory_equal(p->uuid, q->uuid, sizeof p->uuid);
        assert_memory_equal(p->ed25519, q->ed25519, sizeof p->ed25519);
        assert_memory_equal(p->x25519, q->x25519, sizeof p->x25519);
        assert_memory_equal(p->fingerprint, q->fingerprint, sizeof p->fingerprint);
        assert_string_equal(p->name, q->name);
        assert_string_equal(p->local_name, q->local_name);
        assert_string_equal(p->os, q->os);
        assert_string_equal(p->hardware_model, q->hardware_model);
        assert_int_equal(p->kind, q->kind);
        assert_int_equal(p->verified, q->verified);
        assert_int_equal(p->how, q->how);
        assert_int_equal(p->added_at_ms, q->added_at_ms);
        assert_memory_equal(&p->overrides, &q->overrides, sizeof p->overrides);
    }
}

static void what_is_derived(void **state)
{
    (void)state;
    kith_peer peer = device(7, "a\x1b"
                               "b\n");
    uint8_t x25519[32], fingerprint[32], seed[32], secret[32];
    assert_string_equal(peer.name, "ab");
    assert_string_equal(peer.local_name, "ab");
    memset(seed, 7, sizeof seed);
    kith_ed25519_seed_to_x25519(seed, secret);
    kith_x25519_public(secret, x25519);
    assert_memory_equal(peer.x25519, x25519, 32);
    kith_fingerprint(peer.uuid, peer.ed25519, fingerprint);
    assert_memory_equal(peer.fingerprint, fingerprint, 32);
    assert_false(peer.verified);

    assert_ok(kith_peer_make(peer.uuid, peer.ed25519, "\n", NULL, NULL, KITH_PEER_OWN, 1, &peer));
    assert_string_equal(peer.name, "device");
    assert_string_equal(peer.os, "");
    uint8_t zero[32] = {0};
    assert_int_equal(kith_peer_make(peer.uuid, zero, "x", NULL, NULL, KITH_PEER_OWN, 1, &peer), KITH_ERR_CRYPTO);

    /* What a caller puts where derived values belong is not believed. */
    kith_trust *trust;
    const kith_peer *added;
    kith_peer lie = peer;
    memset(lie.x25519, 1, 32);
    memset(lie.fingerprint, 2, 32);
    assert_ok(kith_trust_new(&trust));
    assert_ok(kith_trust_add(trust, &lie, &added));
    assert_memory_equal(added->x25519, peer.x25519, 32);
    assert_memory_equal(added->fingerprint, peer.fingerprint, 32);
    kith_trust_free(trust);
}

static void finding(void **state)
{
    (void)state;
    kith_trust *trust = set_of(3);
    kith_peer second = device(2, "x"), stranger = device(9, "x");
    const kith_peer *want = kith_trust_at(trust, 1);
    assert_memory_equal(want->uuid, second.uuid, 16);
    assert_ptr_equal(kith_trust_by_uuid(trust, second.uuid), want);
    assert_ptr_equal(kith_trust_by_x25519(trust, second.x25519), want);
    assert_ptr_equal(kith_trust_by_fingerprint(trust, second.fingerprint), want);
    assert_null(kith_trust_by_uuid(trust, stranger.uuid));
    assert_null(kith_trust_by_x25519(trust, stranger.x25519));
    assert_null(kith_trust_by_fingerprint(trust, stranger.fingerprint));
    assert_null(kith_trust_at(trust, 3));
    kith_trust_free(trust);
}

static void expect_found(const kith_trust *trust, const char *text, kith_err want, uint8_t number, size_t want_count)
{
    const kith_peer *found[8] = {NULL};
    size_t count = 99;
    kith_err err = kith_trust_find(trust, text, found, 8, &count);
    if (err != want || count != want_count || (number && found[0]->uuid[0] != number))
        fail_msg("%s: error %d, %zu found", text, err, count);
}

static void the_device_argument(void **state)
{
    (void)state;
    kith_trust *trust = set_of(4); /* laptop, laptop-2, laptop-3, laptop-4 */
    char text[KITH_FINGERPRINT_LONG_SIZE + 1];
    const kith_peer *found[2];
    size_t count;
    expect_found(trust, "02020202-0202-0202-0202-020202020202", KITH_OK, 2, 1);
    expect_found(trust, "laptop", KITH_OK, 1, 1); /* exact, though it begins other names */
    expect_found(trust, "laptop-3", KITH_OK, 3, 1);
    expect_found(trust, "lapto", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "Laptop", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "0404", KITH_OK, 4, 1);
    expect_found(trust, "04040404-04", KITH_OK, 4, 1);  /* a UUID's beginning, as it is printed */
    expect_found(trust, "0404 0404 04", KITH_OK, 4, 1); /* in groups, as a fingerprint is shown */
    expect_found(trust, "04 0", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "040", KITH_ERR_NOT_FOUND, 0, 0); /* too short */
    expect_found(trust, "04-0", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "----", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "0404g", KITH_ERR_NOT_FOUND, 0, 0);
    expect_found(trust, "05050505-0505-0505-0505-050505050505", KITH_ERR_NOT_FOUND, 0, 0);
    for (size_t i = 0; i < 4; i++) {
        const kith_peer *peer = kith_trust_at(trust, i);
        expect_found(trust, kith_hex(peer->fingerprint, 32, text), KITH_OK, peer->uuid[0], 1);
        text[8] = 0;
        expect_found(trust, text, KITH_OK, peer->uuid[0], 1);
        for (char *p = text; *p; p++) *p = (char)(*p >= 'a' ? *p - 32 : *p);
        expect_found(trust, text, KITH_OK, peer->uuid[0], 1);
        expect_found(trust, kith_fingerprint_long(peer->fingerprint, text), KITH_OK, peer->uuid[0], 1);
        strcat(text, "0"); /* more digits than there are */
        expect_found(trust, text, KITH_ERR_NOT_FOUND, 0, 0);
    }
    /* A name goes before a prefix, a UUID before a name. */
    assert_ok(kith_trust_rename(trust, kith_trust_at(trust, 0)->fingerprint, "0404", NULL));
    expect_found(trust, "0404", KITH_OK, 1, 1);
    expect_found(trust, "04040", KITH_OK, 4, 1);
    assert_ok(
        kith_trust_rename(trust, kith_trust_at(trust, 0)->fingerprint, "02020202-0202-0202-0202-020202020202", NULL));
    expect_found(trust, "02020202-0202-0202-0202-020202020202", KITH_OK, 2, 1);

    /* Two that share a beginning: both are given, as far as there is room. */
    kith_peer twin = device(8, "twin");
    memset(twin.uuid, 4, 3);
    assert_ok(kith_trust_add(trust, &twin, NULL));
    expect_found(trust, "0404", KITH_ERR_AMBIGUOUS, 4, 2);
    expect_found(trust, "04040404", KITH_OK, 4, 1);
    expect_found(trust, "04040408", KITH_OK, 4, 1);
    assert_int_equal(kith_trust_find(trust, "0404", found, 1, &count), KITH_ERR_AMBIGUOUS);
    assert_int_equal(count, 2);
    /* A UUID's and another's fingerprint beginning alike are ambiguous as well. */
    kith_peer third = device(11, "third");
    memcpy(third.uuid, kith_trust_at(trust, 0)->fingerprint, 2);
    assert_ok(kith_trust_add(trust, &third, NULL));
    kith_hex(third.uuid, 2, text);
    expect_found(trust, text, KITH_ERR_AMBIGUOUS, 0, 2);
    kith_trust_free(trust);
}

static void conflicts_are_seen(void **state)
{
    (void)state;
    kith_trust *trust = set_of(3);
    kith_peer same = device(2, "again"), key = device(2, "x"), id = device(2, "x"), both = device(2, "x"),
              sign = device(2, "x"), nobody = device(9, "x");
    memcpy(key.ed25519, nobody.ed25519, 32); /* UUID 2 with key 9 */
    memset(id.uuid, 9, 16);                  /* UUID 9 with key 2 */
    memset(both.uuid, 1, 16);                /* UUID 1 with key 2 */
    sign.ed25519[31] ^= 0x80;                /* the other Ed25519 key with the same X25519 key */
    assert_int_equal(kith_trust_add(trust, &same, NULL), KITH_ERR_EXISTS);
    assert_int_equal(kith_trust_add(trust, &key, NULL), KITH_ERR_KEY_CHANGED);
    assert_int_equal(kith_trust_add(trust, &id, NULL), KITH_ERR_ID_CHANGED);
    assert_int_equal(kith_trust_add(trust, &both, NULL), KITH_ERR_KEY_CHANGED);
    assert_int_equal(kith_trust_add(trust, &sign, NULL), KITH_ERR_KEY_CHANGED);
    memset(sign.uuid, 9, 16);
    assert_int_equal(kith_trust_add(trust, &sign, NULL), KITH_ERR_ID_CHANGED);
    assert_int_equal(kith_trust_check(trust, &same), KITH_OK);
    assert_int_equal(kith_trust_check(trust, &nobody), KITH_ERR_NOT_FOUND);
    kith_trust *fresh = set_of(3);
    equal_sets(trust, fresh);
    kith_trust_free(fresh);
    kith_trust_free(trust);
}

static void bad_peers(void **state)
{
    (void)state;
    kith_trust *trust = set_of(0);
    kith_peer bad[11];
    for (size_t i = 0; i < 11; i++) bad[i] = device(1, "x");
    bad[0].name[0] = 0;
    strcpy(bad[1].local_name, "a\nb");
    strcpy(bad[2].os, "\xff");
    bad[3].kind = 0;
    bad[4].kind = (kith_peer_kind)3;
    bad[5].how = 0;
    memset(bad[6].hardware_model, 'x', KITH_NAME_SIZE); /* no NUL */
    strcpy(bad[7].local_name, " x");
    bad[8].how = KITH_PEER_TOFU; /* an own device is never taken on first sight */
    bad[9].how = (kith_peer_how)(KITH_PEER_TOFU + 1);
    bad[10].overrides.of[KITH_OVERRIDES_MAX - 1] = 2 + KITH_ALLOW;
    for (size_t i = 0; i < 11; i++) assert_int_equal(kith_trust_add(trust, &bad[i], NULL), KITH_ERR_ARG);
    kith_peer low = device(1, "x");
    memset(low.ed25519, 0, 32);
    assert_int_equal(kith_trust_add(trust, &low, NULL), KITH_ERR_CRYPTO);
    assert_int_equal(kith_trust_count(trust), 0);
    kith_trust_free(trust);
}

static void replacing(void **state)
{
    (void)state;
    const kith_peer *now;
    /* The same device again: what it says of itself is new, what we know stays. */
    kith_trust *trust = set_of(3);
    kith_peer again = device(3, "renamed itself");
    assert_ok(kith_trust_rename(trust, again.fingerprint, "mine", NULL));
    assert_ok(kith_trust_replace(trust, &again, &now));
    assert_string_equal(now->name, "renamed itself");
    assert_string_equal(now->local_name, "mine");
    assert_true(now->verified);
    assert_int_equal(now->kind, KITH_PEER_OWN);
    again.added_at_ms = 5;
    assert_ok(kith_trust_override(trust, again.fingerprint, KITH_SERVICE_PING, true, KITH_DENY));
    assert_ok(kith_trust_replace(trust, &again, &now));
    assert_int_equal(now->added_at_ms, 1003);
    assert_int_equal(now->overrides.of[KITH_SERVICE_PING], 1 + KITH_DENY);
    /* A new key for a known UUID: the verified mark was for the old one. */
    kith_peer key = device(3, "reset"), old = device(3, "x");
    memcpy(key.ed25519, device(9, "x").ed25519, 32);
    assert_ok(kith_trust_replace(trust, &key, &now));
    assert_int_equal(kith_trust_count(trust), 3);
    assert_string_equal(now->local_name, "mine");
    assert_false(now->verified);
    assert_int_equal(now->overrides.of[KITH_SERVICE_PING], 0);
    assert_null(kith_trust_by_x25519(trust, old.x25519));
    assert_null(kith_trust_by_fingerprint(trust, old.fingerprint));
    /* UUID 1 with the key of 2: one device stays. */
    kith_peer both = device(1, "merged");
    memcpy(both.ed25519, device(2, "x").ed25519, 32);
    assert_ok(kith_trust_replace(trust, &both, &now));
    assert_int_equal(kith_trust_count(trust), 2);
    assert_ptr_equal(kith_trust_by_uuid(trust, both.uuid), now);
    assert_string_equal(now->local_name, "laptop");
    /* The place of the lower index goes: the pointer still fits. */
    kith_peer other = device(3, "again merged");
    memcpy(other.ed25519, both.ed25519, 32);
    assert_ok(kith_trust_replace(trust, &other, &now));
    assert_int_equal(kith_trust_count(trust), 1);
    assert_ptr_equal(now, kith_trust_at(trust, 0));
    assert_memory_equal(now->uuid, other.uuid, 16);
    kith_peer fresh = device(20, "mine");
    assert_ok(kith_trust_replace(trust, &fresh, &now));
    assert_string_equal(now->local_name, "mine-2");
    assert_int_equal(kith_trust_count(trust), 2);
    kith_trust_free(trust);
}

static void names_stay_unique(void **state)
{
    (void)state;
    kith_trust *trust = set_of(3);
    const kith_peer *peer;
    char longest[KITH_NAME_SIZE], euros[KITH_NAME_SIZE];
    uint8_t first[32], third[32];
    memcpy(first, kith_trust_at(trust, 0)->fingerprint, 32);
    memcpy(third, kith_trust_at(trust, 2)->fingerprint, 32);
    assert_string_equal(kith_trust_at(trust, 2)->local_name, "laptop-3");
    assert_string_equal(kith_trust_at(trust, 2)->name, "laptop");
    assert_ok(kith_trust_rename(trust, third, " box ", &peer));
    assert_string_equal(peer->local_name, "box");
    assert_ok(kith_trust_rename(trust, third, "box", &peer)); /* its own name is free for it */
    assert_string_equal(peer->local_name, "box");
    assert_ok(kith_trust_rename(trust, third, "laptop", &peer));
    assert_string_equal(peer->local_name, "laptop-3");
    assert_int_equal(kith_trust_rename(trust, third, "a\nb", &peer), KITH_ERR_ARG);
    first[0] ^= 1;
    assert_int_equal(kith_trust_rename(trust, first, "a", &peer), KITH_ERR_NOT_FOUND);
    first[0] ^= 1;
    memset(longest, 'n', 63), longest[63] = 0;
    assert_ok(kith_trust_rename(trust, first, longest, NULL));
    assert_ok(kith_trust_rename(trust, third, longest, &peer));
    longest[61] = '-', longest[62] = '2';
    assert_string_equal(peer->local_name, longest);
    for (size_t i = 0; i < 63; i += 3) memcpy(euros + i, "\xe2\x82\xac", 3); /* cut between characters */
    euros[63] = 0;
    assert_ok(kith_trust_rename(trust, first, euros, NULL));
    assert_ok(kith_trust_rename(trust, third, euros, &peer));
    strcpy(euros + 60, "-2");
    assert_string_equal(peer->local_name, euros);
    assert_true(kith_name_valid(peer->local_name));
    kith_trust_free(trust);
}

static void removing_and_verifying(void **state)
{
    (void)state;
    kith_trust *trust = set_of(3);
    uint8_t second[32];
    memcpy(second, kith_trust_at(trust, 1)->fingerprint, 32);
    assert_false(kith_trust_at(trust, 1)->verified);
    assert_int_equal(kith_trust_override(trust, second, KITH_SERVICE_HELLO, true, KITH_DENY), KITH_ERR_ARG);
    assert_int_equal(kith_trust_override(trust, second, KITH_SERVICE_PING, true, KITH_ASK), KITH_ERR_ARG);
    assert_ok(kith_trust_override(trust, second, KITH_SERVICE_FILE, true, KITH_ASK));
    assert_int_equal(kith_trust_at(trust, 1)->overrides.of[KITH_SERVICE_FILE], 1 + KITH_ASK);
    assert_ok(kith_trust_override(trust, second, KITH_SERVICE_FILE, false, KITH_DENY));
    assert_int_equal(kith_trust_at(trust, 1)->overrides.of[KITH_SERVICE_FILE], 0);
    assert_ok(kith_trust_verify(trust, second, true));
    assert_true(kith_trust_at(trust, 1)->verified);
    assert_ok(kith_trust_remove(trust, second));
    assert_int_equal(kith_trust_remove(trust, second), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_trust_verify(trust, second, true), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_trust_override(trust, second, KITH_SERVICE_FILE, true, KITH_ASK), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_trust_count(trust), 2);
    assert_int_equal(kith_trust_at(trust, 0)->uuid[0], 1);
    assert_int_equal(kith_trust_at(trust, 1)->uuid[0], 3);
    kith_trust_free(trust);
}

static void there_and_back(void **state)
{
    (void)state;
    for (size_t n = 0; n < 40; n += 13) {
        kith_trust *trust = set_of(n), *again;
        uint8_t *data, *second;
        size_t size, second_size;
        kith_reason reason;
        assert_ok(kith_trust_encode(trust, &data, &size));
        assert_ok(kith_trust_decode(data, size, &again, &reason));
        equal_sets(trust, again);
        assert_ok(kith_trust_encode(again, &second, &second_size));
        assert_int_equal(size, second_size);
        assert_memory_equal(data, second, size);
        kith_free(data);
        kith_free(second);
        kith_trust_free(trust);
        kith_trust_free(again);
    }
}

/* With its checksum, nothing changed in the file passes. */
static void every_cut_and_every_flip(void **state)
{
    (void)state;
    kith_trust *trust = set_of(2), *out = NULL;
    uint8_t *data;
    size_t size;
    kith_reason reason;
    assert_ok(kith_trust_encode(trust, &data, &size));
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = kith_memdup(data, cut);
        reason.text[0] = 0;
        assert_int_equal(kith_trust_decode(part, cut, &out, &reason), KITH_ERR_DAMAGED);
        assert_non_null(strstr(reason.text, "byte "));
        kith_free(part);
    }
    for (size_t i = 0; i < size * 8; i++) {
        data[i / 8] ^= (uint8_t)(1 << i % 8);
        kith_err err = kith_trust_decode(data, size, &out, &reason);
        assert_true(err == KITH_ERR_DAMAGED || (err == KITH_ERR_VERSION && i / 8 == 1));
        data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    uint8_t *longer = kith_calloc(1, size + 1);
    memcpy(longer, data, size);
    assert_int_equal(kith_trust_decode(longer, size + 1, &out, &reason), KITH_ERR_DAMAGED);
    assert_null(out);
    kith_free(longer);
    kith_free(data);
    kith_trust_free(trust);
}

/* Bodies that are whole (the checksum fits) and wrong, as a bug or a hostile hand would write them. */
static kith_err decode_body(const uint8_t *body, size_t size, uint64_t version)
{
    uint8_t *data;
    size_t data_size;
    kith_trust *out = NULL;
    kith_reason reason = {""};
    assert_ok(kith_envelope_make(KITH_TRUST_CONTEXT, version, body, size, &data, &data_size));
    kith_err err = kith_trust_decode(data, data_size, &out, &reason);
    if (err) assert_true(reason.text[0]);
    kith_trust_free(out);
    kith_free(data);
    return err;
}

/* What the first version wrote: the same without the overrides. */
static void an_older_file_is_read(void **state)
{
    (void)state;
    kith_trust *trust = set_of(2), *again = NULL;
    uint8_t *data, *old;
    const uint8_t *view;
    uint8_t body[1024];
    size_t size, view_size, old_size;
    kith_reason reason;
    assert_ok(kith_trust_remove(trust, kith_trust_at(trust, 0)->fingerprint)); /* it has overrides */
    assert_ok(kith_trust_encode(trust, &data, &size));
    assert_ok(kith_envelope_open(KITH_TRUST_CONTEXT, KITH_TRUST_VERSION, data, size, &view, &view_size, &reason));
    memcpy(body, view, view_size);
    assert_memory_equal(body + view_size - 2, "\x0b\x40", 2);
    assert_int_equal(decode_body(body, view_size, 1), KITH_ERR_DAMAGED);
    body[1]--; /* a map of ten */
    assert_int_equal(decode_body(body, view_size - 2, 2), KITH_ERR_DAMAGED);
    assert_ok(kith_envelope_make(KITH_TRUST_CONTEXT, 1, body, view_size - 2, &old, &old_size));
    assert_ok(kith_trust_decode(old, old_size, &again, &reason));
    equal_sets(trust, again);
    body[view_size - 3] = KITH_PEER_TOFU; /* which it did not know */
    assert_int_equal(decode_body(body, view_size - 2, 1), KITH_ERR_DAMAGED);
    kith_trust_free(trust);
    kith_trust_free(again);
    kith_free(data);
    kith_free(old);
}

static void bodies_that_break_a_rule(void **state)
{
    (void)state;
    kith_trust *trust = set_of(2);
    assert_ok(kith_trust_override(trust, kith_trust_at(trust, 0)->fingerprint, KITH_SERVICE_FILE, false, KITH_DENY));
    uint8_t *data, body[1024];
    const uint8_t *view;
    size_t size, view_size;
    kith_reason reason;
    assert_ok(kith_trust_encode(trust, &data, &size));
    assert_ok(kith_envelope_open(KITH_TRUST_CONTEXT, KITH_TRUST_VERSION, data, size, &view, &view_size, &reason));
    memcpy(body, view, view_size);
    assert_ok(decode_body(body, view_size, KITH_TRUST_VERSION));
    assert_int_equal(decode_body(body, view_size, 0), KITH_ERR_DAMAGED);
    assert_int_equal(decode_body(body, view_size, KITH_TRUST_VERSION + 1), KITH_ERR_VERSION);
    assert_int_equal(decode_body(body, 0, KITH_TRUST_VERSION), KITH_ERR_DAMAGED);
    for (size_t cut = 0; cut < view_size; cut++)
        assert_int_equal(decode_body(body, cut, KITH_TRUST_VERSION), KITH_ERR_DAMAGED);
    size_t one = (view_size - 1 - 2) / 2; /* the second is longer by "-2" */
    body[0] = 0x82;
    memcpy(body + 1 + one, body + 1, one); /* the first device twice */
    assert_int_equal(decode_body(body, 1 + 2 * one, KITH_TRUST_VERSION), KITH_ERR_DAMAGED);
    body[1 + one + 3] ^= 1; /* ... with another UUID: the key is there twice */
    assert_int_equal(decode_body(body, 1 + 2 * one, KITH_TRUST_VERSION), KITH_ERR_DAMAGED);
    memcpy(body, view, view_size);
    /* Two devices, one local name: take the "-2" away. */
    uint8_t *name = memmem(body, view_size, "\x68laptop-2", 9);
    assert_non_null(name);
    memmove(name + 7, name + 9, (size_t)(body + view_size - name - 9));
    name[0] = 0x66;
    assert_int_equal(decode_body(body, view_size - 2, KITH_TRUST_VERSION), KITH_ERR_DAMAGED);
    /* More devices than may be. */
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_array(&w, KITH_PEERS_MAX + 1);
    assert_int_equal(decode_body(body, sizeof body, KITH_TRUST_VERSION), KITH_ERR_DAMAGED);
    kith_free(data);
    kith_trust_free(trust);
}

static void the_cap(void **state)
{
    (void)state;
    kith_trust *trust;
    kith_peer peer = device(1, "x");
    uint8_t seed[32] = {0};
    char name[KITH_NAME_SIZE];
    assert_ok(kith_trust_new(&trust));
    memset(peer.os, 'o', 63), memset(peer.hardware_model, 'h', 63), memset(peer.name, 'n', 63);
    peer.os[63] = peer.hardware_model[63] = peer.name[63] = 0;
    peer.added_at_ms = INT64_MIN;
    memset(peer.overrides.of, 1 + KITH_ALLOW, sizeof peer.overrides.of);
    for (unsigned n = 0; n <= KITH_PEERS_MAX; n++) {
        memcpy(seed, &n, sizeof n);
        memcpy(peer.uuid, &n, sizeof n);
        kith_ed25519_public(seed, peer.ed25519);
        snprintf(name, sizeof name, "%063u", n);
        memcpy(peer.local_name, name, sizeof name);
        assert_int_equal(kith_trust_add(trust, &peer, NULL), n < KITH_PEERS_MAX ? KITH_OK : KITH_ERR_LIMIT);
    }
    kith_peer replaced = *kith_trust_at(trust, 5); /* a full set can still replace and remove */
    assert_ok(kith_trust_replace(trust, &replaced, NULL));
    uint8_t *data;
    size_t size;
    kith_reason reason;
    kith_trust *again;
    assert_ok(kith_trust_encode(trust, &data, &size)); /* the largest there can be */
    assert_true(size <= KITH_TRUST_FILE_MAX);
    assert_ok(kith_trust_decode(data, size, &again, &reason));
    assert_int_equal(kith_trust_count(again), KITH_PEERS_MAX);
    kith_free(data);
    kith_trust_free(again);
    kith_trust_free(trust);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_trust *trust = NULL, *again = NULL;
    uint8_t *data = NULL;
    size_t size;
    kith_reason reason;
    kith_err err = kith_trust_new(&trust);
    for (uint8_t n = 1; !err && n < 20; n++) {
        kith_peer peer = device(n, "laptop");
        err = kith_trust_add(trust, &peer, NULL);
    }
    if (!err) err = kith_trust_encode(trust, &data, &size);
    if (!err) err = kith_trust_decode(data, size, &again, &reason);
    kith_free(data);
    kith_trust_free(trust);
    kith_trust_free(again);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

static void what_it_calls_itself(void **state)
{
    (void)state;
    kith_trust *trust = set_of(3); /* laptop, laptop-2, laptop-3 */
    kith_peer first = device(1, "x"), second = device(2, "x"), stranger = device(9, "x");
    assert_ok(kith_trust_describe(trust, first.fingerprint, "desk\n", "BSD", ""));
    assert_string_equal(kith_trust_at(trust, 0)->name, "desk");
    assert_string_equal(kith_trust_at(trust, 0)->local_name, "desk"); /* nobody called it something else */
    assert_string_equal(kith_trust_at(trust, 0)->os, "BSD");
    assert_string_equal(kith_trust_at(trust, 0)->hardware_model, "");
    assert_ok(kith_trust_describe(trust, second.fingerprint, "desk", "", ""));
    assert_string_equal(kith_trust_at(trust, 1)->name, "desk");
    assert_string_equal(kith_trust_at(trust, 1)->local_name, "laptop-2"); /* which is not what it calls itself */
    assert_ok(kith_trust_rename(trust, second.fingerprint, "laptop", NULL));
    assert_ok(kith_trust_describe(trust, first.fingerprint, "laptop", "", ""));
    assert_string_equal(kith_trust_at(trust, 0)->local_name, "laptop-2"); /* the name is taken */
    assert_ok(kith_trust_describe(trust, first.fingerprint, "", "", ""));
    assert_string_equal(kith_trust_at(trust, 0)->name, "device");
    assert_int_equal(kith_trust_describe(trust, stranger.fingerprint, "x", "", ""), KITH_ERR_NOT_FOUND);
    kith_trust_free(trust);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_derived),
        TEST(what_it_calls_itself),
        TEST(finding),
        TEST(the_device_argument),
        TEST(conflicts_are_seen),
        TEST(bad_peers),
        TEST(replacing),
        TEST(names_stay_unique),
        TEST(removing_and_verifying),
        TEST(there_and_back),
        TEST(every_cut_and_every_flip),
        TEST(an_older_file_is_read),
        TEST(bodies_that_break_a_rule),
        TEST(the_cap),
        TEST(failing_allocations),
    };
    return cmocka_run_group_tests_name("identity/trust", tests, NULL, NULL);
}
