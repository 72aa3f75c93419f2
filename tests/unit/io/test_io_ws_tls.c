/* WebSockets over TLS, and through proxies. */
#include "io_ws_test.h"

#include <signal.h>

static bool own_net;

/* ---- certificates ---- */

static void good_certificates_of_name_and_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < 2; i++) {
        server *s = server_start(upgrade_and_echo, server_tls("good"), 1);
        c->connected = c->messages = 0;
        dial("wss", hosts[i], s, "ca");
        UNTIL(c, c->connected);
        assert_ok(c->t.env->ws->send(c->ws, "over TLS", 8));
        UNTIL(c, c->messages);
        assert_memory_equal(c->last, "over TLS", 8);
        close_it();
        UNTIL(c, kith_io_objects(c->t.io) == 0);
        server_end(s);
    }
}

static void bad_certificate(const char *certificate, const char *host, const char *ca, kith_ws_certificate fault)
{
    server *s = server_start(upgrade_and_echo, server_tls(certificate), 1);
    dial("wss", host, s, ca);
    expect_refusal(KITH_ERR_CERTIFICATE, fault);
    server_end(s);
}

#define REFUSED(name, certificate, host, ca, fault)                                                                    \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        bad_certificate(certificate, host, ca, KITH_WS_CERTIFICATE_##fault);                                           \
    }
REFUSED(an_unknown_authority_is_refused, "good", "localhost", NULL, UNTRUSTED)
REFUSED(another_authority_is_refused, "other", "localhost", "ca", UNTRUSTED)
REFUSED(another_name_is_refused, "wrong", "localhost", "ca", NAME)
REFUSED(another_address_is_refused, "wrong", "127.0.0.1", "ca", NAME)
REFUSED(an_expired_one_is_refused, "expired", "localhost", "ca", EXPIRED)
REFUSED(one_of_the_future_is_refused, "future", "localhost", "ca", EARLY)
REFUSED(a_self_signed_one_is_refused, "other_ca", "localhost", "ca", UNTRUSTED)

/* Addresses of IPv6 are checked by us alone. */
static void ipv6_certificates(void **state)
{
    (void)state;
    if (!own_net) skip();
    server *s = server_start_at("::1", upgrade_and_echo, server_tls("six"), 1);
    dial("wss", "[::1]", s, "ca");
    UNTIL(c, c->connected);
    close_and_wait();
    server_end(s);
    c->connected = 0;
    s = server_start_at("::1", upgrade_and_echo, server_tls("good"), 1); /* for 127.0.0.1 */
    dial("wss", "[::1]", s, "ca");
    expect_refusal(KITH_ERR_CERTIFICATE, KITH_WS_CERTIFICATE_NAME);
    server_end(s);
}

static void tls_where_there_is_none(void **state)
{
    (void)state;
    server *s = server_start(say_garbage, NULL, 1);
    char url[64];
    snprintf(url, sizeof url, "wss://localhost:%u/", s->port);
    assert_ok(dial_with(url, "ca", 1000));
    UNTIL(c, c->ended);
    assert_true(c->why == KITH_ERR_DECLINED || c->why == KITH_ERR_TIMEOUT);
    close_and_wait();
    server_end(s);
}

static void nothing_comes_while_paused_over_tls(void **state)
{
    (void)state;
    pausing(true);
}

static void an_old_version_is_refused(void **state)
{
    (void)state;
    SSL_CTX *tls = server_tls("good");
    SSL_CTX_set_security_level(tls, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(tls, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(tls, TLS1_1_VERSION), 1);
    server *s = server_start(upgrade_and_echo, tls, 1);
    dial("wss", "localhost", s, "ca");
    expect_refusal(KITH_ERR_DECLINED, 0);
    server_end(s);
}

static char seen_name[64];
static void note_name_and_echo(peer *p)
{
    const char *name = SSL_get_servername(p->ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(seen_name, sizeof seen_name, "%s", name ? name : "");
    upgrade_and_echo(p);
}

static void all_messages_over(int version)
{
    static uint8_t data[KITH_WS_MESSAGE_MAX];
    SSL_CTX *tls = server_tls("good");
    assert_int_equal(SSL_CTX_set_max_proto_version(tls, version), 1);
    server *s = server_start(note_name_and_echo, tls, 1);
    dial("wss", "localhost", s, "ca");
    UNTIL(c, c->connected);
    for (unsigned i = 0, sent = 0; i < 40; i++) {
        fill(data, sizeof data, i);
        while (c->t.env->ws->send(c->ws, data, sizeof data)) uv_run(&c->t.io->loop, UV_RUN_ONCE);
        UNTIL(c, c->messages + 2 > sent);
        sent++;
    }
    UNTIL(c, c->messages == 40);
    assert_memory_equal(c->last, data, sizeof data);
    close_and_wait();
    server_end(s);
    assert_string_equal(seen_name, "localhost");
}

static void large_messages_over_tls_1_2(void **state)
{
    (void)state;
    all_messages_over(TLS1_2_VERSION);
}
static void large_messages_over_tls_1_3(void **state)
{
    (void)state;
    all_messages_over(TLS1_3_VERSION);
}

/* A peer that asks for answers without end (RFC 8446 section 4.6.3), and reads none. */
static void demand_keys(peer *p)
{
    if (!peer_upgrade(p)) return;
    do {
        if (SSL_key_update(p->ssl, SSL_KEY_UPDATE_REQUESTED) != 1) return;
    } while (SSL_do_handshake(p->ssl) == 1);
}

static void demands_without_end_are_refused(void **state)
{
    (void)state;
    server *s = server_start(demand_keys, server_tls("good"), 1);
    dial("wss", "localhost", s, "ca");
    UNTIL(c, c->ended);
    assert_int_equal(c->why, KITH_ERR_PROTOCOL);
    close_and_wait();
    server_end(s);
}

static void say_nothing(peer *p)
{
    uint8_t byte;
    while (peer_read(p, &byte, 1)) {
    }
}

static void a_handshake_that_never_ends(void **state)
{
    (void)state;
    char url[64];
    server *s = server_start(say_nothing, NULL, 1);
    snprintf(url, sizeof url, "wss://localhost:%u/", s->port);
    assert_ok(dial_with(url, "ca", 300));
    expect_end(KITH_ERR_TIMEOUT, 0);
    close_and_wait();
    server_end(s); /* its socket was closed */
}

/* A socket that the peer has reset is written to: no SIGPIPE ends us, and its disposition is as it was. */
static void reset(peer *p)
{
    struct linger at_once = {1, 0};
    if (!peer_upgrade(p)) return;
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(p->fd);
    p->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void end_by_stop(void *user)
{
    (void)user;
    static uint8_t data[60000];
    (void)c->t.env->ws->send(c->ws, data, sizeof data);
}

static void on_ended_stop(void *user, kith_err why, unsigned status)
{
    on_ended(user, why, status);
    close_it();
    kith_io_stop(c->t.io);
}

static void no_signal(void **state)
{
    (void)state;
    static const kith_ws_events stopping = {end_by_stop, on_message, on_writable, on_ended_stop};
    struct sigaction action;
    char url[64], ca_file[128];
    server *s = server_start(reset, server_tls("good"), 1);
    snprintf(url, sizeof url, "wss://localhost:%u/", s->port);
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", certificates);
    kith_ws_options options = {.url = url, .subprotocol = "kith-test", .ca_file = ca_file};
    assert_ok(c->t.env->ws->connect(c->t.env, &options, &stopping, c, &c->ws));
    kith_io_run(c->t.io);
    assert_int_equal(c->ended, 1);
    sigaction(SIGPIPE, NULL, &action);
    assert_true(action.sa_handler == SIG_DFL);
    server_end(s);
}

/* ---- proxies ---- */

static char proxy_request[4096];
static uint16_t behind; /* the server's port */

static void *copy_back(void *argument)
{
    int *fds = argument;
    char bytes[4096];
    for (ssize_t got; (got = recv(fds[1], bytes, sizeof bytes, 0)) > 0;)
        if (send(fds[0], bytes, (size_t)got, MSG_NOSIGNAL) != got) break;
    shutdown(fds[0], SHUT_WR);
    return NULL;
}

static void tunnel(peer *p)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(behind)};
    char bytes[4096];
    pthread_t thread;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!peer_head(p)) return;
    memcpy(proxy_request, p->request, sizeof proxy_request);
    int fds[2] = {p->fd, socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(connect(fds[1], (struct sockaddr *)&at, sizeof at), 0);
    peer_say(p, "HTTP/1.1 200 Connection est");
    usleep(1000); /* it arrives in two pieces */
    peer_say(p, "ablished\r\nVia: test\r\n\r\n");
    pthread_create(&thread, NULL, copy_back, fds);
    for (ssize_t got; (got = recv(fds[0], bytes, sizeof bytes, 0)) > 0;)
        if (send(fds[1], bytes, (size_t)got, MSG_NOSIGNAL) != got) break;
    shutdown(fds[1], SHUT_WR);
    pthread_join(thread, NULL);
    close(fds[1]);
}

static void need_password(peer *p)
{
    if (peer_head(p)) peer_say(p, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
}

static void find_no_way(peer *p)
{
    if (peer_head(p)) peer_say(p, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
}
static void say_too_much(peer *p)
{
    if (peer_head(p)) peer_say(p, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n");
}
static void proxy_garbage(peer *p)
{
    if (peer_head(p)) peer_say(p, "SSH-2.0-OpenSSH_9.2\r\n");
}

static void through_a_proxy(bool secure, const char *user)
{
    char proxy[128];
    server *s = server_start(note_request_and_echo, secure ? server_tls("named") : NULL, 1);
    server *via = server_start(tunnel, NULL, 1);
    behind = s->port;
    snprintf(proxy, sizeof proxy, "http://%slocalhost:%u", user, via->port);
    setenv(secure ? "https_proxy" : "http_proxy", proxy, 1);
    dial(secure ? "wss" : "ws", "relay.example", s, secure ? "ca" : NULL); /* only the proxy has to know that name */
    UNTIL(c, c->connected);
    assert_ok(c->t.env->ws->send(c->ws, "hello", 5));
    UNTIL(c, c->messages);
    snprintf(proxy, sizeof proxy, "CONNECT relay.example:%u HTTP/1.1\r\n", s->port);
    assert_non_null(strstr(proxy_request, proxy));
    const char *secret = strstr(proxy_request, "Proxy-Authorization: Basic bWU6cEBzcw==\r\n"); /* me:p@ss */
    assert_true(*user ? secret != NULL : !strstr(proxy_request, "Authorization"));
    assert_int_equal(c->t.env->ws->remote(c->ws).family, KITH_FAMILY_NONE);
    assert_non_null(strstr(seen_request, "Host: relay.example:"));
    close_and_wait();
    server_end(s);
    server_end(via);
}

static void a_proxy_is_used(void **state)
{
    (void)state;
    through_a_proxy(false, "");
}
static void a_proxy_is_told_who_asks(void **state)
{
    (void)state;
    through_a_proxy(false, "me:p%40ss@");
}
static void a_proxy_is_used_for_tls(void **state)
{
    (void)state;
    through_a_proxy(true, "me:p%40ss@");
}

static void bad_proxy(void (*script)(peer *p), kith_err why)
{
    char proxy[128];
    server *via = server_start(script, NULL, 1);
    snprintf(proxy, sizeof proxy, "127.0.0.1:%u", via->port);
    setenv("http_proxy", proxy, 1);
    assert_ok(dial_with("ws://relay.example/", NULL, 0));
    expect_refusal(why, 0);
    server_end(via);
}

#define BAD_PROXY(name, script, why)                                                                                   \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        bad_proxy(script, why);                                                                                        \
    }
BAD_PROXY(a_proxy_that_declines, need_password, KITH_ERR_NETWORK)
BAD_PROXY(a_proxy_that_finds_no_way, find_no_way, KITH_ERR_UNREACHABLE)
BAD_PROXY(a_proxy_that_speaks_for_the_server, say_too_much, KITH_ERR_NETWORK)
BAD_PROXY(a_proxy_that_is_none, proxy_garbage, KITH_ERR_NETWORK)

static void no_proxy_is_heeded(void **state)
{
    (void)state;
    server *s = server_start(upgrade_and_echo, NULL, 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "localhost", 1);
    dial("ws", "localhost", s, NULL);
    UNTIL(c, c->connected);
    close_and_wait();
    server_end(s);
}

static int make_certificates(void **state)
{
    (void)state;
    own_net = own_network(); /* where nobody answers for names */
    if (own_net) link_up("lo", 0);
    snprintf(certificates, sizeof certificates, "/tmp/kith-ws-XXXXXX");
    if (!mkdtemp(certificates)) return -1;
    make_ca("ca");
    make_ca("other_ca");
    static const char *const both = "DNS:localhost,IP:127.0.0.1";
    make_certificate("good", both, "ca", "-days 30");
    make_certificate("named", "DNS:relay.example", "ca", "-days 30");
    make_certificate("six", "IP:::1", "ca", "-days 30");
    make_certificate("wrong", "DNS:example.org,IP:192.0.2.1", "ca", "-days 30");
    make_certificate("other", both, "other_ca", "-days 30");
    make_certificate("expired", both, "ca", "-startdate 20200101000000Z -enddate 20200201000000Z");
    make_certificate("future", both, "ca", "-startdate 20980101000000Z -enddate 20990201000000Z");
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", certificates);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(good_certificates_of_name_and_address),
        CASE(an_unknown_authority_is_refused),
        CASE(another_authority_is_refused),
        CASE(another_name_is_refused),
        CASE(another_address_is_refused),
        CASE(an_expired_one_is_refused),
        CASE(one_of_the_future_is_refused),
        CASE(a_self_signed_one_is_refused),
        CASE(ipv6_certificates),
        CASE(tls_where_there_is_none),
        CASE(nothing_comes_while_paused_over_tls),
        CASE(an_old_version_is_refused),
        CASE(large_messages_over_tls_1_2),
        CASE(large_messages_over_tls_1_3),
        CASE(demands_without_end_are_refused),
        CASE(a_handshake_that_never_ends),
        CASE(no_signal),
        CASE(a_proxy_is_used),
        CASE(a_proxy_is_used_for_tls),
        CASE(a_proxy_is_told_who_asks),
        CASE(a_proxy_that_declines),
        CASE(a_proxy_that_finds_no_way),
        CASE(a_proxy_that_speaks_for_the_server),
        CASE(a_proxy_that_is_none),
        CASE(no_proxy_is_heeded),
    };
    return cmocka_run_group_tests_name("io/ws_tls", tests, make_certificates, remove_certificates);
}
