/* A relay's life: its files, its sockets, its signals, its end. */
#include "server.h"

#include "base/mem.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS   UINT64_C(1000000)
#define SPARE_FILES 128
#define LINE_SIZE   400
#define SHUT_MS     2000 /* from closing all to stopping, for the last messages to leave */

void server_log(server *s, bool warning, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    s->said->log(s->said->user, warning, line);
}

uint64_t server_now(const server *s) { return s->env->base->now_ns(s->env); }

static void send_datagrams(server *s)
{
    kith_packet packet;
    while (kith_hub_datagram(s->hub, &packet)) {
        /* What the socket does not take is lost, as datagrams are. */
        kith_err ignored = s->env->udp->send(kith_hub_elsewhere(s->hub) ? s->udp_other : s->udp, &packet);
        (void)ignored;
    }
}

void server_flush(server *s)
{
    send_datagrams(s);
    for (kith_hub_client *client; (client = kith_hub_ready(s->hub));) websocket_look(kith_hub_user(client));
    uint64_t deadline_ns = kith_hub_deadline_ns(s->hub);
    if (deadline_ns == s->timer_ns) return;
    s->timer_ns = deadline_ns;
    s->env->timers->set(s->timer, deadline_ns);
}

static void on_timer(void *user)
{
    server *s = user;
    s->timer_ns = 0;
    kith_hub_expire(s->hub, server_now(s));
    server_flush(s);
}

static void on_datagrams(void *user, const kith_packet *packets, size_t count)
{
    server *s = user;
    uint64_t now_ns = server_now(s);
    for (size_t i = 0; i < count; i++) {
        kith_hub_datagrams(s->hub, &packets[i], now_ns);
        send_datagrams(s);
    }
    server_flush(s);
}

/* It is there to answer from: who sends to it has nothing to say. */
static void on_other_datagrams(void *user, const kith_packet *packets, size_t count)
{
    (void)user, (void)packets, (void)count;
}

static void on_udp_writable(void *user) { (void)user; }

static void limit_connections(server *s, kith_relay_settings *settings, const char *why)
{
    if (settings->connections <= s->connections_most) return;
    server_log(s, true, "at most %llu connections, not %llu: %s", (unsigned long long)s->connections_most,
               (unsigned long long)settings->connections, why);
    settings->connections = s->connections_most;
}

/* ---- signals ---- */

static void reload(server *s)
{
    files f = {.tokens = NULL};
    char why[KITH_RELAY_WHY_SIZE];
    uint64_t now_ns = server_now(s);
    system_notify("RELOADING=1");
    if (files_read(s->options, &f, why)) {
        server_log(s, true, "not reloaded: %s", why);
    } else {
        limit_connections(s, &f.settings, "it takes a restart to have more");
        kith_hub_configure(s->hub, &f.settings);
        kith_hub_set_tokens(s->hub, f.tokens, now_ns);
        kith_hub_set_clock(s->hub, s->env->base->wall_ms(s->env), now_ns);
        f.tokens = NULL;
        files_done(&s->files);
        s->files = f;
        bool certificate =
            !s->options->cert || lws_tls_cert_updated(s->lws, s->options->cert, s->options->key, NULL, 0, NULL, 0) == 0;
        server_log(s, !certificate, certificate ? "reloaded" : "reloaded, but the certificate could not be used");
        server_flush(s);
    }
    system_notify("READY=1");
}

static void on_end(void *user)
{
    server *s = user;
    kith_io_stop(s->io);
}

static void shut(void *user)
{
    server *s = user;
    kith_hub_shut(s->hub, server_now(s));
    server_flush(s);
    s->env->timers->close(s->drain);
    s->drain = s->env->timers->open(s->env, on_end, s);
    if (s->drain)
        s->env->timers->set(s->drain,
                            server_now(s) + (kith_hub_stats_of(s->hub)->connections ? SHUT_MS * NS_PER_MS : 0));
    else
        on_end(s);
}

static void drain(server *s)
{
    uint64_t now_ns = server_now(s), wait_ms = s->files.settings.drain_ms;
    if (s->stopping) { /* a second time */
        kith_io_stop(s->io);
        return;
    }
    s->stopping = true;
    system_notify("STOPPING=1");
    server_log(s, false, "draining %llu clients for %llu ms",
               (unsigned long long)kith_hub_stats_of(s->hub)->registrations, (unsigned long long)wait_ms);
    kith_hub_drain(s->hub, now_ns);
    server_flush(s);
    s->drain = s->env->timers->open(s->env, shut, s);
    if (s->drain)
        s->env->timers->set(s->drain, kith_hub_stats_of(s->hub)->connections ? now_ns + wait_ms * NS_PER_MS : now_ns);
    else
        kith_io_stop(s->io);
}

static void on_signal(uv_signal_t *handle, int number)
{
    server *s = handle->data;
    if (number == SIGHUP)
        reload(s);
    else
        drain(s);
}

static void start_signals(server *s)
{
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT};
    for (size_t i = 0; i < 3; i++) {
        uv_signal_init(kith_io_loop(s->io), &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
}

/* ---- beginning ---- */

static kith_err why_address(const char *option, const char *text, kith_err err, char why[static KITH_RELAY_WHY_SIZE])
{
    snprintf(why, KITH_RELAY_WHY_SIZE, "%s %.100s: %s", option, text,
             err == KITH_ERR_ARG ? "not an address of this machine and a port, such as 0.0.0.0:443 or [::]:443"
                                 : kith_err_text(err));
    return err;
}

static kith_err parse_admin(const char *text, kith_addr *out)
{
    char with_address[64];
    if (strspn(text, "0123456789") != strlen(text)) return kith_addr_parse(text, out);
    if ((size_t)snprintf(with_address, sizeof with_address, "127.0.0.1:%s", text) >= sizeof with_address)
        return KITH_ERR_ARG;
    return kith_addr_parse(with_address, out);
}

static kith_err open_public(server *s, const char *text, char why[static KITH_RELAY_WHY_SIZE])
{
    static const kith_udp_events events = {on_datagrams, on_udp_writable},
                                 other = {on_other_datagrams, on_udp_writable};
    kith_addr at;
    if (kith_addr_parse(text, &at) || !strrchr(text, ':') || text[strlen(text) - 1] == ']')
        return why_address("--listen", text, KITH_ERR_ARG, why);
    kith_err err = listen_open(s, &s->listeners[0], &at, false);
    if (!err) {
        at.port = s->listeners[0].local.port; /* the same one, also where it was picked */
        err = s->env->udp->open(s->env, &at, &events, s, &s->udp);
    }
    at.port = 0; /* any one */
    if (!err && !s->env->udp->open(s->env, &at, &other, s, &s->udp_other)) kith_hub_set_other_port(s->hub, true);
    return err ? why_address("--listen", text, err, why) : KITH_OK;
}

static kith_err open_admin(server *s, const char *given, char why[static KITH_RELAY_WHY_SIZE])
{
    const char *text = given ? given : KITH_RELAY_ADMIN_DEFAULT;
    kith_addr at;
    kith_err err = parse_admin(text, &at);
    if (!err) err = listen_open(s, &s->listeners[1], &at, true);
    if (err && given) return why_address("--admin-listen", text, err, why);
    if (err) server_log(s, true, "no metrics: %s: %s", text, kith_err_text(err));
    return KITH_OK;
}

static kith_err make_hub(server *s)
{
    uint8_t seed[KITH_HUB_SEED_SIZE];
    s->env->base->random(s->env, seed, sizeof seed);
    kith_err err = kith_hub_new(
        &(kith_hub_config){
            .settings = &s->files.settings, .seed = seed, .software = "kith " KITH_VERSION, .headroom = LWS_PRE},
        &s->hub);
    kith_wipe(seed, sizeof seed);
    if (err) return err;
    kith_hub_set_tokens(s->hub, s->files.tokens, server_now(s));
    s->files.tokens = NULL;
    kith_hub_set_clock(s->hub, s->env->base->wall_ms(s->env), server_now(s));
    return KITH_OK;
}

/* libwebsockets has a table by descriptor as long as their limit is at its start, or else searches all of them for
 * each. */
static void set_files(server *s)
{
    uint64_t may = system_set_files(s->files.settings.connections + SPARE_FILES);
    s->connections_most = may > SPARE_FILES ? may - SPARE_FILES : 1;
    limit_connections(s, &s->files.settings, "the system lets it open no more files (LimitNOFILE, ulimit -n)");
}

static kith_err begin(server *s, char why[static KITH_RELAY_WHY_SIZE])
{
    snprintf(why, KITH_RELAY_WHY_SIZE, "out of memory or descriptors");
    set_files(s);
    kith_err err = kith_io_new(&s->io);
    if (err) return err;
    s->env = kith_io_env(s->io);
    s->timer = s->env->timers->open(s->env, on_timer, s);
    err = s->timer ? make_hub(s) : KITH_ERR_NOMEM;
    if (!err) err = websocket_open(s, why);
    if (!err) err = open_public(s, s->options->listen, why);
    if (!err) err = open_admin(s, s->options->admin_listen, why);
    if (!err) err = system_become(s->options->user, why);
    if (err) return err;
    if (!system_confine()) server_log(s, true, "the filter of system calls is not possible here");
    start_signals(s);
    return KITH_OK;
}

static void say_listening(server *s)
{
    char address[KITH_ADDR_TEXT_SIZE], admin[KITH_ADDR_TEXT_SIZE];
    kith_addr_text(&s->listeners[0].local, address);
    if (s->listeners[1].of) kith_addr_text(&s->listeners[1].local, admin);
    s->said->listening(s->said->user, address, s->listeners[1].of ? admin : NULL);
    system_notify("READY=1");
}

static void close_signal(uv_signal_t *handle)
{
    if (handle->data) uv_close((uv_handle_t *)handle, NULL);
}

/* Each that was made, in reverse; the hub's clients go with their connections. */
static void end(server *s)
{
    for (size_t i = 0; i < 3; i++) close_signal(&s->signals[i]);
    for (size_t i = 0; i < 2; i++) listen_close(&s->listeners[i]);
    websocket_close(s);
    if (s->udp) s->env->udp->close(s->udp);
    if (s->udp_other) s->env->udp->close(s->udp_other);
    if (s->timer) s->env->timers->close(s->timer);
    if (s->drain) s->env->timers->close(s->drain);
    kith_io_free(s->io);
    kith_hub_free(s->hub);
    kith_free(s->metrics);
    files_done(&s->files);
}

kith_err kith_relay_serve(const kith_relay_options *options, const kith_relay_said *said,
                          char why[static KITH_RELAY_WHY_SIZE])
{
    server s = {.options = options, .said = said};
    kith_err err = files_read(options, &s.files, why);
    if (!err && !options->check) err = begin(&s, why);
    if (!err && !options->check) {
        say_listening(&s);
        if (said->stopped(said->user)) kith_io_stop(s.io);
        while (!kith_io_stopping(s.io)) uv_run(kith_io_loop(s.io), UV_RUN_ONCE);
    }
    end(&s);
    return err;
}
