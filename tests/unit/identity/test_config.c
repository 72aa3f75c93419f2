#include "base/mem.h"
#include "identity/config.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kith_reason reason;

static kith_err decode(const char *text, kith_config *out)
{
    return kith_config_decode(text, strlen(text), out, &reason);
}

/* `old` (NULL: none) with a change; *out is NUL-terminated, to be released. */
static kith_err change(const char *old, kith_config_key key, const char *text, char **out)
{
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_config_change(old, old ? strlen(old) : 0, key, text, &data, &size, &reason);
    if (err) return err;
    *out = calloc(1, size + 1);
    memcpy(*out, data, size);
    kith_free(data);
    return KITH_OK;
}

static void each_setting_is_described(void **state)
{
    (void)state;
    for (int i = 0; i < KITH_CONFIG_KEYS; i++) {
        const kith_setting *about = kith_config_about((kith_config_key)i);
        assert_int_equal(kith_config_find(about->key), i);
        assert_true(*about->about && *about->allowed && about->choices && about->standard);
    }
    assert_int_equal(kith_config_find("nothing"), KITH_CONFIG_KEYS);
    assert_int_equal(kith_config_find(""), KITH_CONFIG_KEYS);
}

static void nothing_is_set(void **state)
{
    (void)state;
    kith_config config = {{NULL}};
    char *memory;
    const char *urls[KITH_OPTIONS_RELAYS_MAX];
    size_t count = 9;
    assert_ok(decode("{\"version\": 1}", &config));
    for (int i = 0; i < KITH_CONFIG_KEYS; i++) assert_null(config.values[i]);
    assert_string_equal(kith_config_text(&config, KITH_CONFIG_RELAY), "none");
    assert_string_equal(kith_config_text(&config, KITH_CONFIG_LAN), "yes");
    assert_string_equal(kith_config_text(&config, KITH_CONFIG_DIR), "");
    assert_ok(kith_config_relays(&config, &memory, urls, &count));
    assert_null(memory);
    assert_int_equal(count, 0);
}

static const char whole[] = "{\"theme\": {\"dark\": [1, 2.5, null]}, \"version\": 1, \"relay\": [\"wss://a.example\", "
                            "\"ws://[::1]:80/x\"], \"relay-token-file\": \"/t\", \"lan\": false, \"listen\": "
                            "\"0.0.0.0:7777\", \"dir\": \"/in\", \"accept\": \"contacts\", \"conflict\": \"skip\"}";

static void a_whole_file(void **state)
{
    (void)state;
    static const char *const want[] = {
        "wss://a.example ws://[::1]:80/x", "/t", "no", "0.0.0.0:7777", "/in", "contacts", "skip"};
    kith_config config;
    char *memory;
    const char *urls[KITH_OPTIONS_RELAYS_MAX];
    size_t count;
    assert_ok(decode(whole, &config));
    for (int i = 0; i < KITH_CONFIG_KEYS; i++) assert_string_equal(config.values[i], want[i]);
    assert_ok(kith_config_relays(&config, &memory, urls, &count));
    assert_int_equal(count, 2);
    assert_string_equal(urls[0], "wss://a.example");
    assert_string_equal(urls[1], "ws://[::1]:80/x");
    kith_free(memory);
    kith_config_done(&config);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        kith_err err;
    } cases[] = {
        {"", "line 1", KITH_ERR_DAMAGED},
        {"[]", "not a JSON object", KITH_ERR_DAMAGED},
        {"{\"version\": 1", "line 1", KITH_ERR_DAMAGED},
        {"{}", "version", KITH_ERR_DAMAGED},
        {"{\"version\": 2, \"lan\": 7}", "format 2", KITH_ERR_VERSION},
        {"{\"version\": 1, \"version\": 1}", "uplicate", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"relay\": \"ws://x\"}", "relay: not a list", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"relay\": [\"ws://x\", 1]}", "relay: ", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"relay\": [\"http://x\"]}", "relay: ", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"relay\": [\"none\"]}", "relay: ", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"relay\": [\"ws://x/a,ws://y\"]}", "relay: ", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"relay\": [\"ws://1\",\"ws://2\",\"ws://3\",\"ws://4\",\"ws://5\",\"ws://6\",\"ws://7\","
         "\"ws://8\",\"ws://9\"]}",
         "at most 8", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"lan\": \"no\"}", "lan: not true or false", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"lan\": null}", "lan: ", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"listen\": 7777}", "listen: not an address", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"dir\": \"in\"}", "dir: not the path of a folder", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"accept\": \"all\"}", "accept: not own or contacts", KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"conflict\": \"\"}", "conflict: ", KITH_ERR_DAMAGED},
    };
    kith_config config = {{(char *)(uintptr_t) "untouched"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reason.text[0] = 0;
        if (decode(cases[i].text, &config) != cases[i].err || !strstr(reason.text, cases[i].says))
            fail_msg("%s: \"%s\"", cases[i].text, reason.text);
        assert_string_equal(config.values[0], "untouched");
    }
}

static void good_and_bad_values(void **state)
{
    (void)state;
    char many[1000] = "", nine[1000] = "", longest[KITH_PATH_NAME_MAX + 8], big[2 * KITH_SETTING_TEXT];
    for (int i = 0; i < 8; i++) strcat(many, "wss://relay.example/with/a/path ");
    strcat(strcpy(nine, many), "ws://x");
    memset(longest, 'x', sizeof longest);
    *longest = '/';
    longest[KITH_PATH_NAME_MAX] = 0;
    memset(big, ' ', sizeof big);
    strcpy(big + sizeof big - 5, "none");
    const struct {
        kith_config_key key;
        const char *text, *clean; /* NULL: it is no good */
    } cases[] = {
        {KITH_CONFIG_RELAY, "none", "none"},
        {KITH_CONFIG_RELAY, " none ", "none"},
        {KITH_CONFIG_RELAY, "ws://a", "ws://a"},
        {KITH_CONFIG_RELAY, "ws://a,wss://b:1/x?y , \tws://[fe80::1]", "ws://a wss://b:1/x?y ws://[fe80::1]"},
        {KITH_CONFIG_RELAY, nine, NULL},
        {KITH_CONFIG_RELAY, big, NULL},
        {KITH_CONFIG_RELAY, "", NULL},
        {KITH_CONFIG_RELAY, " , ", NULL},
        {KITH_CONFIG_RELAY, "none ws://a", NULL},
        {KITH_CONFIG_RELAY, "ws://a none", NULL},
        {KITH_CONFIG_RELAY, "none none", NULL},
        {KITH_CONFIG_RELAY, "relay.example", NULL},
        {KITH_CONFIG_RELAY, "ws://user@a", NULL},
        {KITH_CONFIG_RELAY, "ws://a:70000", NULL},
        {KITH_CONFIG_LAN, "yes", "yes"},
        {KITH_CONFIG_LAN, "no", "no"},
        {KITH_CONFIG_LAN, "true", NULL},
        {KITH_CONFIG_LAN, "", NULL},
        {KITH_CONFIG_LAN, "yes|no", NULL},
        {KITH_CONFIG_LISTEN, "0.0.0.0:7777", "0.0.0.0:7777"},
        {KITH_CONFIG_LISTEN, "[::]:7777", "[::]:7777"},
        {KITH_CONFIG_LISTEN, "192.0.2.1", "192.0.2.1"},
        {KITH_CONFIG_LISTEN, "[fe80::1%1]:7", NULL},
        {KITH_CONFIG_LISTEN, "0.0.0.0:77777", NULL},
        {KITH_CONFIG_LISTEN, ":7777", NULL},
        {KITH_CONFIG_LISTEN, "7777", NULL},
        {KITH_CONFIG_LISTEN, "", NULL},
        {KITH_CONFIG_DIR, "/", "/"},
        {KITH_CONFIG_DIR, "/home/j\xc3\xbcrgen/in here", "/home/j\xc3\xbcrgen/in here"},
        {KITH_CONFIG_DIR, "in", NULL},
        {KITH_CONFIG_DIR, "", NULL},
        {KITH_CONFIG_DIR, "/a\nb", NULL},
        {KITH_CONFIG_DIR, "/a\x7f", NULL},
        {KITH_CONFIG_DIR, "/\xff", NULL},
        {KITH_CONFIG_DIR, longest, NULL},
        {KITH_CONFIG_DIR, longest + 1, NULL},
        {KITH_CONFIG_RELAY_TOKEN_FILE, "/t", "/t"},
        {KITH_CONFIG_RELAY_TOKEN_FILE, "~/t", NULL},
        {KITH_CONFIG_ACCEPT, "own", "own"},
        {KITH_CONFIG_ACCEPT, "contacts", "contacts"},
        {KITH_CONFIG_ACCEPT, "contact", NULL},
        {KITH_CONFIG_ACCEPT, "ow", NULL},
        {KITH_CONFIG_CONFLICT, "overwrite", "overwrite"},
        {KITH_CONFIG_CONFLICT, "merge", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = NULL;
        kith_config config;
        kith_err err = change(NULL, cases[i].key, cases[i].text, &out);
        if (err != (cases[i].clean ? KITH_OK : KITH_ERR_ARG)) fail_msg("\"%.60s\" gives %d", cases[i].text, err);
        if (err) continue;
        assert_ok(decode(out, &config)); /* what is written can be read */
        assert_string_equal(config.values[cases[i].key], cases[i].clean);
        kith_config_done(&config);
        free(out);
    }
    char *out;
    kith_config config;
    assert_ok(change(NULL, KITH_CONFIG_RELAY, many, &out));
    free(out);
    longest[KITH_PATH_NAME_MAX - 1] = 0; /* the longest there can be */
    assert_ok(change(NULL, KITH_CONFIG_DIR, longest, &out));
    assert_ok(decode(out, &config));
    assert_string_equal(config.values[KITH_CONFIG_DIR], longest);
    kith_config_done(&config);
    free(out);
}

/* Eight of the longest URLs there are. */
static void the_longest_relays(void **state)
{
    (void)state;
    char url[528], text[KITH_SETTING_TEXT + 1] = "", *out;
    kith_config config;
    memset(url, 'a', sizeof url);
    memcpy(url, "wss://", 6);
    memcpy(url + 6 + 253, ":65535/", 7);
    url[6 + 253 + 6 + 255] = 0;
    for (int i = 0; i < KITH_OPTIONS_RELAYS_MAX; i++) sprintf(text + strlen(text), "%s%s", i ? " " : "", url);
    assert_ok(change(NULL, KITH_CONFIG_RELAY, text, &out));
    assert_ok(decode(out, &config));
    assert_string_equal(config.values[KITH_CONFIG_RELAY], text);
    kith_config_done(&config);
    free(out);
}

static void others_members_stay(void **state)
{
    (void)state;
    char *out, *again;
    kith_config config;
    assert_ok(change(whole, KITH_CONFIG_LAN, "yes", &out));
    json_t *was = json_loads(whole, 0, NULL), *is = json_loads(out, 0, NULL);
    assert_true(json_is_true(json_object_get(is, "lan")));
    json_object_set_new(was, "lan", json_true());
    assert_true(json_equal(was, is));
    json_decref(is);
    assert_ok(change(out, KITH_CONFIG_RELAY, NULL, &again));
    is = json_loads(again, 0, NULL);
    json_object_del(was, "relay");
    json_object_del(was, "relay-token-file"); /* was theirs */
    assert_true(json_equal(was, is));
    json_decref(is);
    json_decref(was);
    free(out);
    assert_ok(change(again, KITH_CONFIG_RELAY, NULL, &out)); /* not set: the same */
    assert_string_equal(again, out);
    free(out);
    assert_ok(change(again, KITH_CONFIG_RELAY, "none", &out));
    assert_ok(decode(out, &config));
    assert_string_equal(config.values[KITH_CONFIG_RELAY], "none");
    kith_config_done(&config);
    free(out);
    free(again);
}

/* No relay is shown what another one asks for. */
static void a_token_stays_with_its_relays(void **state)
{
    (void)state;
    static const struct {
        const char *was, *becomes; /* NULL: not set */
        bool kept;
    } cases[] = {
        {"[\"ws://a\", \"ws://b\"]", "ws://b ws://a", true},
        {"[\"ws://a\", \"ws://b\"]", "ws://b", true},
        {"[\"ws://a\", \"ws://b\"]", "ws://a ws://a", true},
        {"[]", "ws://a", true}, /* it is for those that come */
        {NULL, "ws://a", true},
        {"[]", "none", true},
        {"[]", NULL, true},
        {"[\"ws://a\"]", "ws://b", false},
        {"[\"ws://a\"]", "ws://a ws://b", false},
        {"[\"wss://a\"]", "ws://a", false},
        {"[\"ws://a.example\"]", "ws://a", false},
        {"[\"ws://a\"]", "ws://a.example", false},
        {"[\"ws://a\"]", "none", false}, /* else it would be the next one's */
        {"[\"ws://a\"]", NULL, false},
        {"7", "ws://a", false}, /* whose it was cannot be told */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char old[256], *out;
        kith_config config;
        snprintf(old, sizeof old, "{\"version\": 1, \"relay-token-file\": \"/t\"%s%s}",
                 cases[i].was ? ", \"relay\": " : "", cases[i].was ? cases[i].was : "");
        assert_ok(change(old, KITH_CONFIG_RELAY, cases[i].becomes, &out));
        assert_ok(decode(out, &config));
        if ((config.values[KITH_CONFIG_RELAY_TOKEN_FILE] != NULL) != cases[i].kept)
            fail_msg("from %s to %s: %s", old, cases[i].becomes, out);
        kith_config_done(&config);
        free(out);
    }
}

/* What is wrong with the very setting is mended; what is wrong beside it is not touched. */
static void a_bad_setting_is_replaced(void **state)
{
    (void)state;
    static const char bad[] = "{\"version\": 1, \"lan\": 7, \"accept\": \"own\"}";
    char *out;
    kith_config config;
    for (int i = 0; i < 2; i++) {
        assert_ok(change(bad, KITH_CONFIG_LAN, i ? NULL : "no", &out));
        assert_ok(decode(out, &config));
        assert_string_equal(kith_config_text(&config, KITH_CONFIG_LAN), i ? "yes" : "no");
        kith_config_done(&config);
        free(out);
    }
    assert_int_equal(change(bad, KITH_CONFIG_DIR, "/in", &out), KITH_ERR_DAMAGED);
    assert_non_null(strstr(reason.text, "lan"));
    assert_int_equal(change("{\"version\": 2}", KITH_CONFIG_LAN, "no", &out), KITH_ERR_VERSION);
    assert_int_equal(change("{", KITH_CONFIG_LAN, NULL, &out), KITH_ERR_DAMAGED);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_config config = {{NULL}};
    uint8_t *out = NULL;
    char *memory = NULL;
    const char *urls[KITH_OPTIONS_RELAYS_MAX];
    size_t size, count;
    kith_err err =
        kith_config_change(whole, sizeof whole - 1, KITH_CONFIG_RELAY, "ws://a ws://b", &out, &size, &reason);
    if (!err) err = kith_config_decode(out, size, &config, &reason);
    if (!err) err = kith_config_relays(&config, &memory, urls, &count);
    kith_free(memory);
    kith_free(out);
    kith_config_done(&config);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_setting_is_described),
        TEST(nothing_is_set),
        TEST(a_whole_file),
        TEST(what_is_wrong_is_named),
        TEST(good_and_bad_values),
        TEST(the_longest_relays),
        TEST(others_members_stay),
        TEST(a_token_stays_with_its_relays),
        TEST(a_bad_setting_is_replaced),
        TEST(failing_allocations),
    };
    return cmocka_run_group_tests_name("identity/config", tests, NULL, NULL);
}
