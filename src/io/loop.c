/* Clock, randomness, boot id, timers, and calls from other threads. */
#include "base/mem.h"
#include "io/io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

/* ---- clock and randomness ---- */

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now); /* goes on while the machine sleeps: what timed out is noticed at once */
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t base_now_ns(kith_env *env)
{
    (void)env;
    return monotonic_ns();
}

static int64_t base_wall_ms(kith_env *env)
{
    (void)env;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fill_random(void *out, size_t size)
{
    uint8_t *at = out;
    while (size) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) abort(); /* keys must never be made of anything else */
        at += got;
        size -= (size_t)got;
    }
}

static void base_random(kith_env *env, void *out, size_t size)
{
    (void)env;
    fill_random(out, size);
}

static bool parse_boot_id(const char *text, uint8_t out[16])
{
    size_t digits = 0;
    for (; *text && digits < 32; text++) {
        static const char hex[] = "0123456789abcdef";
        if (*text == '-') continue;
        const char *found = strchr(hex, *text);
        if (!found) return false;
        unsigned high = digits % 2 ? out[digits / 2] : 0;
        out[digits++ / 2] = (uint8_t)(high << 4 | (unsigned)(found - hex));
    }
    return digits == 32;
}

void kith_io_read_boot_id(uint8_t out[16])
{
    char text[64] = "";
    ssize_t got = -1;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        got = read(fd, text, sizeof text - 1);
        close(fd);
    }
    /* Not to know whether the machine restarted must look like a restart. */
    if (got < 0 || !parse_boot_id(text, out)) fill_random(out, 16);
}

static void base_boot_id(kith_env *env, uint8_t out[16]) { memcpy(out, kith_io_of(env)->boot_id, 16); }

const kith_env_base kith_io_base = {base_now_ns, base_wall_ms, base_random, base_boot_id};

/* ---- timers ---- */

#define NOT_IN_HEAP SIZE_MAX

struct kith_timer {
    kith_io *io;
    kith_timer_fn *fn;
    void *user;
    uint64_t at_ns, order;
    size_t place; /* in the heap */
    kith_link due;
};

static bool before(const kith_timer *a, const kith_timer *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void put(kith_io_timers *t, size_t place, kith_timer *timer)
{
    t->heap[place] = timer;
    timer->place = place;
}

/* Put `timer` where it belongs, given that `place` is free and everything else is in order. */
static void settle(kith_io_timers *t, size_t place, kith_timer *timer)
{
    while (place > 0 && before(timer, t->heap[(place - 1) / 2])) {
        put(t, place, t->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= t->count) break;
        if (child + 1 < t->count && before(t->heap[child + 1], t->heap[child])) child++;
        if (!before(t->heap[child], timer)) break;
        put(t, place, t->heap[child]);
        place = child;
    }
    put(t, place, timer);
}

static void unset(kith_io_timers *t, kith_timer *timer)
{
    kith_list_remove(&timer->due);
    if (timer->place == NOT_IN_HEAP) return;
    size_t place = timer->place;
    timer->place = NOT_IN_HEAP;
    kith_timer *last = t->heap[--t->count];
    if (last != timer) settle(t, place, last);
}

static kith_timer *timer_open(kith_env *env, kith_timer_fn *fn, void *user)
{
    kith_io *io = kith_io_of(env);
    kith_io_timers *t = &io->timers;
    if (t->open == t->room) {
        size_t room = t->room ? t->room * 2 : 16;
        kith_timer **heap = kith_realloc(t->heap, room * sizeof(kith_timer *));
        if (!heap) return NULL;
        t->heap = heap;
        t->room = room;
    }
    kith_timer *timer = kith_malloc(sizeof *timer);
    if (!timer) return NULL;
    *timer = (kith_timer){.io = io, .fn = fn, .user = user, .place = NOT_IN_HEAP};
    t->open++;
    io->objects++;
    return timer;
}

static void timer_set(kith_timer *timer, uint64_t at_ns)
{
    kith_io_timers *t = &timer->io->timers;
    unset(t, timer);
    if (at_ns == UINT64_MAX) return;
    timer->at_ns = at_ns;
    timer->order = t->next_order++;
    size_t place = t->count++;
    settle(t, place, timer);
}

static void timer_close(kith_timer *timer)
{
    if (!timer) return;
    unset(&timer->io->timers, timer);
    timer->io->timers.open--;
    timer->io->objects--;
    kith_free(timer);
}

const kith_env_timers kith_io_timer_table = {timer_open, timer_set, timer_close};

/* What is due is first taken out of the heap, so that a timer set to the past in a callback waits for the next turn of
 * the loop and cannot hold it up. */
static void on_timerfd(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    kith_io_timers *t = poll->data;
    uint64_t now_ns = monotonic_ns();
    t->armed_ns = 0;
    while (t->count && t->heap[0]->at_ns <= now_ns) {
        kith_timer *timer = t->heap[0];
        unset(t, timer);
        kith_list_append(&t->due, &timer->due);
    }
    for (kith_link *link; (link = kith_list_take_first(&t->due));) {
        kith_timer *timer = KITH_OF(link, kith_timer, due);
        timer->fn(timer->user); /* may close it */
    }
}

/* Just before the loop sleeps: once a turn is enough, however often timers were set in it.  A deadline that moved
 * further away leaves the timerfd as it is: one idle wake-up later costs less than a system call at each turn.  Setting
 * a timerfd also makes it unreadable again. */
static void on_prepare(uv_prepare_t *prepare)
{
    kith_io_timers *t = prepare->data;
    kith_io_ws_flush_all(KITH_OF(t, kith_io, timers)); /* may set timers */
    uint64_t at_ns = t->count ? t->heap[0]->at_ns : UINT64_MAX;
    if (at_ns == 0) at_ns = 1; /* a timerfd's 0 is "never" */
    if (t->armed_ns != 0 && at_ns >= t->armed_ns) return;
    struct itimerspec at = {0};
    if (at_ns != UINT64_MAX) {
        at.it_value.tv_sec = (time_t)(at_ns / NS_PER_S);
        at.it_value.tv_nsec = (long)(at_ns % NS_PER_S);
    }
    timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &at, NULL);
    t->armed_ns = at_ns;
}

kith_err kith_io_timers_init(kith_io *io)
{
    kith_io_timers *t = &io->timers;
    kith_list_init(&t->due);
    t->armed_ns = UINT64_MAX;
    t->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (t->fd < 0) return kith_io_file_error(errno);
    t->poll.data = t->prepare.data = t;
    int status = uv_prepare_init(&io->loop, &t->prepare);
    if (!status) status = uv_prepare_start(&t->prepare, on_prepare);
    if (!status) status = uv_poll_init(&io->loop, &t->poll, t->fd);
    if (!status) status = uv_poll_start(&t->poll, UV_READABLE, on_timerfd);
    return status ? kith_io_file_error(-status) : KITH_OK;
}

void kith_io_timers_done(kith_io *io)
{
    if (io->timers.fd >= 0) close(io->timers.fd);
    kith_free(io->timers.heap);
}

/* ---- calls from other threads ---- */

typedef struct post {
    kith_io *io;
    void (*fn)(void *user);
    void *user;
    kith_link ready; /* under the lock */
} post;

static void *post_open(kith_env *env, void (*fn)(void *user), void *user)
{
    post *p = kith_malloc(sizeof *p);
    if (!p) return NULL;
    *p = (post){.io = kith_io_of(env), .fn = fn, .user = user};
    p->io->objects++;
    return p;
}

static void post_post(void *handle)
{
    post *p = handle;
    kith_io_posts *posts = &p->io->posts;
    pthread_mutex_lock(&posts->lock);
    bool wake = false;
    if (!p->ready.next) {
        wake = posts->count++ == 0;
        kith_list_append(&posts->ready, &p->ready);
    }
    /* Under the lock, so that once the loop's thread has taken the last post this thread is done with the loop. */
    if (wake) uv_async_send(&p->io->wake);
    pthread_mutex_unlock(&posts->lock);
}

static void post_close(void *handle)
{
    post *p = handle;
    if (!p) return;
    kith_io_posts *posts = &p->io->posts;
    pthread_mutex_lock(&posts->lock);
    if (p->ready.next) {
        kith_list_remove(&p->ready);
        posts->count--;
    }
    pthread_mutex_unlock(&posts->lock);
    p->io->objects--;
    kith_free(p);
}

/* At most as many as there were: one that posts itself again waits for the next turn of the loop. */
void kith_io_posts_deliver(kith_io *io)
{
    kith_io_posts *posts = &io->posts;
    pthread_mutex_lock(&posts->lock);
    for (size_t left = posts->count; left && posts->count; left--) {
        post *p = KITH_OF(kith_list_take_first(&posts->ready), post, ready);
        posts->count--;
        pthread_mutex_unlock(&posts->lock);
        p->fn(p->user); /* may close it, or others */
        pthread_mutex_lock(&posts->lock);
    }
    if (posts->count) uv_async_send(&io->wake);
    pthread_mutex_unlock(&posts->lock);
}

const kith_env_post kith_io_post_table = {post_open, post_post, post_close};
