/* Events out: what the loop says waits here until a thread of the application takes it. */
#include "api/internal.h"

#include "base/mem.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- in ---- */

queued_event *kith__queued_new(void)
{
    queued_event *q = kith_malloc(sizeof *q + sizeof *q->event);
    if (q) *q = (queued_event){0};
    return q;
}

void kith__queued_free(queued_event *q)
{
    if (q && !q->message) kith_wipe(q->event->words, sizeof q->event->words); /* a pairing code */
    if (q) kith_free(q->message);
    kith_free(q);
}

/* What connections bring has bounds of its own. */
static bool counts(const queued_event *q)
{
    return !q->message && q->event->kind != KITH_EVENT_INCOMING && q->event->kind != KITH_EVENT_WRITABLE;
}

void kith__queue(kith_node *node, queued_event *q)
{
    queued_event *last = node->last_event;
    q->next = NULL;
    if (last)
        last->next = q;
    else
        node->events = q;
    node->last_event = q;
    node->event_count += counts(q);
    ssize_t ignored = last ? 0 : write(node->wake[1], "", 1); /* full: then it is readable already */
    (void)ignored;
}

void kith__queue_drop_datagram(kith_node *node, kith_op op)
{
    queued_event *before = NULL;
    for (queued_event *q = node->events; q; before = q, q = q->next) {
        if (!q->datagram || q->op != op) continue;
        if (before)
            before->next = q->next;
        else
            node->events = q->next;
        if (node->last_event == q) node->last_event = before;
        kith__queued_free(q);
        return;
    }
}

static bool same_transfer(const kith_event *a, const kith_event *b)
{
    return a->op == b->op && a->transfer == b->transfer;
}

/* A PROGRESS that was not read yet says the latest: a slow reader sees fewer steps, never a growing queue.  False:
 * there is none, or something else of this transfer came after it. */
static bool update_progress(kith_node *node, const kith_event *event)
{
    queued_event *last = NULL;
    if (event->kind != KITH_EVENT_PROGRESS) return false;
    for (queued_event *q = node->events; q; q = q->next)
        if (!q->message && same_transfer(q->event, event)) last = q;
    if (!last || last->event->kind != KITH_EVENT_PROGRESS) return false;
    *last->event = *event;
    return true;
}

/* Memory for one more event; NULL: it is lost. */
static queued_event *take_queued(kith_node *node, const kith_event *event)
{
    queued_event *q = node->reserve;
    if (event->kind == KITH_EVENT_END && q) {
        node->reserve = q->next;
        return q;
    }
    return node->event_count < KITH_EVENTS_MAX ? kith__queued_new() : NULL;
}

void kith__api_event(void *user, const kith_event *event)
{
    kith_node *node = user;
    pthread_mutex_lock(&node->lock);
    if (event->kind == KITH_EVENT_END) kith__view_remove(node, event->op);
    queued_event *q = update_progress(node, event) ? NULL : take_queued(node, event);
    if (q) {
        *q->event = *event;
        kith__queue(node, q);
    }
    pthread_mutex_unlock(&node->lock);
}

/* ---- out ---- */

/* The message this thread was given before is its no longer. */
static queued_event *take_back(kith_node *node)
{
    for (queued_event **at = &node->given; *at; at = &(*at)->next) {
        queued_event *q = *at;
        if (!pthread_equal(q->reader, pthread_self())) continue;
        *at = q->next;
        return q;
    }
    return NULL;
}

/* Give the message out; true: the loop should hear that it was taken. */
static bool give_message(kith_node *node, queued_event *q, kith_event *event)
{
    view *v = kith__view_find(node, q->op);
    bool tell = v && !node->taken;
    memset(event, 0, sizeof *event);
    event->kind = q->datagram ? KITH_EVENT_DATAGRAM : KITH_EVENT_MESSAGE;
    event->op = q->op;
    event->data = q->message->data;
    event->data_size = q->message->size;
    q->reader = pthread_self();
    q->next = node->given;
    node->given = q;
    if (v && q->datagram) v->datagrams_in--;
    if (!v || q->datagram) return false;
    v->taken++;
    v->taken_bytes += q->message->size;
    node->taken = true;
    return tell;
}

bool kith_next_event(kith_node *node, kith_event *event)
{
    bool tell = false;
    if (!node || !event) return false;
    pthread_mutex_lock(&node->lock);
    queued_event *q = node->events, *old = take_back(node);
    if (q) {
        node->events = q->next;
        node->event_count -= counts(q);
        if (!q->next) {
            char byte[16];
            node->last_event = NULL;
            while (read(node->wake[0], byte, sizeof byte) > 0) {
            }
        }
        if (q->message)
            tell = give_message(node, q, event);
        else
            *event = *q->event;
    }
    bool some = q != NULL, message = some && q->message;
    pthread_mutex_unlock(&node->lock);
    kith__queued_free(old);
    if (!message) kith__queued_free(q);
    if (tell) node->env->post->post(node->post);
    return some;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool kith_wait_event(kith_node *node, int timeout_ms, kith_event *event)
{
    if (!node || !event) return false;
    int64_t until = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
    while (!kith_next_event(node, event)) {
        int64_t left = until == INT64_MAX ? -1 : until - now_ms();
        struct pollfd p = {.fd = node->wake[0], .events = POLLIN};
        if (until != INT64_MAX && left <= 0) return false;
        (void)poll(&p, 1, left > 1000000 ? 1000000 : (int)left); /* whatever it says: look again */
    }
    return true;
}

int kith_fd(const kith_node *node) { return node ? node->wake[0] : -1; }

static void free_list(queued_event *q)
{
    while (q) {
        queued_event *next = q->next;
        kith__queued_free(q);
        q = next;
    }
}

void kith__events_free(kith_node *node)
{
    free_list(node->events);
    free_list(node->given);
    free_list(node->reserve);
    node->events = node->given = node->reserve = NULL;
}
