#include "io/proxy.h"

#include "testlib.h"

#include <string.h>

static const struct variable {
    const char *name, *value;
} * environment;

static char *get(const char *name)
{
    for (const struct variable *v = environment; v->name; v++)
        if (strcmp(v->name, name) == 0) return (char *)(uintptr_t)v->value;
    return NULL;
}

static kith_err ask(const char *text, const struct variable *variables, kith_io_proxy *out)
{
    kith_url url;
    assert_ok(kith_url_parse(text, &url));
    environment = variables;
    return kith_io_proxy_for(&url, get, out);
}

static void which_variable_counts(void **state)
{
    (void)state;
    static const struct variable all[] = {{"http_proxy", "http://plain:1/"},
                                          {"https_proxy", "secure:2"},
                                          {"HTTP_PROXY", "never:3"},
                                          {"all_proxy", "all:4"},
                                          {NULL, NULL}};
    static const struct variable upper[] = {
        {"HTTP_PROXY", "never:3"}, {"HTTPS_PROXY", "HTTP://Secure.Example:5"}, {NULL, NULL}};
    static const struct variable only_all[] = {{"https_proxy", ""}, {"ALL_PROXY", "[2001:db8::1]:6"}, {NULL, NULL}};
    kith_io_proxy proxy;
    assert_ok(ask("ws://a/", all, &proxy));
    assert_string_equal(proxy.host, "plain");
    assert_int_equal(proxy.port, 1);
    assert_ok(ask("wss://a/", all, &proxy));
    assert_string_equal(proxy.host, "secure");
    assert_int_equal(proxy.port, 2);
    assert_ok(ask("ws://a/", upper, &proxy));
    assert_string_equal(proxy.host, "");
    assert_ok(ask("wss://a/", upper, &proxy));
    assert_string_equal(proxy.host, "secure.example");
    assert_int_equal(proxy.port, 5);
    assert_ok(ask("wss://a/", only_all, &proxy));
    assert_string_equal(proxy.host, "2001:db8::1");
    assert_int_equal(proxy.port, 6);
}

static void users(void **state)
{
    (void)state;
    static const struct variable good[] = {{"http_proxy", "http://me%3a:p%40ss@host:1"}, {NULL, NULL}};
    kith_io_proxy proxy;
    assert_ok(ask("ws://a/", good, &proxy));
    assert_string_equal(proxy.user, "me::p@ss");
    assert_string_equal(proxy.host, "host");
    static const char *const bad[] = {"me%4@host:1", "me%zz@host:1", "a%0d%0ab@host:1", "socks5://host:1",
                                      "https://h",   "host:99999",   "ho st:1",         "@",
                                      "http://"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct variable one[] = {{"http_proxy", bad[i]}, {NULL, NULL}};
        if (ask("ws://a/", one, &proxy) != KITH_ERR_FORMAT) fail_msg("%s", bad[i]);
    }
}

static void no_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *url, *list;
        bool exempt;
    } cases[] = {
        {"ws://relay.example/", "*", true},
        {"ws://relay.example/", "relay.example", true},
        {"ws://relay.example/", "RELAY.Example", true},
        {"ws://relay.example/", "example", true},
        {"ws://relay.example/", ".example", true},
        {"ws://relay.example/", "a.org, .example ,b.org", true},
        {"ws://relay.example/", "lay.example", false},
        {"ws://relay.example/", "relay.example.org", false},
        {"ws://relay.example/", "a.relay.example", false},
        {"ws://relay.example/", "", false},
        {"ws://relay.example/", ".", false},
        {"ws://relay.example:81/", "relay.example:81", true},
        {"ws://relay.example:81/", "relay.example:8", false},
        {"ws://192.0.2.1/", "192.0.2.1", true},
        {"ws://192.0.2.1/", "192.0.2.11", false},
        {"ws://[::1]/", "[::1]", true},
        {"ws://[::1]/", "::1", true},
        {"ws://[::1]/", "::2", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct variable variables[] = {{"http_proxy", "p:1"}, {"no_proxy", cases[i].list}, {NULL, NULL}};
        kith_io_proxy proxy;
        assert_ok(ask(cases[i].url, variables, &proxy));
        if ((proxy.host[0] == 0) != cases[i].exempt) fail_msg("%s, %s", cases[i].url, cases[i].list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(which_variable_counts), TEST(users), TEST(no_proxy)};
    return cmocka_run_group_tests_name("io/proxy", tests, NULL, NULL);
}
