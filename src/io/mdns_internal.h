/* What the halves of mDNS share: mdns.c is the loop's thread, the others are Avahi's thread.  Only they include this.
 */
#ifndef KITH_IO_MDNS_INTERNAL_H
#define KITH_IO_MDNS_INTERNAL_H

#include "base/list.h"
#include "io/mdns.h"

#include <avahi-common/simple-watch.h>
#include <avahi-core/core.h>
#include <avahi-core/lookup.h>
#include <avahi-core/publish.h>
#include <pthread.h>

#define MDNS_DOMAIN "local"

/* Who is killed says no goodbye: others drop our records when their life is over.  While we live they ask again at 80 %
 * of it (RFC 6762 section 5.2). */
#define MDNS_LIFE_S 30

typedef struct mdns_wanted {
    size_t count;
    char prefixes[KITH_LAN_WANTED_MAX][KITH_LAN_INSTANCE_SIZE];
} mdns_wanted;

/* What the loop's thread wishes. */
typedef struct mdns_wish {
    bool announce;
    kith_lan_record record;
    size_t addr_count;
    kith_interface_addr addrs[KITH_LAN_ANNOUNCED_MAX];
    mdns_wanted wanted;
} mdns_wish;

typedef struct mdns_news {
    kith_link link;
    bool seen; /* else gone; only the instance counts then */
    bool wanted;
    kith_lan_record record;
} mdns_news;

/* Between the threads; both hold it, the last to let go frees it. */
typedef struct mdns_box {
    pthread_mutex_t lock;
    pthread_cond_t ended_cond;
    int wake; /* eventfd: the wishes changed, or quit */
    unsigned holders;
    /* under the lock, from the loop: */
    bool quit, wish_is_new;
    mdns_wish wish;
    const kith_env_post *post_table;
    void *post; /* NULL once the loop's side is closed */
    /* under the lock, to the loop: */
    kith_list news;
    size_t news_count;
    uint64_t dropped;
    bool ended;
} mdns_box;

void kith__mdns_box_release(mdns_box *box);
void kith__mdns_box_end(mdns_box *box); /* the thread's last words; lets go of it */
/* Replaces what was waiting of the same instance. */
void kith__mdns_box_tell(mdns_box *box, const kith_lan_record *record, bool seen, bool wanted);

/* ---- Avahi's thread ---- */

typedef struct mdns_guard mdns_guard; /* between Avahi and the network */
typedef struct mdns_address {         /* an address of ours that is announced */
    uint32_t interface;
    kith_addr addr;
    AvahiSEntryGroup *group;
    bool keep;
} mdns_address;

typedef struct mdns_thread {
    mdns_box *box;
    mdns_wish wish; /* the thread's copy */
    AvahiSimplePoll *simple;
    const AvahiPoll *poll;
    AvahiWatch *wake;
    bool quit, has_wish, rename, rebuild;
    int64_t idle_ms; /* when this thread last had nothing to do; monotonic */
    bool stuck;      /* a group did not get through its probing: Avahi forgets one whose interface changes meanwhile */
    /* the session: what ends with the server */
    mdns_guard *guard;
    AvahiServer *server;
    AvahiSServiceBrowser *browser;
    bool on_loopback; /* there is no other interface */
    AvahiTimeout *retry;
    uint64_t flush_wait; /* checks of the cache to let pass before it may be flushed again */
    uint64_t flush_passed;
    AvahiTimeout *check;
    /* announcing */
    AvahiSEntryGroup *service;
    AvahiTimeout *settled; /* when all groups should be established */
    kith_lan_record announced;
    char name[KITH_LAN_INSTANCE_SIZE]; /* the instance's, after collisions */
    char host[KITH_LAN_INSTANCE_SIZE + sizeof "." MDNS_DOMAIN];
    mdns_address addresses[KITH_LAN_ANNOUNCED_MAX];
    size_t address_count;
    /* browsing */
    kith_list peers; /* oldest first */
    size_t peer_count;
    AvahiTimeout *report, *sweep;
    bool report_set;
    unsigned sweep_left; /* turns until those that have not been heard again are gone; 0: nobody is in doubt */
    unsigned sweep_held; /* turns that did not count */
    bool ask;            /* others are to be asked at once who is there */
} mdns_thread;

/* NULL and *err = NETWORK or NOMEM.  The caller takes the thread's hold on the box. */
mdns_thread *kith__mdns_thread_new(mdns_box *box, kith_err *err);
void kith__mdns_thread_free(mdns_thread *t); /* of one that does not run */
void *kith__mdns_thread_main(void *t);       /* frees it, and lets go of the box */

/* What is due after each round of the thread's loop, and must not happen inside Avahi's callbacks. */
void kith__mdns_thread_turn(mdns_thread *t);

/* Has it had no moment without something to do for long?  Then what is known grows old beside the answers. */
#define MDNS_BUSY_MS 1000
bool kith__mdns_thread_is_busy(const mdns_thread *t);

/* Set a timeout `ms` from now. */
void kith__mdns_timeout(const mdns_thread *t, AvahiTimeout *timeout, unsigned ms);

/* Announce what is wished now, changing as little as possible. (mdns_announce.c) */
void kith__mdns_announce(mdns_thread *t);
void kith__mdns_announce_renamed(mdns_thread *t); /* after a collision */
void kith__mdns_announce_again(mdns_thread *t);   /* all of it anew */
bool kith__mdns_announce_is_stuck(const mdns_thread *t);
void kith__mdns_announce_forget(mdns_thread *t); /* after the server is gone */

/* (mdns_browse.c) */
bool kith__mdns_browse_init(mdns_thread *t);
bool kith__mdns_browse_start(mdns_thread *t);
bool kith__mdns_browse_again(mdns_thread *t); /* ask anew who is there; those that are known stay */
/* After the server is gone: those that are not seen again within so many seconds, in which this thread ran, are gone.
 */
void kith__mdns_browse_forget(mdns_thread *t, unsigned seconds);
void kith__mdns_browse_wanted(mdns_thread *t); /* the wish's prefixes changed */
void kith__mdns_browse_done(mdns_thread *t);

/* (mdns_guard.c) */
mdns_guard *kith__mdns_guard_new(const AvahiPoll *inner);
const AvahiPoll *kith__mdns_guard_poll(mdns_guard *guard);
/* The server says nothing any more, not even goodbye, and hears nothing: it is about to be replaced by one that
 * announces the same. */
void kith__mdns_guard_mute(const mdns_guard *guard);
void kith__mdns_guard_free(mdns_guard *guard); /* after the server */
/* Whether a datagram may reach Avahi: a whole DNS message that holds no CNAME. */
bool kith__mdns_guard_accepts(const void *data, size_t size);

#endif
