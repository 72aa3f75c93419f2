#include "io/resolve.h"

#include "base/mem.h"
#include "io/io_internal.h"

#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define STACK_SIZE ((size_t)256 << 10) /* the C library's resolver needs less than a tenth of it */

struct kith_io_lookup {
    pthread_mutex_t lock; /* of `holders` and `post` */
    unsigned holders;     /* the loop, the thread */
    void *post;           /* NULL: nobody waits any more */
    kith_io_resolved *done;
    void *user;
    uint16_t port;
    kith_addr addrs[KITH_RESOLVE_ADDRS];
    size_t count;
    char host[];
};

static atomic_uint threads;

static void let_go(kith_io_lookup *lookup)
{
    pthread_mutex_lock(&lookup->lock);
    bool last = --lookup->holders == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!last) return;
    pthread_mutex_destroy(&lookup->lock);
    kith_free(lookup);
}

static void take(kith_io_lookup *lookup, const struct addrinfo *found)
{
    for (; found && lookup->count < KITH_RESOLVE_ADDRS; found = found->ai_next) {
        kith_addr addr = kith_addr_from_sockaddr(found->ai_addr);
        if (addr.family == KITH_FAMILY_NONE) continue;
        addr.port = lookup->port;
        lookup->addrs[lookup->count++] = addr;
    }
}

/* Most wanted first, as RFC 6724 says and the system knows. */
static bool look_up(kith_io_lookup *lookup, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *found = NULL;
    if (getaddrinfo(lookup->host, NULL, &hints, &found)) return false;
    take(lookup, found);
    freeaddrinfo(found);
    return true;
}

static void *look_up_slowly(void *argument)
{
    kith_io_lookup *lookup = argument;
    look_up(lookup, AI_ADDRCONFIG);
    pthread_mutex_lock(&lookup->lock);
    if (lookup->post) kith_io_post_table.post(lookup->post);
    pthread_mutex_unlock(&lookup->lock);
    let_go(lookup);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

static void on_posted(void *user)
{
    kith_io_lookup *lookup = user;
    kith_addr addrs[KITH_RESOLVE_ADDRS];
    size_t count = lookup->count;
    kith_io_resolved *done = lookup->done;
    void *whose = lookup->user;
    memcpy(addrs, lookup->addrs, sizeof addrs);
    kith_io_resolve_cancel(lookup);
    done(whose, addrs, count);
}

static kith_err start_thread(kith_io_lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (atomic_fetch_add(&threads, 1) >= KITH_RESOLVE_MAX) {
        atomic_fetch_sub(&threads, 1);
        return KITH_ERR_LIMIT;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all); /* signals are for the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    lookup->holders++;
    int status = pthread_create(&thread, &attributes, look_up_slowly, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!status) return KITH_OK;
    lookup->holders--;
    atomic_fetch_sub(&threads, 1);
    return KITH_ERR_LIMIT;
}

kith_err kith_io_resolve(kith_io *io, const char *host, uint16_t port, kith_io_resolved *done, void *user,
                         kith_io_lookup **out)
{
    size_t size = strlen(host) + 1;
    kith_io_lookup *lookup = kith_calloc(1, sizeof *lookup + size);
    if (!lookup) return KITH_ERR_NOMEM;
    pthread_mutex_init(&lookup->lock, NULL); /* with default attributes it cannot fail */
    lookup->holders = 1;
    lookup->done = done;
    lookup->user = user;
    lookup->port = port;
    memcpy(lookup->host, host, size);
    lookup->post = kith_io_post_table.open(&io->env, on_posted, lookup);
    kith_err err = KITH_ERR_NOMEM;
    if (!lookup->post) goto fail;
    if (look_up(lookup, AI_NUMERICHOST)) {
        kith_io_post_table.post(lookup->post);
    } else {
        err = start_thread(lookup);
        if (err) goto fail;
    }
    *out = lookup;
    return KITH_OK;
fail:
    kith_io_resolve_cancel(lookup);
    return err;
}

void kith_io_resolve_cancel(kith_io_lookup *lookup)
{
    if (!lookup) return;
    pthread_mutex_lock(&lookup->lock);
    void *post = lookup->post;
    lookup->post = NULL;
    pthread_mutex_unlock(&lookup->lock);
    kith_io_post_table.close(post);
    let_go(lookup);
}

unsigned kith_io_resolve_threads(void) { return atomic_load(&threads); }
