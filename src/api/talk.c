/* Connections as the application's threads see them: what they may send, what they took, and how each stands. */
#include "api/internal.h"

#include "base/mem.h"

#include <string.h>

/* ---- what is known of each ---- */

view *kith__view_find(kith_node *node, kith_op op)
{
    KITH_EACH (at, &node->views) {
        view *v = KITH_OF(at, view, link);
        if (v->op == op) return v;
    }
    return NULL;
}

static void view_free(view *v)
{
    kith_list_remove(&v->link);
    kith__queued_free(v->writable);
    kith_free(v);
}

void kith__view_remove(kith_node *node, kith_op op)
{
    view *v = kith__view_find(node, op);
    if (v) view_free(v);
}

void kith__views_free(kith_node *node)
{
    for (kith_link *at; (at = kith_list_first(&node->views));) view_free(KITH_OF(at, view, link));
}

static view *view_new(kith_op op)
{
    view *v = kith_calloc(1, sizeof *v);
    if (v) v->op = op;
    return v;
}

/* ---- from the core ---- */

static bool on_incoming(void *user, const kith_event *event)
{
    kith_node *node = user;
    view *v = view_new(event->transfer);
    queued_event *end = kith__queued_new(), *q = kith__queued_new();
    if (!v || !end || !q) {
        kith_free(v);
        kith__queued_free(end);
        kith__queued_free(q);
        return false;
    }
    *q->event = *event;
    pthread_mutex_lock(&node->lock);
    kith_list_append(&node->views, &v->link);
    end->next = node->reserve;
    node->reserve = end;
    kith__queue(node, q);
    pthread_mutex_unlock(&node->lock);
    return true;
}

static bool on_message(void *user, kith_op connection, kith_talk_message *message)
{
    kith_node *node = user;
    queued_event *q = kith_calloc(1, sizeof *q);
    if (!q) return false;
    q->op = connection;
    q->message = message;
    pthread_mutex_lock(&node->lock);
    kith__queue(node, q);
    pthread_mutex_unlock(&node->lock);
    return true;
}

static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    kith_node *node = user;
    queued_event *q = kith_calloc(1, sizeof *q);
    if (q) q->message = kith_talk_message_new(data, size);
    if (!q || !q->message) {
        kith_free(q);
        return;
    }
    q->op = connection;
    q->datagram = true;
    pthread_mutex_lock(&node->lock);
    view *v = kith__view_find(node, connection);
    if (v) kith__queue(node, q);
    if (v && ++v->datagrams_in > KITH_DATAGRAMS_MAX) {
        kith__queue_drop_datagram(node, connection);
        v->datagrams_in--;
    }
    pthread_mutex_unlock(&node->lock);
    if (!v) kith__queued_free(q);
}

static void on_confirmed(void *user, kith_op connection, size_t costs)
{
    kith_node *node = user;
    pthread_mutex_lock(&node->lock);
    view *v = kith__view_find(node, connection);
    if (v) v->undelivered -= costs < v->undelivered ? costs : v->undelivered; /* a daemon may say anything */
    if (v && v->writable && v->undelivered <= KITH_UNDELIVERED_MAX / 2) {
        *v->writable->event = (kith_event){.kind = KITH_EVENT_WRITABLE, .op = connection};
        kith__queue(node, v->writable);
        v->writable = NULL;
    }
    pthread_mutex_unlock(&node->lock);
}

static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    kith_node *node = user;
    pthread_mutex_lock(&node->lock);
    view *v = kith__view_find(node, connection);
    if (v) {
        v->info = *info;
        v->known = true;
        v->finishing |= finishing;
    }
    pthread_mutex_unlock(&node->lock);
}

const kith_core_talk kith__api_talk = {
    .incoming = on_incoming,
    .message = on_message,
    .confirmed = on_confirmed,
    .datagram = on_datagram,
    .status = on_status,
};

void kith__views_tell_taken(kith_node *node)
{
    for (;;) {
        view told = {0};
        pthread_mutex_lock(&node->lock);
        KITH_EACH (at, &node->views) {
            view *v = KITH_OF(at, view, link);
            if (!v->taken) continue;
            told = *v;
            v->taken = v->taken_bytes = 0;
            break;
        }
        if (!told.taken) node->taken = false;
        pthread_mutex_unlock(&node->lock);
        if (!told.taken) return;
        kith_daemon_request r = {.kind = KITH_DAEMON_TAKEN, .op = told.op};
        r.number = told.taken;
        r.bytes = told.taken_bytes;
        kith__api_ask(node, &r, NULL);
    }
}

/* ---- from the application ---- */

void kith__views_datagram_sent(kith_node *node, kith_op op)
{
    pthread_mutex_lock(&node->lock);
    view *v = kith__view_find(node, op);
    if (v) v->datagrams_out--;
    pthread_mutex_unlock(&node->lock);
}

kith_err kith_connect(kith_node *node, const char *device_id, const kith_connect_options *options, kith_op *connection)
{
    kith_connect_options taken = {0};
    if (!node || !connection || !device_id || !options) return KITH_ERR_ARG;
    if (!kith__options_take(&taken, sizeof taken, options)) return KITH_ERR_ARG;
    if (!taken.topic || !kith_talk_topic_good(taken.topic)) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_CONNECT);
    view *v = c ? view_new(c->request.op) : NULL;
    bool complete = v && kith__command_keep(c, &c->request.device, device_id) &&
                    kith__command_keep(c, &c->request.text, taken.topic);
    if (c) c->request.seconds = taken.patience_s;
    if (complete) {
        pthread_mutex_lock(&node->lock);
        kith_list_append(&node->views, &v->link);
        pthread_mutex_unlock(&node->lock);
    } else {
        kith_free(v);
    }
    return kith__command_issue(node, c, complete, connection);
}

kith_err kith_serve(kith_node *node, const char *topic, const kith_serve_options *options, kith_op *op)
{
    kith_serve_options taken = {0};
    if (!topic || !kith_talk_topic_good(topic) || !kith__options_take(&taken, sizeof taken, options))
        return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_SERVE);
    if (c) c->request.contact = taken.contacts;
    return kith__command_issue(node, c, c && kith__command_keep(c, &c->request.text, topic), op);
}

/* May so much more be sent?  It counts from here on. */
static kith_err reserve(kith_node *node, kith_op connection, size_t cost)
{
    kith_err err = KITH_OK;
    pthread_mutex_lock(&node->lock);
    view *v = kith__view_find(node, connection);
    if (!v)
        err = KITH_ERR_NOT_FOUND;
    else if (v->finishing)
        err = KITH_ERR_STATE;
    else if (v->undelivered + cost <= KITH_UNDELIVERED_MAX)
        v->undelivered += cost;
    else if (v->writable || (v->writable = kith__queued_new()))
        err = KITH_ERR_AGAIN;
    else
        err = KITH_ERR_NOMEM;
    pthread_mutex_unlock(&node->lock);
    return err;
}

kith_err kith_send_message(kith_node *node, kith_op connection, const void *data, size_t size)
{
    if (!node || (!data && size)) return KITH_ERR_ARG;
    if (size > KITH_MESSAGE_SIZE_MAX) return KITH_ERR_LIMIT;
    kith_err err = reserve(node, connection, size + KITH_TALK_COST);
    if (err) return err;
    command *c = kith__command_new(node, KITH_DAEMON_MESSAGE);
    if (c) {
        c->request.op = connection;
        c->message = kith_talk_message_new(data, size);
    }
    err = kith__command_issue(node, c, c && c->message, NULL);
    if (err) on_confirmed(node, connection, size + KITH_TALK_COST); /* it does not count after all */
    return err;
}

kith_err kith_send_datagram(kith_node *node, kith_op connection, const void *data, size_t size)
{
    if (!node || (!data && size)) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_DATAGRAM);
    kith_err err = KITH_OK;
    if (c) c->request.op = connection;
    pthread_mutex_lock(&node->lock);
    view *v = kith__view_find(node, connection);
    if (!v)
        err = KITH_ERR_NOT_FOUND;
    else if (!v->info.connected || v->datagrams_out >= KITH_DATAGRAMS_MAX)
        err = KITH_ERR_LOST; /* away, or the loop does not keep up */
    else if (size > v->info.datagram_size)
        err = KITH_ERR_LIMIT;
    else if (!c || !(c->message = kith_talk_message_new(data, size)))
        err = KITH_ERR_NOMEM;
    else
        v->datagrams_out++;
    pthread_mutex_unlock(&node->lock);
    kith_err issued = kith__command_issue(node, c, !err, NULL);
    return err ? err : issued;
}

kith_err kith_finish(kith_node *node, kith_op connection)
{
    command *c = kith__command_new(node, KITH_DAEMON_FINISH);
    kith_err err = c ? KITH_OK : node ? KITH_ERR_NOMEM : KITH_ERR_ARG;
    if (c) {
        c->request.op = connection;
        pthread_mutex_lock(&node->lock);
        view *v = kith__view_find(node, connection);
        if (v)
            v->finishing = true;
        else
            err = KITH_ERR_NOT_FOUND;
        pthread_mutex_unlock(&node->lock);
    }
    kith_err issued = kith__command_issue(node, c, !err, NULL);
    return err ? err : issued;
}

kith_err kith_remote_device(kith_node *node, kith_op connection, kith_remote_device_info *out)
{
    kith_err err = KITH_ERR_NOT_FOUND;
    if (!node || !out) return KITH_ERR_ARG;
    pthread_mutex_lock(&node->lock);
    const view *v = kith__view_find(node, connection);
    if (v) err = v->known ? KITH_OK : KITH_ERR_AGAIN;
    if (!err) *out = v->info;
    pthread_mutex_unlock(&node->lock);
    return err;
}

bool kith_is_connected(kith_node *node, kith_op connection)
{
    if (!node) return false;
    pthread_mutex_lock(&node->lock);
    const view *v = kith__view_find(node, connection);
    bool is = v && v->info.connected;
    pthread_mutex_unlock(&node->lock);
    return is;
}
