/* kith_history and kith_revoked: the trust graph as people read it. */
#include "api/visit.h"
#include "base/mem.h"
#include "identity/graph_derive.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)KITH_HISTORY_ACCEPT == (int)KITH_RECORD_ACCEPT, "kinds are numbered alike");
_Static_assert(KITH_REVOKED_TEXT == KITH_REVOCATION_TEXT_SIZE, "one size");
_Static_assert((int)KITH_HISTORY_VOID_KEY == (int)KITH_RECORD_VOID_KEY, "states are numbered alike");

typedef struct history {
    const kith_graph *graph;
    const kith_verdict *verdict;
} history;

/* A device's name and id; "" when it was never named. */
static void say_device(const history *h, const uint8_t *fingerprint, char name[static KITH_NAME_TEXT],
                       char id[static KITH_ID_TEXT])
{
    const kith_member *m = kith_verdict_find(h->verdict, fingerprint);
    if (!m) return;
    snprintf(name, KITH_NAME_TEXT, "%s", m->entry.name);
    kith_uuid_text(m->entry.uuid, id);
}

static void say_record(const history *h, size_t index, kith_history_record *out)
{
    kith_record r;
    size_t by = h->verdict->records[index].by;
    kith_graph_record(h->graph, index, &r);
    *out = (kith_history_record){.kind = (kith_history_kind)r.kind,
                                 .state = (kith_history_state)h->verdict->records[index].state,
                                 .time_ms = r.time_ms,
                                 .count = (uint32_t)r.roster_count};
    kith_hex(kith_graph_id(h->graph, index), KITH_GRAPH_ID_SIZE, out->id);
    if (by != KITH_GRAPH_NONE) kith_hex(kith_graph_id(h->graph, by), KITH_GRAPH_ID_SIZE, out->void_by);
    say_device(h, r.signer, out->signer, out->signer_id);
    if (r.kind == KITH_RECORD_ADMIT) say_device(h, r.entry.fingerprint, out->device, out->device_id);
    if (r.kind == KITH_RECORD_REVOKE) say_device(h, r.target, out->device, out->device_id);
    if (r.kind == KITH_RECORD_DESCRIBE) snprintf(out->name, sizeof out->name, "%s", r.entry.name);
    snprintf(out->why, sizeof out->why, "%s", r.why);
}

static kith_err list(const kith_graph *graph, kith_history_record **out)
{
    kith_verdict verdict = {0};
    const size_t count = kith_graph_count(graph);
    size_t *order = kith_calloc(count + 1, sizeof *order);
    kith_history_record *records = kith_calloc(count + 1, sizeof *records);
    kith_err err = order && records ? KITH_OK : KITH_ERR_NOMEM;
    if (!err && count) err = kith_graph_judge(graph, &verdict);
    if (!err) {
        const history h = {graph, &verdict};
        kith_graph_order(graph, order);
        for (size_t i = 0; i < count; i++) say_record(&h, order[i], &records[i]);
        *out = records;
    } else {
        kith_free(records);
    }
    kith_free(order);
    kith_verdict_done(&verdict);
    return err;
}

kith_err kith_history(const char *home, kith_history_record **records, size_t *count, kith_problem *problem)
{
    kith_visit v;
    kith_home_self self;
    kith_graph *graph = NULL;
    if (!home || !records || !count || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_load(v.home, &self, problem);
    if (!err) err = kith_home_verify_graph(v.home, &graph, problem);
    if (!err) err = list(graph, records);
    if (!err) *count = kith_graph_count(graph);
    kith_graph_free(graph);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

void kith_free_history(kith_history_record *records) { kith_free(records); }

kith_err kith_revoked(const char *home, char message[KITH_REVOKED_TEXT], kith_problem *problem)
{
    kith_visit v;
    kith_home_self self;
    kith_graph *graph = NULL;
    kith_verdict verdict = {0};
    kith_revocation r;
    if (!home || !message || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_load(v.home, &self, problem);
    if (!err) err = kith_home_load_graph(v.home, &graph, problem);
    bool any = !err && kith_graph_count(graph);
    if (any) err = kith_graph_judge(graph, &verdict);
    if (!err) *message = 0;
    if (!err && any && kith_graph_revocation(graph, &verdict, self.fingerprint, &r)) kith_revocation_text(&r, message);
    kith_verdict_done(&verdict);
    kith_graph_free(graph);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}
