/* Avahi's thread: its loop, the server and its life.  A server is replaced when loopback becomes the only interface or
 * is no longer, and when its cache is full: what is full hides who comes later. */
#include "base/mem.h"
#include "io/mdns_internal.h"

#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <avahi-common/timeval.h>
#include <avahi-core/log.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS       5000
#define MOVED_S        5 /* for others to answer on another network: those of the one before are gone */
#define CACHE_CHECK_MS 30000
#define FLUSH_WAIT_MAX 32 /* checks: a cache that is full again each time is flushed every 16 minutes at last */

static void log_nothing(AvahiLogLevel level, const char *text)
{
    (void)level;
    (void)text;
}

static void silence_avahi(void) { avahi_set_log_function(log_nothing); }

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Avahi's loop sleeps here: no timer is due when it may, and nothing is to be read when it does. */
static int sleep_for(struct pollfd *fds, unsigned count, int timeout, void *user)
{
    mdns_thread *t = user;
    int ready = poll(fds, count, 0);
    if (ready || timeout == 0) return ready;
    t->idle_ms = now_ms();
    return poll(fds, count, timeout);
}

bool kith__mdns_thread_is_busy(const mdns_thread *t) { return now_ms() - t->idle_ms > MDNS_BUSY_MS; }

void kith__mdns_timeout(const mdns_thread *t, AvahiTimeout *timeout, unsigned ms)
{
    struct timeval at;
    t->poll->timeout_update(timeout, avahi_elapse_time(&at, ms, 0));
}

/* ---- the server ---- */

static void on_server(AvahiServer *server, AvahiServerState state, void *user)
{
    mdns_thread *t = user;
    (void)server; /* not ours to free here, and t->server is not set yet while it is made */
    if (state == AVAHI_SERVER_FAILURE) t->rebuild = true;
}

static bool all_loopback(const mdns_wish *wish)
{
    for (size_t i = 0; i < wish->addr_count; i++) {
        if (!kith_addr_is_loopback(&wish->addrs[i].addr)) return false;
    }
    return wish->addr_count > 0;
}

/* Nothing is announced of the machine itself: beside an avahi-daemon its name and addresses would collide for ever. */
static bool make_config(mdns_thread *t, AvahiServerConfig *config)
{
    avahi_server_config_init(config);
    avahi_free(config->host_name);
    config->host_name = avahi_strdup("kith"); /* of no record: each instance has a host name of its own */
    config->publish_addresses = config->publish_hinfo = config->publish_workstation = config->publish_domain = 0;
    config->enable_wide_area = 0;
    config->use_ipv4 = config->use_ipv6 = 1;
    config->n_cache_entries_max = KITH_LAN_CACHE_ENTRIES_MAX;
    if (!t->on_loopback) config->deny_interfaces = avahi_string_list_new("lo", NULL);
    return config->host_name && (t->on_loopback || config->deny_interfaces);
}

/* Others may be as busy as we are: they have the rest of their records' life to answer, and are asked until then. */
static unsigned patience_s(const mdns_thread *t)
{
    return t->on_loopback == all_loopback(&t->wish) ? MDNS_LIFE_S : MOVED_S;
}

static void session_close(mdns_thread *t)
{
    if (t->server) avahi_server_free(t->server); /* says goodbye; takes groups and browsers along */
    kith__mdns_guard_free(t->guard);
    t->server = NULL;
    t->guard = NULL;
    t->browser = NULL;
    kith__mdns_announce_forget(t);
    kith__mdns_browse_forget(t, patience_s(t));
}

static kith_err session_open(mdns_thread *t)
{
    AvahiServerConfig config;
    int error = AVAHI_ERR_NO_MEMORY;
    t->on_loopback = all_loopback(&t->wish);
    t->rebuild = t->rename = false;
    t->guard = kith__mdns_guard_new(t->poll);
    bool ready = make_config(t, &config) && t->guard;
    if (ready) t->server = avahi_server_new(kith__mdns_guard_poll(t->guard), &config, on_server, t, &error);
    avahi_server_config_free(&config);
    if (!t->server || !kith__mdns_browse_start(t)) {
        session_close(t);
        return error == AVAHI_ERR_NO_MEMORY ? KITH_ERR_NOMEM : KITH_ERR_NETWORK;
    }
    return KITH_OK;
}

/* What is announced stays announced: whoever heard a goodbye would drop us before the new server has probed, which
 * takes a second, and more where the CPU is scarce. */
static void session_again(mdns_thread *t)
{
    if (t->guard) kith__mdns_guard_mute(t->guard);
    session_close(t);
    t->rebuild = false;
    if (session_open(t))
        kith__mdns_timeout(t, t->retry, RETRY_MS);
    else
        kith__mdns_announce(t);
}

static void on_retry(AvahiTimeout *timeout, void *user)
{
    mdns_thread *t = user;
    (void)timeout;
    if (!t->server) t->rebuild = true;
}

static void on_settled(AvahiTimeout *timeout, void *user)
{
    mdns_thread *t = user;
    (void)timeout;
    t->stuck = t->server && kith__mdns_announce_is_stuck(t);
}

/* ---- a full cache ---- */

static void count_entry(const char *line, void *user)
{
    if (strncmp(line, ";;;", 3) != 0) ++*(size_t *)user;
}

/* Avahi does not tell how full its caches are, but prints them.  When they are full, start with empty ones; when that
 * does not help, more and more rarely, since others are asked for all they have each time. */
static void on_check(AvahiTimeout *timeout, void *user)
{
    mdns_thread *t = user;
    size_t entries = 0;
    kith__mdns_timeout(t, timeout, CACHE_CHECK_MS);
    if (t->server) avahi_server_dump(t->server, count_entry, &entries);
    t->flush_passed++;
    if (entries < KITH_LAN_CACHE_ENTRIES_MAX) {
        if (t->flush_passed > 2 * t->flush_wait) t->flush_wait = 0;
    } else if (t->flush_passed > t->flush_wait) {
        t->rebuild = true;
        t->flush_passed = 0;
        t->flush_wait = t->flush_wait ? 2 * t->flush_wait : 1;
        if (t->flush_wait > FLUSH_WAIT_MAX) t->flush_wait = FLUSH_WAIT_MAX;
    }
}

/* ---- the thread ---- */

static void on_wake(AvahiWatch *watch, int fd, AvahiWatchEvent event, void *user)
{
    mdns_thread *t = user;
    uint64_t count;
    (void)watch;
    (void)event;
    if (read(fd, &count, sizeof count) != sizeof count) return; /* nothing there after all */
    pthread_mutex_lock(&t->box->lock);
    t->quit = t->box->quit;
    if (t->box->wish_is_new) {
        t->wish = t->box->wish;
        t->box->wish_is_new = false;
        t->has_wish = true;
    }
    pthread_mutex_unlock(&t->box->lock);
}

void kith__mdns_thread_turn(mdns_thread *t)
{
    if (t->has_wish) {
        t->has_wish = false;
        kith__mdns_browse_wanted(t);
        if (t->on_loopback != all_loopback(&t->wish)) t->rebuild = true;
        if (t->server && !t->rebuild) kith__mdns_announce(t);
    }
    if (t->rebuild) {
        session_again(t);
    } else if (t->rename && t->server) {
        t->rename = false;
        kith__mdns_announce_renamed(t);
    } else if (t->stuck && t->server) {
        kith__mdns_announce_again(t);
    } else if (t->ask && t->server) {
        t->rebuild = !kith__mdns_browse_again(t);
    }
    t->ask = false;
    t->stuck = false;
}

void *kith__mdns_thread_main(void *arg)
{
    mdns_thread *t = arg;
    mdns_box *box = t->box;
    kith__mdns_announce(t);
    while (!t->quit && avahi_simple_poll_iterate(t->simple, -1) == 0) kith__mdns_thread_turn(t);
    kith__mdns_thread_free(t);
    kith__mdns_box_end(box);
    return NULL;
}

mdns_thread *kith__mdns_thread_new(mdns_box *box, kith_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, silence_avahi);
    *err = KITH_ERR_NOMEM;
    mdns_thread *t = kith_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->wish = box->wish; /* no other thread has the box yet */
    kith_list_init(&t->peers);
    t->simple = avahi_simple_poll_new();
    if (!t->simple) goto fail;
    t->poll = avahi_simple_poll_get(t->simple);
    avahi_simple_poll_set_func(t->simple, sleep_for, t);
    t->box = box;
    t->wake = t->poll->watch_new(t->poll, box->wake, AVAHI_WATCH_IN, on_wake, t);
    t->retry = t->poll->timeout_new(t->poll, NULL, on_retry, t);
    t->check = t->poll->timeout_new(t->poll, NULL, on_check, t);
    t->settled = t->poll->timeout_new(t->poll, NULL, on_settled, t);
    if (!t->wake || !t->retry || !t->check || !t->settled || !kith__mdns_browse_init(t)) goto fail;
    *err = session_open(t);
    if (*err) goto fail;
    kith__mdns_timeout(t, t->check, CACHE_CHECK_MS);
    return t;
fail:
    kith__mdns_thread_free(t);
    return NULL;
}

void kith__mdns_thread_free(mdns_thread *t)
{
    session_close(t);
    kith__mdns_browse_done(t);
    if (t->simple) avahi_simple_poll_free(t->simple); /* with its watches and timeouts */
    kith_free(t);
}
