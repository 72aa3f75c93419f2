#include "service/talk_bytes.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

typedef enum state {
    APART,   /* no stream */
    OPENING, /* opener: ACCEPT is awaited */
    TOGETHER,
    OVER,
} state;

#define BIT(event) (1u << (event))

struct kith_talk {
    bool opener;
    uint8_t id[KITH_TALK_ID_SIZE];
    char topic[KITH_TALK_TOPIC_MAX + 1];
    state state;
    bool accepted; /* once */
    kith_err error;
    unsigned events; /* BITs that were not taken */

    /* Ours: numbers confirmed <= next <= most <= queued (+ 1 for FINISH). */
    kith_list out;      /* from `confirmed` on */
    kith_link *at;      /* that of `next`; NULL: at the end */
    uint64_t confirmed; /* taken by the peer */
    uint64_t next;      /* to be put on this stream */
    uint64_t most;      /* `next`, over all streams: what the peer may have */
    uint64_t queued;
    bool finishing; /* FINISH has the number `queued` */
    size_t on_way;  /* what those from confirmed to next cost */
    size_t undelivered, freed;
    const kith_talk_message *body; /* whose head was output, and the bytes were not */

    /* The peer's. */
    kith_list in; /* whole, not given out yet */
    uint64_t received, taken;
    size_t held; /* what those between cost */
    bool their_finish;
    kith_talk_message *arriving;
    size_t filled;
    kith_talk_inbox inbox;

    bool open_due, accept_due, confirm_due, fin_out;
    uint8_t head[KITH_TALK_HEAD_MAX + KITH_TALK_CONTROL_MAX]; /* what output showed last */
};

static size_t cost(size_t size) { return size + KITH_TALK_COST; }
static kith_talk_message *message_of(kith_link *link) { return KITH_OF(link, kith_talk_message, link); }

kith_talk_message *kith_talk_message_new(const void *data, size_t size)
{
    kith_talk_message *m = kith_malloc(sizeof *m + size);
    if (!m) return NULL;
    *m = (kith_talk_message){.size = size};
    if (data && size) memcpy(m->data, data, size);
    return m;
}

kith_err kith_talk_new(bool opener, const uint8_t id[static KITH_TALK_ID_SIZE], const char *topic, kith_talk **out)
{
    kith_talk *t = kith_calloc(1, sizeof *t);
    if (!t) return KITH_ERR_NOMEM;
    t->opener = opener;
    memcpy(t->id, id, sizeof t->id);
    snprintf(t->topic, sizeof t->topic, "%s", topic);
    kith_list_init(&t->out);
    kith_list_init(&t->in);
    *out = t;
    return KITH_OK;
}

static void free_all(kith_list *list)
{
    for (kith_link *link; (link = kith_list_take_first(list));) kith_free(message_of(link));
}

void kith_talk_free(kith_talk *t)
{
    if (!t) return;
    free_all(&t->out);
    free_all(&t->in);
    kith_free(t->arriving);
    kith_free(t);
}

static void over(kith_talk *t, kith_err why)
{
    if (t->state == OVER) return;
    t->state = OVER;
    t->error = why;
    t->events |= BIT(KITH_TALK_OVER);
}

/* ---- what the peer has of ours ---- */

static uint64_t total(const kith_talk *t) { return t->queued + t->finishing; }
static bool ours_taken(const kith_talk *t) { return t->finishing && t->confirmed == total(t); }
static bool theirs_taken(const kith_talk *t) { return t->their_finish && t->taken == t->received; }

/* The acceptor is over when both ends are taken; the opener when it hears that from the acceptor. */
static void check_over(kith_talk *t)
{
    if (!t->opener && ours_taken(t) && theirs_taken(t)) over(t, KITH_OK);
}

/* The peer has all before `taken`.  False: it cannot have. */
static bool confirm(kith_talk *t, uint64_t taken, uint64_t possible)
{
    if (taken < t->confirmed || taken > possible) return false;
    for (; t->confirmed < taken; t->confirmed++) {
        kith_link *link = kith_list_take_first(&t->out);
        if (!link) continue; /* FINISH */
        kith_talk_message *m = message_of(link);
        if (t->confirmed < t->next) t->on_way -= cost(m->size);
        t->undelivered -= cost(m->size);
        t->freed += cost(m->size);
        t->events |= BIT(KITH_TALK_CONFIRMED);
        kith_free(m);
    }
    check_over(t);
    return true;
}

/* A stream begins on which what the peer has not received goes again. */
static bool rewind_to(kith_talk *t, uint64_t received, uint64_t taken)
{
    if (received > t->most || !confirm(t, taken, received)) return false;
    t->next = t->confirmed;
    t->at = kith_list_first(&t->out);
    t->on_way = 0;
    for (; t->next < received; t->next++) {
        if (!t->at) continue; /* FINISH */
        t->on_way += cost(message_of(t->at)->size);
        t->at = t->at->next == &t->out.head ? NULL : t->at->next;
    }
    return true;
}

void kith_talk_apart(kith_talk *t)
{
    if (t->state != OVER) t->state = APART;
    t->open_due = t->accept_due = t->confirm_due = t->fin_out = false;
    t->body = NULL;
    t->next = t->confirmed;
    t->at = kith_list_first(&t->out);
    t->on_way = 0;
    kith_free(t->arriving);
    t->arriving = NULL;
    kith_talk_inbox_clear(&t->inbox);
}

kith_err kith_talk_begin(kith_talk *t, const kith_talk_open *open)
{
    kith_talk_apart(t);
    if (t->state == OVER) return KITH_ERR_STATE;
    if (t->opener) {
        t->state = OPENING;
        t->open_due = true;
        return KITH_OK;
    }
    if (strcmp(open->topic, t->topic) != 0 || !rewind_to(t, open->received, open->taken)) {
        over(t, KITH_ERR_PROTOCOL);
        return KITH_ERR_PROTOCOL;
    }
    if (t->state != OVER) t->state = TOGETHER;
    t->accepted = t->accept_due = true;
    return KITH_OK;
}

/* ---- what comes ---- */

static void take_accept(kith_talk *t)
{
    uint64_t received, taken;
    bool good = t->state == OPENING && !t->open_due && kith_talk_read_accept(&t->inbox, &received, &taken);
    if (!good || !rewind_to(t, received, taken)) {
        over(t, KITH_ERR_PROTOCOL);
        return;
    }
    t->state = TOGETHER;
    t->accepted = true;
    t->events |= BIT(KITH_TALK_ACCEPTED);
}

static void take_ended(kith_talk *t)
{
    kith_err why;
    if (t->state != OPENING || t->open_due || !kith_talk_read_ended(&t->inbox, &why)) {
        over(t, KITH_ERR_PROTOCOL);
        return;
    }
    /* That it ended well can only be if all of ours was taken, and its end had come. */
    bool possible = t->finishing && t->most == total(t) && t->their_finish;
    if (why == KITH_OK && !(possible && confirm(t, total(t), total(t)))) why = KITH_ERR_PROTOCOL;
    if (why == KITH_ERR_CANCELLED) why = KITH_ERR_CLOSED;
    over(t, why);
}

static void take_finish(kith_talk *t)
{
    if (t->their_finish || !kith_talk_read_finish(&t->inbox)) {
        over(t, KITH_ERR_PROTOCOL);
        return;
    }
    t->their_finish = true;
    t->events |= BIT(KITH_TALK_FINISHED);
    t->received++;
    t->finishing = true;
    kith_talk_taken(t, 0, 0);
}

/* A MESSAGE's head. */
static void take_head(kith_talk *t)
{
    size_t size = kith_talk_inbox_length(&t->inbox);
    if (t->their_finish || cost(size) > KITH_TALK_WINDOW - t->held) {
        over(t, KITH_ERR_PROTOCOL);
        return;
    }
    t->arriving = kith_talk_message_new(NULL, size);
    t->filled = 0;
    if (!t->arriving) over(t, KITH_ERR_NOMEM);
}

static void end_message(kith_talk *t)
{
    t->held += cost(t->arriving->size);
    t->received++;
    kith_list_append(&t->in, &t->arriving->link);
    t->arriving = NULL;
    t->events |= BIT(KITH_TALK_MESSAGE);
}

static void take_whole(kith_talk *t)
{
    uint64_t taken;
    bool together = t->state == TOGETHER;
    switch (kith_talk_inbox_type(&t->inbox)) {
    case KITH_TALK_TYPE_ACCEPT: take_accept(t); break;
    case KITH_TALK_TYPE_ENDED: take_ended(t); break;
    case KITH_TALK_TYPE_CONFIRM:
        /* Of the message whose bytes are not out it can have nothing. */
        if (!together || !kith_talk_read_confirm(&t->inbox, &taken) || !confirm(t, taken, t->next - (t->body != NULL)))
            over(t, KITH_ERR_PROTOCOL);
        break;
    case KITH_TALK_TYPE_FINISH:
        if (together)
            take_finish(t);
        else
            over(t, KITH_ERR_PROTOCOL);
        break;
    default: over(t, KITH_ERR_PROTOCOL); break; /* an OPEN in the midst */
    }
}

static size_t take_some(kith_talk *t, const uint8_t *data, size_t size)
{
    kith_talk_inbox_state got;
    if (t->arriving) {
        size_t left = t->arriving->size - t->filled, n = size < left ? size : left;
        memcpy(t->arriving->data + t->filled, data, n);
        t->filled += n;
        if (n == left) end_message(t);
        return n;
    }
    size_t used = kith_talk_inbox_add(&t->inbox, data, size, &got);
    if (got == KITH_TALK_INBOX_MORE) return used;
    if (got == KITH_TALK_INBOX_BAD || (got == KITH_TALK_INBOX_HEAD && t->state != TOGETHER))
        over(t, KITH_ERR_PROTOCOL);
    else if (got == KITH_TALK_INBOX_HEAD)
        take_head(t);
    else
        take_whole(t);
    kith_talk_inbox_clear(&t->inbox);
    if (t->arriving && t->arriving->size == 0) end_message(t);
    return used;
}

/* The stream's end: due when both have all, and never before.  The acceptor's own application may still have to take
 * what came. */
static void take_fin(kith_talk *t)
{
    bool all = ours_taken(t) && t->their_finish && !t->arriving && t->inbox.size == 0;
    if (!all)
        over(t, KITH_ERR_PROTOCOL);
    else if (t->opener)
        over(t, theirs_taken(t) ? KITH_OK : KITH_ERR_PROTOCOL);
}

void kith_talk_input(kith_talk *t, const void *data, size_t size, bool fin)
{
    const uint8_t *at = data;
    if (t->state == APART) return;
    while (size && t->state != OVER) {
        size_t n = take_some(t, at, size);
        at += n;
        size -= n;
    }
    if (fin && t->state != OVER) take_fin(t);
}

/* ---- what goes ---- */

static bool may_send(const kith_talk *t)
{
    if (t->state != TOGETHER || t->next == total(t)) return false;
    return !t->at || t->on_way + cost(message_of(t->at)->size) <= KITH_TALK_WINDOW;
}

/* The next message, or FINISH: into t->head; its size. */
static size_t put_next(kith_talk *t)
{
    size_t size;
    if (t->at) {
        kith_talk_message *m = message_of(t->at);
        size = kith_talk_write_head(m->size, t->head);
        t->body = m->size ? m : NULL;
        t->on_way += cost(m->size);
        t->at = t->at->next == &t->out.head ? NULL : t->at->next;
    } else {
        size = kith_talk_write_finish(t->head);
    }
    if (++t->next > t->most) t->most = t->next;
    return size;
}

static size_t put_open(kith_talk *t)
{
    kith_talk_open open = {.received = t->received, .taken = t->taken, .again = t->accepted};
    memcpy(open.id, t->id, sizeof open.id);
    memcpy(open.topic, t->topic, sizeof open.topic);
    return kith_talk_write_open(&open, t->head);
}

/* Nothing more to say on this stream. */
static bool fin_due(const kith_talk *t)
{
    if (t->fin_out || t->accept_due || t->confirm_due || t->body || t->next != total(t) || !t->finishing) return false;
    if (!t->opener) return t->state == OVER && t->error == KITH_OK;
    return t->state == TOGETHER && theirs_taken(t);
}

bool kith_talk_output(kith_talk *t, const uint8_t **data, size_t *size, bool *fin)
{
    *fin = false;
    *data = t->head;
    *size = 0;
    if (t->state == APART || (t->state == OVER && (t->error || t->opener))) return false;
    if (t->body) {
        *data = t->body->data;
        *size = t->body->size;
        t->body = NULL;
    } else if (t->open_due) {
        t->open_due = t->confirm_due = false;
        *size = put_open(t);
    } else if (t->accept_due) {
        t->accept_due = t->confirm_due = false;
        *size = kith_talk_write_accept(t->received, t->taken, t->head);
    } else if (t->confirm_due && t->state != OPENING) {
        t->confirm_due = false;
        *size = kith_talk_write_confirm(t->taken, t->head);
    } else if (may_send(t)) {
        *size = put_next(t);
    }
    *fin = fin_due(t);
    t->fin_out |= *fin;
    return *size || *fin;
}

/* ---- what the owner does ---- */

kith_talk_event kith_talk_event_take(kith_talk *t)
{
    for (unsigned event = KITH_TALK_ACCEPTED; event <= KITH_TALK_OVER; event++) {
        if (!(t->events & BIT(event))) continue;
        t->events &= ~BIT(event);
        return (kith_talk_event)event;
    }
    return KITH_TALK_NOTHING;
}

kith_err kith_talk_send(kith_talk *t, kith_talk_message *message)
{
    if (t->finishing || t->state == OVER || message->size > KITH_TALK_MESSAGE_MAX) return KITH_ERR_STATE;
    kith_list_append(&t->out, &message->link);
    if (!t->at) t->at = &message->link;
    t->queued++;
    t->undelivered += cost(message->size);
    return KITH_OK;
}

void kith_talk_finish(kith_talk *t)
{
    if (t->state != OVER) t->finishing = true;
}

kith_talk_message *kith_talk_take(kith_talk *t)
{
    kith_link *link = kith_list_take_first(&t->in);
    if (!kith_list_empty(&t->in)) t->events |= BIT(KITH_TALK_MESSAGE);
    return link ? message_of(link) : NULL;
}

void kith_talk_taken(kith_talk *t, uint64_t messages, size_t bytes)
{
    uint64_t before = t->taken, whole = t->received - t->their_finish;
    if (t->taken < whole) {
        size_t costs = bytes + (size_t)messages * KITH_TALK_COST;
        t->taken += messages < whole - t->taken ? messages : whole - t->taken;
        t->held -= costs < t->held ? costs : t->held;
    }
    if (t->their_finish && t->taken == whole) t->taken = t->received;
    if (t->taken == before) return;
    t->confirm_due = t->state != APART;
    check_over(t);
}

size_t kith_talk_confirmed(kith_talk *t)
{
    size_t bytes = t->freed;
    t->freed = 0;
    return bytes;
}

size_t kith_talk_undelivered(const kith_talk *t) { return t->undelivered; }

bool kith_talk_settled(const kith_talk *t) { return t->their_finish && t->finishing && t->confirmed >= t->queued; }

bool kith_talk_is_over(const kith_talk *t) { return t->state == OVER; }
kith_err kith_talk_error(const kith_talk *t) { return t->error; }
const char *kith_talk_topic(const kith_talk *t) { return t->topic; }
const uint8_t *kith_talk_id(const kith_talk *t) { return t->id; }
