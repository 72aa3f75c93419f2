#include "relay/settings.h"

#include "base/mem.h"
#include "relay/tokens.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

static kith_err read_text(const char *text, kith_relay_settings *out, kith_relay_reason *reason)
{
    return kith_relay_settings_read(text, strlen(text), out, reason);
}

static void defaults(void **state)
{
    (void)state;
    kith_relay_settings s, read;
    kith_relay_reason reason;
    kith_relay_settings_default(&s);
    assert_int_equal(s.message_bytes, KITH_RELAY_MESSAGE_MAX);
    assert_ok(read_text("# nothing\n\n", &read, &reason));
    assert_memory_equal(&s, &read, sizeof s);
    for (kith_relay_setting i = 0; i < KITH_RELAY_SETTING_COUNT; i++) { /* each default is one that may be set */
        char line[200];
        snprintf(line, sizeof line, "%s = %llu", kith_relay_setting_name(i),
                 (unsigned long long)kith_relay_setting_get(&s, i));
        if (read_text(line, &read, &reason)) fail_msg("%s: %s", line, reason.text);
    }
}

static void values(void **state)
{
    (void)state;
    kith_relay_settings s;
    kith_relay_reason reason;
    assert_ok(read_text(" connections = 5 # few\r\nidle_ms = 2m\nrefuse_ms = 3s\nqueue_bytes = 2M\nburst_bytes = 1G\n"
                        "name = Relay.Example:443\nname = 192.0.2.1:4433",
                        &s, &reason));
    assert_int_equal(s.connections, 5);
    assert_int_equal(s.idle_ms, 120000);
    assert_int_equal(s.refuse_ms, 3000);
    assert_int_equal(s.queue_bytes, 2 << 20);
    assert_int_equal(s.burst_bytes, 1 << 30);
    assert_int_equal(s.name_count, 2);
    assert_string_equal(s.names[0], "relay.example");
    assert_string_equal(s.names[1], "192.0.2.1:4433");
}

static void wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"nothing = 1", "line 1: there is no setting nothing"},
        {"\n\nconnections 5", "line 3: not \"name = value\""},
        {"connections = ", "not \"name"},
        {"connections = 5 6", "not \"name"},
        {"connections = 0", "connections is a number from 1 to 1048576"},
        {"connections = -1", "from 1"},
        {"connections = 5K", "from 1"},
        {"connections = 99999999999999999999999999", "from 1"},
        {"queue_bytes = 1", "queue_bytes is bytes"},
        {"queue_bytes = 9000000000G", "queue_bytes is bytes"},
        {"idle_ms = 5x", "idle_ms is a time"},
        {"idle_ms = h", "idle_ms is a time"},
        {"message_bytes = 1M", "to 65007"},
        {"name = a/b\x7f", "name is not"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_relay_settings s;
        kith_relay_reason reason = {""};
        assert_int_equal(read_text(cases[i].text, &s, &reason), KITH_ERR_FORMAT);
        if (!strstr(reason.text, cases[i].part)) fail_msg("%s: %s", cases[i].text, reason.text);
    }
}

static kith_err read_tokens(const char *text, kith_tokens **out, kith_relay_reason *reason)
{
    return kith_tokens_read(text, strlen(text), out, reason);
}

static void tokens(void **state)
{
    (void)state;
    kith_tokens *t = NULL;
    kith_relay_reason reason;
    assert_ok(read_tokens("# ours\nb  0123456789abcdef quota=2G\na fedcba9876543210 expires=2027-01-31T00:00:00Z\n", &t,
                          &reason));
    assert_int_equal(kith_tokens_count(t), 2);
    kith_token *b = kith_tokens_find(t, "0123456789abcdef", 16);
    assert_non_null(b);
    assert_string_equal(b->name, "b");
    assert_true(b->quota_bytes == UINT64_C(2) << 30 && b->expires_ms == INT64_MAX);
    assert_int_equal(kith_tokens_named(t, "a")->expires_ms, 1801353600000);
    assert_null(kith_tokens_find(t, "0123456789abcde", 15));
    assert_null(kith_tokens_named(t, "c"));
    kith_tokens_free(t);
    assert_ok(read_tokens("", &t, &reason));
    assert_null(kith_tokens_find(t, "x", 1));
    kith_tokens_free(t);
}

static void wrong_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"a", "line 1: not NAME"},
        {"\na short", "line 2: a token has"},
        {"a\" 0123456789abcdef", "a name has"},
        {"a 0123456789abcdef what=1", "neither expires"},
        {"a 0123456789abcdef quota=", "neither expires"},
        {"a 0123456789abcdef quota=x", "quota is not"},
        {"a 0123456789abcdef expires=yesterday", "expires is not"},
        {"a 0123456789abcdef expires=20270131T00000000000000000000000000000000000000Z", "expires is not"},
        {"a 0123456789abcdef quota=1 quota=1 quota=1", "line 1: not NAME"},
        {"a 0123456789abcdef\nb 0123456789abcdef", "a token is there twice"},
        {"a 0123456789abcdef\na 1123456789abcdef", "a name is there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_tokens *t = NULL;
        kith_relay_reason reason = {""};
        assert_int_equal(read_tokens(cases[i].text, &t, &reason), KITH_ERR_FORMAT);
        if (!strstr(reason.text, cases[i].part)) fail_msg("%s: %s", cases[i].text, reason.text);
        assert_null(strstr(reason.text, "0123456789abcdef"));
    }
    assert_int_equal(kith_mem_live(), 0);
}

static int read_both(void *arg)
{
    (void)arg;
    kith_tokens *t = NULL;
    kith_relay_reason reason;
    kith_err err = read_tokens("a 0123456789abcdef", &t, &reason);
    if (!err) kith_tokens_free(t);
    return err;
}

static void no_memory(void **state)
{
    (void)state;
    test_every_allocation(read_both, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(defaults), TEST(values),       TEST(wrong),
                                       TEST(tokens),   TEST(wrong_tokens), TEST(no_memory)};
    return cmocka_run_group_tests_name("relay/settings", tests, NULL, NULL);
}
