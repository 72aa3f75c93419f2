/* A node that receives, one of an own device that sends to it, and a peer that is no node (hostile_world.h). */
#ifndef KITH_TEST_RECEIVE_WORLD_H
#define KITH_TEST_RECEIVE_WORLD_H

#include "base/mem.h"
#include "hostile_world.h"
#include "node/session.h"
#include "service/file_message.h"

#define NODE        "192.168.1.10"
#define MIB         ((size_t)KITH_GROUP_SIZE)
#define FILE_4M     (4 * MIB)
#define CONTENT_MAX (9 * MIB)
#define UNUSED      __attribute__((unused))

/* `sender` is a node of an own device, `bad` is whatever a test makes him. */
typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim node, sender;
    hostile bad;
    char node_id[KITH_UUID_TEXT_SIZE];
    int64_t live;
} world;

static inline void world_make(world *w)
{
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(12, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    victim_make(&w->node, w->sim, w->lan, "node", NODE);
    victim_make(&w->sender, w->sim, w->lan, "sender", "192.168.1.11");
    know(&w->node, &w->sender);
    know(&w->sender, &w->node);
    kith_uuid_text(w->node.self.device.id, w->node_id);
    hostile_make(&w->bad, w->sim, w->lan, "bad", "192.168.1.100");
}

static inline void world_free(world *w)
{
    victim_close(&w->node);
    victim_close(&w->sender);
    hostile_free(&w->bad);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static inline void run(world *w, uint64_t ns) { kith_sim_run_for(w->sim, ns); }

static UNUSED uint8_t content[CONTENT_MAX];

static inline void put(kith_sim_host *host, const char *path, uint8_t kind, size_t size)
{
    for (size_t i = 0; i < size; i++) content[i] = (uint8_t)((i * 2654435761u >> 13) + kind);
    assert_ok(kith_sim_put_file(host, path, content, size, 0644));
}

static inline void check_file(const world *w, const char *path, uint8_t kind, size_t size)
{
    uint8_t *found;
    size_t found_size;
    kith_err err = kith_sim_get_file(w->node.host, path, &found, &found_size);
    if (err) fail_msg("%s: %s", path, kith_err_name(err));
    for (size_t i = 0; i < size; i++) content[i] = (uint8_t)((i * 2654435761u >> 13) + kind);
    assert_int_equal(found_size, size);
    assert_memory_equal(found, content, size);
    kith_free(found);
}

static inline void count_name(void *user, const char *name)
{
    (void)name;
    ++*(size_t *)user;
}

static inline size_t files_in(const world *w, const char *folder)
{
    size_t count = 0;
    assert_ok(w->node.env->file->list(w->node.env, folder, count_name, &count));
    return count;
}

static inline kith_op receive(world *w, const kith_receive_options *options)
{
    kith_receive_options o = *options;
    o.size = sizeof o;
    kith_core_receive(w->node.core, ++w->node.last_op, &o);
    return w->node.last_op;
}

static UNUSED const kith_receive_options asking = {.ask = true};

/* Send /film, and what is asked then: the transfer. */
static inline kith_op offered(world *w)
{
    size_t before = count_events(&w->node, KITH_EVENT_OFFER);
    kith_send_options options = {.size = sizeof options};
    kith_core_send_file(w->sender.core, ++w->sender.last_op, w->node_id, "/film", &options);
    run(w, 2 * KITH_SIM_S);
    assert_int_equal(count_events(&w->node, KITH_EVENT_OFFER), before + 1);
    return last_event(&w->node, KITH_EVENT_OFFER)->transfer;
}

static inline kith_err sending_ended(const world *w)
{
    const kith_event *end = last_event(&w->sender, KITH_EVENT_END);
    assert_non_null(end);
    assert_int_equal(end->op, w->sender.last_op);
    return end->err;
}

#endif
