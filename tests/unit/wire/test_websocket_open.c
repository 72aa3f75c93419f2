/* Opening a WebSocket: requests byte for byte, and answers that do not agree. */
#include "testlib.h"
#include "wire/websocket.h"

#include <stdlib.h>
#include <string.h>

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static kith_url url_of(const char *text)
{
    kith_url url;
    assert_ok(kith_url_parse(text, &url));
    return url;
}

static void requests(void **state)
{
    (void)state;
    char out[KITH_WEBSOCKET_REQUEST_MAX];
    kith_url url = url_of("ws://Relay.example/a?b=c");
    assert_ok(kith_websocket_request(&url, KEY, "chat", out));
    assert_string_equal(out,
                        "GET /a?b=c HTTP/1.1\r\nHost: relay.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Protocol: chat\r\n\r\n");
    assert_ok(kith_websocket_request(&url, KEY, NULL, out));
    assert_null(strstr(out, "Protocol"));
    assert_ok(kith_websocket_tunnel_request(&url, "", out));
    assert_string_equal(out, "CONNECT relay.example:80 HTTP/1.1\r\nHost: relay.example:80\r\n\r\n");
    assert_ok(kith_websocket_tunnel_request(&url, "Aladdin:open sesame", out)); /* RFC 7617 section 2 */
    assert_non_null(strstr(out, "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"));
}

static void hosts(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"ws://a.example", "a.example", "a.example:80"},
        {"ws://a.example:443", "a.example:443", "a.example:443"},
        {"wss://a.example", "a.example", "a.example:443"},
        {"wss://a.example:80", "a.example:80", "a.example:80"},
        {"ws://[2001:db8::1]", "[2001:db8::1]", "[2001:db8::1]:80"},
        {"ws://[2001:db8::1]:99", "[2001:db8::1]:99", "[2001:db8::1]:99"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char host[KITH_WEBSOCKET_HOST_SIZE], tunnel[KITH_WEBSOCKET_REQUEST_MAX];
        kith_url url = url_of(cases[i][0]);
        kith_websocket_host(&url, host);
        assert_string_equal(host, cases[i][1]);
        assert_ok(kith_websocket_tunnel_request(&url, "", tunnel));
        assert_memory_equal(tunnel + strlen("CONNECT "), cases[i][2], strlen(cases[i][2]));
    }
}

static void what_is_too_long(void **state)
{
    (void)state;
    char out[KITH_WEBSOCKET_REQUEST_MAX] = "as it was", text[KITH_WEBSOCKET_REQUEST_MAX];
    kith_url url = url_of("ws://a");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    assert_int_equal(kith_websocket_request(&url, KEY, text, out), KITH_ERR_LIMIT);
    assert_int_equal(kith_websocket_tunnel_request(&url, text, out), KITH_ERR_LIMIT);
    assert_string_equal(out, "as it was");
}

/* ---- answers ---- */

static void heads(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nmore";
    static const char *const bad[] = {"SSH-2.0",
                                      "http/1.1 200 x\r\n\r\n",
                                      "HTTP/2 200 x\r\n\r\n",
                                      "HTTP/1.1\r\n\r\n",
                                      "HTTP/1.1 20\r\n\r\n",
                                      "HTTP/1.1 2x0 y\r\n\r\n",
                                      "HTTP/1.1x200\r\n\r\n"};
    size_t head, whole = sizeof text - 1 - 4;
    unsigned status = 7;
    for (size_t size = 0; size < whole; size++) {
        assert_ok(kith_websocket_head(text, size, &head, &status));
        assert_int_equal(head, 0);
        assert_int_equal(status, 7);
    }
    for (size_t size = whole; size < sizeof text; size++) {
        assert_ok(kith_websocket_head(text, size, &head, &status));
        assert_int_equal(head, whole);
        assert_int_equal(status, 200);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t size = strlen(bad[i]);
        char *exact = malloc(size); /* what reads past it shows with ASan */
        memcpy(exact, bad[i], size);
        assert_int_equal(kith_websocket_head(exact, size, &head, &status), KITH_ERR_FORMAT);
        free(exact);
    }
}

static void an_endless_head(void **state)
{
    (void)state;
    static char text[KITH_WEBSOCKET_HEAD_MAX + 8];
    size_t head;
    unsigned status;
    memset(text, 'x', sizeof text);
    memcpy(text, "HTTP/1.1 101 ", 13);
    assert_ok(kith_websocket_head(text, KITH_WEBSOCKET_HEAD_MAX - 1, &head, &status));
    assert_int_equal(kith_websocket_head(text, KITH_WEBSOCKET_HEAD_MAX, &head, &status), KITH_ERR_LIMIT);
    memcpy(text + KITH_WEBSOCKET_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_ok(kith_websocket_head(text, sizeof text, &head, &status));
    assert_int_equal(head, KITH_WEBSOCKET_HEAD_MAX);
}

static kith_err agreed(const char *text, const char *protocol)
{
    return kith_websocket_agreed(text, strlen(text), KEY, protocol);
}

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define UP     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define RIGHT  "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define CHAT   "Sec-WebSocket-Protocol: chat\r\n"

static void answers_that_agree(void **state)
{
    (void)state;
    assert_ok(agreed(SWITCH UP RIGHT CHAT "\r\n", "chat"));
    assert_ok(agreed(SWITCH UP RIGHT "\r\n", NULL));
    assert_ok(agreed("HTTP/1.1 101 \r\nUPGRADE:WebSocket\r\nconnection: x , upgrade\t\r\nSEC-WEBSOCKET-ACCEPT:" ACCEPT
                     "\r\nServer: y: z\r\nsec-websocket-protocol:\t chat \r\nSec-WebSocket-Extensions:\r\n\r\n",
                     "chat"));
    assert_ok(
        agreed(SWITCH "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" RIGHT "\r\n", NULL));
}

static void answers_that_do_not(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "HTTP/1.1 200 OK\r\n" UP RIGHT CHAT "\r\n",
        SWITCH UP RIGHT "\r\n",
        SWITCH UP CHAT "\r\n",
        SWITCH UP RIGHT RIGHT CHAT "\r\n",
        SWITCH UP RIGHT CHAT CHAT "\r\n",
        SWITCH "Upgrade: websocket\r\n" RIGHT CHAT "\r\n",
        SWITCH "Connection: Upgrade\r\n" RIGHT CHAT "\r\n",
        SWITCH "Upgrade: h2c\r\nConnection: Upgrade\r\n" RIGHT CHAT "\r\n",
        SWITCH "Upgrade: websocket\r\nConnection: Upgrades\r\n" RIGHT CHAT "\r\n",
        SWITCH UP "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" CHAT "\r\n",
        SWITCH UP "Sec-WebSocket-Accept: " KEY "\r\n" CHAT "\r\n",
        SWITCH UP "Sec-WebSocket-Accept : " ACCEPT "\r\n" CHAT "\r\n",
        SWITCH UP RIGHT "Sec-WebSocket-Protocol: Chat\r\n\r\n",
        SWITCH UP RIGHT "Sec-WebSocket-Protocol: chat, other\r\n\r\n",
        SWITCH UP RIGHT CHAT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        SWITCH UP RIGHT CHAT "not a header\r\n\r\n",
        SWITCH UP RIGHT CHAT ": no name\r\n\r\n",
        SWITCH UP RIGHT CHAT " folded: yes\r\n\r\n",
        SWITCH UP RIGHT CHAT "\r\nmore",
        SWITCH UP RIGHT CHAT,
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(agreed(cases[i], "chat"), KITH_ERR_DECLINED);
    assert_int_equal(agreed(SWITCH UP RIGHT CHAT "\r\n", NULL), KITH_ERR_DECLINED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests),
        TEST(hosts),
        TEST(what_is_too_long),
        TEST(heads),
        TEST(an_endless_head),
        TEST(answers_that_agree),
        TEST(answers_that_do_not),
    };
    return cmocka_run_group_tests_name("wire/websocket_open", tests, NULL, NULL);
}
