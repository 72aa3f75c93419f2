/* A node's events in a libuv loop: a callback for each, on the loop's thread.  All of it is in this header; link libuv.
 *
 *     static void on_event(kith_uv *adaptor, const kith_event *event) { ... }
 *     kith_uv adaptor;
 *     kith_uv_start(&adaptor, uv_default_loop(), node, on_event, user);
 *     ...
 *     kith_uv_stop(&adaptor, on_stopped);     then kith_close(node), from on_stopped or later
 *
 * The loop is kept alive by it until kith_uv_stop.  Everything of kith.h but kith_close may be called in the callback;
 * it may stop the adaptor too, and is not called again then. */
#ifndef KITH_UV_H
#define KITH_UV_H

#include <kith/kith.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KITH_UV_EVENTS_A_TURN 64 /* others in the loop get theirs in between */

typedef struct kith_uv kith_uv;
/* kith_uv_event_cb: an event, good while it runs.  kith_uv_stopped_cb: it has stopped. */
typedef void (*kith_uv_event_cb)(kith_uv *adaptor, const kith_event *event);
typedef void (*kith_uv_stopped_cb)(kith_uv *adaptor);

/* The caller's memory, from kith_uv_start to `on_stopped`; its members but `node` and `user` are the adaptor's own. */
struct kith_uv {
    uv_poll_t poll;
    kith_node *node;
    kith_uv_event_cb on_event;
    kith_uv_stopped_cb on_stopped;
    void *user;
    int stopped;
    kith_event event;
};

static inline void kith_uv__readable(uv_poll_t *poll, int status, int events)
{
    kith_uv *adaptor = (kith_uv *)poll->data;
    (void)status; /* a pipe of the node's own: it does not fail */
    (void)events;
    for (int i = 0; i < KITH_UV_EVENTS_A_TURN && !adaptor->stopped; i++) {
        if (!kith_next_event(adaptor->node, &adaptor->event)) return;
        adaptor->on_event(adaptor, &adaptor->event);
    }
}

static inline void kith_uv__closed(uv_handle_t *handle)
{
    kith_uv *adaptor = (kith_uv *)handle->data;
    if (adaptor->on_stopped) adaptor->on_stopped(adaptor);
}

/* Begin; the adaptor's memory stays where it is until `on_stopped`.  0, or libuv's error, and nothing begins. */
static inline int kith_uv_start(kith_uv *adaptor, uv_loop_t *loop, kith_node *node, kith_uv_event_cb on_event,
                                void *user)
{
    adaptor->node = node;
    adaptor->on_event = on_event;
    adaptor->on_stopped = NULL;
    adaptor->user = user;
    adaptor->stopped = 0;
    int err = uv_poll_init(loop, &adaptor->poll, kith_fd(node));
    if (err) return err;
    adaptor->poll.data = adaptor;
    return uv_poll_start(&adaptor->poll, UV_READABLE, kith_uv__readable);
}

/* No event comes any more; `on_stopped` (or NULL) is called by the loop, and then the adaptor's memory is free. */
static inline void kith_uv_stop(kith_uv *adaptor, kith_uv_stopped_cb on_stopped)
{
    if (adaptor->stopped) return;
    adaptor->stopped = 1;
    adaptor->on_stopped = on_stopped;
    uv_close((uv_handle_t *)&adaptor->poll, kith_uv__closed);
}

#ifdef __cplusplus
}
#endif
#endif
