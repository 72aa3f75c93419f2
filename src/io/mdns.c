#include "io/mdns.h"

#include "base/mem.h"
#include "io/mdns_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define STOP_WAIT_MS 500 /* for the goodbye; it takes a few milliseconds unless the network's queue is stuck */

struct kith_lan {
    kith_env *env;
    mdns_box *box;
    pthread_t thread;
    kith_watch *watch;
    void *post;
    kith_lan_events events;
    void *user;
    bool delivering, stopped; /* stopped by a callback: freed when it returns */
};

/* ---- the box ---- */

static mdns_box *box_new(void)
{
    mdns_box *box = kith_calloc(1, sizeof *box);
    if (!box) return NULL;
    box->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (box->wake < 0) {
        kith_free(box);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic); /* none of these can fail with such attributes */
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&box->ended_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&box->lock, NULL);
    kith_list_init(&box->news);
    box->holders = 1;
    return box;
}

static void box_free(mdns_box *box)
{
    while (!kith_list_empty(&box->news)) kith_free(KITH_OF(kith_list_take_first(&box->news), mdns_news, link));
    close(box->wake);
    pthread_cond_destroy(&box->ended_cond);
    pthread_mutex_destroy(&box->lock);
    kith_free(box);
}

static void let_go(mdns_box *box, bool thread)
{
    pthread_mutex_lock(&box->lock);
    if (thread) {
        box->ended = true;
        pthread_cond_signal(&box->ended_cond);
    }
    bool last = --box->holders == 0;
    pthread_mutex_unlock(&box->lock);
    if (last) box_free(box);
}

void kith__mdns_box_release(mdns_box *box) { let_go(box, false); }
void kith__mdns_box_end(mdns_box *box) { let_go(box, true); }

static void wake_thread(mdns_box *box)
{
    const uint64_t one = 1;
    while (write(box->wake, &one, sizeof one) < 0 && errno == EINTR) {
    } /* a full counter wakes as well */
}

static mdns_news *find_news(mdns_box *box, const char *instance)
{
    KITH_EACH (at, &box->news) {
        mdns_news *news = KITH_OF(at, mdns_news, link);
        if (strcmp(news->record.instance, instance) == 0) return news;
    }
    return NULL;
}

/* The one to overwrite when the queue is full: the oldest stranger, else the oldest for one that is wanted. */
static mdns_news *find_victim(mdns_box *box, bool wanted)
{
    KITH_EACH (at, &box->news) {
        mdns_news *news = KITH_OF(at, mdns_news, link);
        if (!news->wanted) return news;
    }
    return wanted ? KITH_OF(kith_list_first(&box->news), mdns_news, link) : NULL;
}

/* Where to put news, at the end of the queue; NULL when they must be dropped. */
static mdns_news *place_for(mdns_box *box, const char *instance, bool wanted)
{
    mdns_news *news = find_news(box, instance);
    if (news) return news;
    if (box->news_count == KITH_LAN_NEWS_MAX) {
        box->dropped++; /* it, or the one it replaces */
        news = find_victim(box, wanted);
        if (news) kith_list_remove(&news->link);
    } else {
        news = kith_malloc(sizeof *news);
        box->dropped += !news;
        box->news_count += news != NULL;
    }
    if (news) {
        news->link = (kith_link){0};
        kith_list_append(&box->news, &news->link);
    }
    return news;
}

void kith__mdns_box_tell(mdns_box *box, const kith_lan_record *record, bool seen, bool wanted)
{
    pthread_mutex_lock(&box->lock);
    mdns_news *news = box->post ? place_for(box, record->instance, wanted) : NULL;
    if (news) {
        news->seen = seen;
        news->wanted = wanted;
        news->record = *record;
        box->post_table->post(box->post); /* under the lock: stop closes it only after taking it out of the box */
    }
    pthread_mutex_unlock(&box->lock);
}

/* ---- the loop's side ---- */

static void read_addresses(kith_lan *lan, kith_interface_addr *out, size_t *count)
{
    size_t n = lan->env->net->addresses(lan->env, out, KITH_LAN_ANNOUNCED_MAX);
    *count = n < KITH_LAN_ANNOUNCED_MAX ? n : KITH_LAN_ANNOUNCED_MAX;
}

static void on_addresses(void *user)
{
    kith_lan *lan = user;
    kith_interface_addr addrs[KITH_LAN_ANNOUNCED_MAX];
    size_t count;
    read_addresses(lan, addrs, &count);
    pthread_mutex_lock(&lan->box->lock);
    memcpy(lan->box->wish.addrs, addrs, count * sizeof *addrs);
    lan->box->wish.addr_count = count;
    lan->box->wish_is_new = true;
    pthread_mutex_unlock(&lan->box->lock);
    wake_thread(lan->box);
}

static mdns_news *take_news(mdns_box *box)
{
    pthread_mutex_lock(&box->lock);
    mdns_news *news = NULL;
    if (!kith_list_empty(&box->news)) {
        news = KITH_OF(kith_list_take_first(&box->news), mdns_news, link);
        box->news_count--;
    }
    pthread_mutex_unlock(&box->lock);
    return news;
}

static void on_news(void *user)
{
    kith_lan *lan = user;
    lan->delivering = true;
    /* What comes while this runs is posted again: a flood does not hold the loop here. */
    for (size_t left = KITH_LAN_NEWS_MAX; left && !lan->stopped; left--) {
        mdns_news *news = take_news(lan->box);
        if (!news) break;
        if (news->seen)
            lan->events.seen(lan->user, &news->record);
        else
            lan->events.gone(lan->user, news->record.instance);
        kith_free(news);
    }
    lan->delivering = false;
    if (!lan->stopped) return;
    kith__mdns_box_release(lan->box);
    kith_free(lan);
}

static bool record_fits(const kith_lan_record *record)
{
    return !record || (record->instance[0] && memchr(record->instance, 0, sizeof record->instance) &&
                       record->txt_size <= sizeof record->txt);
}

static kith_err start_thread(kith_lan *lan)
{
    kith_err err = KITH_OK;
    mdns_thread *thread = kith__mdns_thread_new(lan->box, &err);
    if (!thread) return err;
    sigset_t all, before;
    lan->box->holders++; /* the thread's hold */
    sigfillset(&all);    /* signals are the program's, and for its own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&lan->thread, NULL, kith__mdns_thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status) {
        lan->box->holders--;
        kith__mdns_thread_free(thread);
        return KITH_ERR_LIMIT;
    }
    return KITH_OK;
}

static kith_err lan_start(kith_env *env, const kith_lan_record *record, const kith_lan_events *events, void *user,
                          kith_lan **out)
{
    if (!record_fits(record)) return KITH_ERR_ARG;
    kith_lan *lan = kith_calloc(1, sizeof *lan);
    if (!lan) return KITH_ERR_NOMEM;
    *lan = (kith_lan){.env = env, .events = *events, .user = user};
    kith_err err = KITH_ERR_NOMEM;
    lan->box = box_new();
    lan->post = lan->box ? env->post->open(env, on_news, lan) : NULL;
    if (!lan->post) goto fail;
    err = env->net->watch(env, on_addresses, lan, &lan->watch);
    if (err) goto fail;
    mdns_wish *wish = &lan->box->wish;
    wish->announce = record != NULL;
    if (record) wish->record = *record;
    read_addresses(lan, wish->addrs, &wish->addr_count);
    lan->box->post_table = env->post;
    lan->box->post = lan->post;
    err = start_thread(lan);
    if (err) goto fail;
    *out = lan;
    return KITH_OK;
fail:
    env->net->unwatch(lan->watch);
    if (lan->post) env->post->close(lan->post);
    if (lan->box) kith__mdns_box_release(lan->box);
    kith_free(lan);
    return err;
}

static kith_err lan_update(kith_lan *lan, const kith_lan_record *record)
{
    if (!record_fits(record)) return KITH_ERR_ARG;
    pthread_mutex_lock(&lan->box->lock);
    lan->box->wish.announce = record != NULL;
    if (record) lan->box->wish.record = *record;
    lan->box->wish_is_new = true;
    pthread_mutex_unlock(&lan->box->lock);
    wake_thread(lan->box);
    return KITH_OK;
}

static void lan_want(kith_lan *lan, const char *const *prefixes, size_t count)
{
    pthread_mutex_lock(&lan->box->lock);
    mdns_wanted *wanted = &lan->box->wish.wanted;
    wanted->count = 0;
    for (size_t i = 0; i < count && wanted->count < KITH_LAN_WANTED_MAX; i++) {
        size_t size = strlen(prefixes[i]);
        if (size == 0 || size >= KITH_LAN_INSTANCE_SIZE) continue;
        memcpy(wanted->prefixes[wanted->count++], prefixes[i], size + 1);
    }
    lan->box->wish_is_new = true;
    pthread_mutex_unlock(&lan->box->lock);
    wake_thread(lan->box);
}

/* Have the thread say goodbye and end; wait for it, but not for ever, which is why it is not simply joined. */
static void end_thread(kith_lan *lan)
{
    mdns_box *box = lan->box;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += STOP_WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&box->lock);
    box->quit = true;
    box->post = NULL;
    wake_thread(box);
    while (!box->ended && pthread_cond_timedwait(&box->ended_cond, &box->lock, &until) != ETIMEDOUT) {
    }
    bool ended = box->ended;
    pthread_mutex_unlock(&box->lock);
    if (ended)
        pthread_join(lan->thread, NULL);
    else
        pthread_detach(lan->thread); /* it holds the box, and touches nothing else of ours */
}

static void lan_stop(kith_lan *lan)
{
    if (!lan || lan->stopped) return;
    lan->stopped = true;
    end_thread(lan);
    lan->env->net->unwatch(lan->watch);
    lan->env->post->close(lan->post);
    if (lan->delivering) return; /* on_news frees it */
    kith__mdns_box_release(lan->box);
    kith_free(lan);
}

uint64_t kith_io_lan_dropped(kith_lan *lan)
{
    pthread_mutex_lock(&lan->box->lock);
    uint64_t dropped = lan->box->dropped;
    pthread_mutex_unlock(&lan->box->lock);
    return dropped;
}

const kith_env_lan kith_io_lan = {.start = lan_start, .update = lan_update, .stop = lan_stop, .want = lan_want};
