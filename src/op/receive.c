/* The operation of receiving: who may send, what is to become of an offer, and when it is over. */
#include "op/receive.h"
#include "base/mem.h"
#include "node/lan.h"
#include "node/own.h"
#include "op/hooks.h"
#include "op/op.h"

#include <string.h>

#define TRANSFER_ID_BASE (UINT64_C(1) << 32) /* apart from the operations' own numbers */

/* ---- ending ---- */

static void receive_free(op *o)
{
    receive_op *r = (receive_op *)o;
    KITH_EACH (at, &r->transfers) kith__transfer_free(KITH_OF(at, transfer, link));
    kith__chunks_free(&r->chunks);
    kith_free(r->folder);
    kith_free(r);
}

void kith__receive_try_end(receive_op *r)
{
    kith_core *core = r->op.core;
    if (!r->over || r->count) return;
    for (receive_op **at = &core->receiver; *at; at = &(*at)->older)
        if (*at == r) {
            *at = r->older;
            break;
        }
    kith__lan_announce(core);
    kith__op_end(&r->op, r->end_err,
                 r->end_err == KITH_ERR_CANCELLED ? "stopped: what arrived is kept, and goes on when it is sent again"
                                                  : NULL);
    receive_free(&r->op);
}

/* With `once` that was it. */
void kith__receive_ended(receive_op *r)
{
    if (!r->once || r->over) return;
    r->over = true;
    KITH_EACH (at, &r->transfers) kith__transfer_stop(KITH_OF(at, transfer, link), KITH_ERR_CLOSED);
}

static void receive_cancel(op *o, kith_err why)
{
    receive_op *r = (receive_op *)o;
    r->over = true;
    r->end_err = why;
    KITH_EACH (at, &r->transfers) kith__transfer_stop(KITH_OF(at, transfer, link), KITH_ERR_CLOSED);
    kith__receive_try_end(r);
}

/* ---- offers ---- */

/* Who takes what this device sends: the newest who wants it. */
static receive_op *find_receiver(const session *s)
{
    for (receive_op *r = s->core->receiver; r; r = r->older)
        if (!r->over && (!r->has_from || memcmp(r->from, s->peer.uuid, sizeof r->from) == 0)) return r;
    return NULL;
}

static kith_err may_begin(const receive_op *r, const session *s)
{
    size_t same = 0, asking = 0;
    for (const kith_link *at = r->transfers.head.next; at != &r->transfers.head; at = at->next) {
        const transfer *t = KITH_OF(at, const transfer, link);
        same += memcmp(t->config.id.sender, s->peer.fingerprint, sizeof t->config.id.sender) == 0;
        asking += t->stage == ASKING;
    }
    bool room = r->count < TRANSFERS_MAX && same < TRANSFERS_DEVICE_MAX;
    if (asking >= TRANSFERS_ASKING_MAX && kith_permit_of(KITH_SERVICE_FILE, s->standing) != KITH_ALLOW) room = false;
    return room ? KITH_OK : KITH_ERR_AGAIN;
}

kith_err kith__receive_serve(channel *c)
{
    receive_op *r = find_receiver(c->session);
    kith_err err = r ? may_begin(r, c->session) : KITH_ERR_NOT_ALLOWED;
    return err ? err : kith__transfer_new(r, TRANSFER_ID_BASE * r->op.id + ++r->last_id, c);
}

/* Whether a person who was asked about the one has seen the other: its name, too. */
static bool same_offer(const transfer *a, const transfer *b)
{
    const kith_file_header *x = kith_file_rx_header(a->rx), *y = kith_file_rx_header(b->rx);
    return memcmp(&a->config.id, &b->config.id, sizeof a->config.id) == 0 && strcmp(x->name, y->name) == 0 &&
           x->executable == y->executable;
}

/* What is under way of the same file from the same device, with whichever receive began it. */
static transfer *under_way(const transfer *t)
{
    for (receive_op *r = t->op->op.core->receiver; r; r = r->older) {
        if (r->over) continue;
        KITH_EACH (at, &r->transfers) {
            transfer *other = KITH_OF(at, transfer, link);
            if (other != t && kith__transfer_can_continue(other) && same_offer(other, t)) return other;
        }
    }
    return NULL;
}

/* It holds no buffer of the receive that it came to, since it has not begun. */
static void hand_over(transfer *t, receive_op *to)
{
    t->op->count--;
    kith_list_remove(&t->link);
    t->op = to;
    t->config.folder = to->folder;
    kith_list_append(&to->transfers, &t->link);
    to->count++;
}

void kith__receive_offered(transfer *t)
{
    transfer *before = under_way(t);
    if (before) {
        if (before->op != t->op) hand_over(t, before->op);
        kith__transfer_continue(t, before);
        return;
    }
    const receive_op *r = t->op;
    bool yes = r->yes && !t->verdict_said; /* for contacts; not where ASK was said of this one */
    if (!r->ask && (yes || t->verdict == KITH_ALLOW)) {
        kith__transfer_begin(t);
        return;
    }
    kith_event event = {.kind = KITH_EVENT_OFFER};
    kith__transfer_describe(t, &event);
    kith__core_emit(r->op.core, &event);
}

static transfer *find_transfer(receive_op *r, kith_op id)
{
    KITH_EACH (at, &r->transfers) {
        transfer *t = KITH_OF(at, transfer, link);
        if (t->id == id) return t;
    }
    return NULL;
}

static bool receive_answer(op *o, kith_op question, bool yes)
{
    transfer *t = find_transfer((receive_op *)o, question);
    if (!t || t->stage != ASKING) return t != NULL;
    if (yes && t->op->folder)
        kith__transfer_begin(t);
    else
        kith__transfer_refuse(t, KITH_ERR_DECLINED, KITH_ERR_DECLINED,
                              yes ? "declined: there is no folder to take it into" : NULL);
    return true;
}

static kith_incoming_conflict conflict_of(kith_conflict conflict)
{
    switch (conflict) {
    case KITH_CONFLICT_SKIP: return KITH_INCOMING_SKIP;
    case KITH_CONFLICT_OVERWRITE: return KITH_INCOMING_OVERWRITE;
    default: return KITH_INCOMING_KEEP;
    }
}

void kith_core_receive_file(kith_core *core, kith_op id, const char *path, kith_conflict conflict)
{
    transfer *t = NULL;
    for (receive_op *r = core->receiver; r && !t; r = r->older) t = find_transfer(r, id);
    if (t && t->stage == ASKING) kith__transfer_begin_at(t, path, conflict_of(conflict));
    kith__core_pump(core);
}

static bool receive_cancel_part(op *o, kith_op part)
{
    transfer *t = find_transfer((receive_op *)o, part);
    if (t) kith__transfer_stop(t, KITH_ERR_DECLINED);
    return t != NULL;
}

/* ---- another of us ---- */

static void tell_twin(receive_op *r)
{
    kith_event event = {.kind = KITH_EVENT_TWIN, .op = r->op.id};
    kith_addr where;
    if (r->over || !kith_core_twin(r->op.core, &where)) return;
    kith_addr_text(&where, event.address);
    kith__core_emit(r->op.core, &event);
}

void kith__receive_twin(kith_core *core)
{
    for (receive_op *r = core->receiver; r; r = r->older) tell_twin(r);
}

static void tell_revoked(receive_op *r)
{
    kith_event event = {.kind = KITH_EVENT_REVOKED, .op = r->op.id};
    if (r->over || !kith__own_is_revoked(r->op.core)) return;
    kith_core_revoked(r->op.core, event.message, sizeof event.message);
    kith__core_emit(r->op.core, &event);
}

void kith__receive_revoked(kith_core *core)
{
    for (receive_op *r = core->receiver; r; r = r->older) tell_revoked(r);
}

/* ---- beginning ---- */

void kith_core_receive(kith_core *core, kith_op id, const kith_receive_options *options)
{
    static const op_kind kind = {.name = "receive",
                                 .needs_keys = true,
                                 .cancel = receive_cancel,
                                 .free = receive_free,
                                 .answer = receive_answer,
                                 .cancel_part = receive_cancel_part};
    size_t receivers = 0;
    for (const receive_op *at = core->receiver; at; at = at->older) receivers++;
    if (receivers >= RECEIVERS_MAX) {
        kith__core_refuse(core, id, KITH_ERR_LIMIT, "too many programs are receiving already");
        return;
    }
    receive_op *r = kith_calloc(1, sizeof *r);
    if (r) kith_list_init(&r->transfers);
    if (r && options->folder) r->folder = kith_strdup(options->folder);
    kith_err err = !r || (options->folder && !r->folder) ? KITH_ERR_NOMEM : KITH_OK;
    if (!err && !options->folder && !options->ask) err = KITH_ERR_ARG;
    if (!err && options->from && kith_uuid_parse(options->from, r->from)) err = KITH_ERR_ARG;
    if (err) {
        kith__core_refuse(core, id, err, NULL);
        if (r) receive_free(&r->op);
        return;
    }
    r->has_from = options->from != NULL;
    r->yes = options->yes;
    r->ask = options->ask;
    r->once = options->once;
    r->conflict = conflict_of(options->conflict);
    if (!kith__core_begin(core, &r->op, id, &kind)) {
        receive_free(&r->op);
        return;
    }
    r->older = core->receiver;
    core->receiver = r;
    kith__lan_announce(core);
    kith__core_emit(core, &(kith_event){.kind = KITH_EVENT_READY, .op = id});
    tell_twin(r);
    tell_revoked(r);
    kith__core_pump(core);
}
