#include "base/url.h"

#include "testlib.h"

#include <string.h>

static void good_ones(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool secure, is_ipv6;
        unsigned port;
        const char *host, *path;
    } cases[] = {
        {"ws://relay.example", false, false, 80, "relay.example", "/"},
        {"wss://relay.example", true, false, 443, "relay.example", "/"},
        {"WSS://Relay.Example:8443/a/B?c=d&e=%20", true, false, 8443, "relay.example", "/a/B?c=d&e=%20"},
        {"ws://192.0.2.1:65535?q", false, false, 65535, "192.0.2.1", "/?q"},
        {"wss://[2001:db8::1]/", true, true, 443, "2001:db8::1", "/"},
        {"ws://[::1]:1/x", false, true, 1, "::1", "/x"},
        {"ws://a_b-c.example./", false, false, 80, "a_b-c.example.", "/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_url url;
        memset(&url, 0xaa, sizeof url);
        assert_ok(kith_url_parse(cases[i].text, &url));
        assert_int_equal(url.secure, cases[i].secure);
        assert_int_equal(url.is_ipv6, cases[i].is_ipv6);
        assert_int_equal(url.port, cases[i].port);
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.path, cases[i].path);
    }
}

static void bad_ones(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "relay.example",
        "http://relay.example",
        "https://relay.example",
        "ws:/relay.example",
        "ws://",
        "ws:///path",
        "ws://:80/",
        "ws://a:/",
        "ws://a:0/",
        "ws://a:65536/",
        "ws://a:8x/",
        "ws://a b/",
        "ws://user@a/",
        "ws://a/#top",
        "ws://a/\r\nX: y",
        "ws://a/\x7f",
        "ws://[::1/",
        "ws://[]/",
        "ws://[192.0.2.1]/",
        "ws://[::1]x/",
        "ws://[::1]:80:80/",
        "ws://-a/",
        "ws://.a/",
        "ws://a/\"",
        "ws://a/<b>",
        "ws://\xc3\xa4/",
        "ws://a/\xc3\xa4",
        " ws://a/",
        "ws://[g::1]/",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kith_url url = {.port = 7};
        if (kith_url_parse(bad[i], &url) != KITH_ERR_ARG) fail_msg("\"%s\"", bad[i]);
        assert_int_equal(url.port, 7);
    }
}

static void lengths(void **state)
{
    (void)state;
    char text[KITH_URL_TEXT_SIZE + 8];
    kith_url url;
    for (int over = 0; over < 2; over++) {
        size_t host = KITH_URL_HOST_SIZE - 1 + (size_t)over, path = KITH_URL_PATH_SIZE - 1;
        memcpy(text, "ws://", 5);
        memset(text + 5, 'a', host);
        text[5 + host] = '/';
        memset(text + 6 + host, 'b', path - 1);
        text[5 + host + path] = 0;
        assert_int_equal(kith_url_parse(text, &url), over ? KITH_ERR_ARG : KITH_OK);
    }
    assert_int_equal(strlen(url.host), KITH_URL_HOST_SIZE - 1);
    assert_int_equal(strlen(url.path), KITH_URL_PATH_SIZE - 1);
    memcpy(text, "ws://a/", 7);
    memset(text + 7, 'b', KITH_URL_PATH_SIZE);
    text[7 + KITH_URL_PATH_SIZE] = 0;
    assert_int_equal(kith_url_parse(text, &url), KITH_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(good_ones), TEST(bad_ones), TEST(lengths)};
    return cmocka_run_group_tests_name("base/url", tests, NULL, NULL);
}
