/* Names, and looking them up. */
#include "base/mem.h"
#include "sim/sim_internal.h"
#include "sim/sim_ws_server.h"

typedef struct name {
    kith_link link;
    kith_addr addr;
    char text[];
} name;

struct kith_lookup {
    sim_process *process;
    kith_timer *timer;
    kith_resolved_fn *done;
    void *user;
    uint16_t port;
    char host[];
};

static kith_err add(kith_sim *sim, const char *text, const kith_addr *at)
{
    size_t size = strlen(text) + 1;
    name *n = kith_malloc(sizeof *n + size);
    if (!n) return KITH_ERR_NOMEM;
    *n = (name){.addr = *at};
    memcpy(n->text, text, size);
    kith_list_append(&sim->names, &n->link);
    return KITH_OK;
}

static void forget(name *n)
{
    kith_list_remove(&n->link);
    kith_free(n);
}

static void forget_all(kith_sim *sim, const char *text)
{
    KITH_EACH (link, &sim->names) {
        name *n = KITH_OF(link, name, link);
        if (!text || strcmp(n->text, text) == 0) forget(n);
    }
}

kith_err kith_sim_name(kith_sim *sim, const char *text, const char *addr)
{
    kith_addr at;
    kith_err err = addr ? kith_addr_parse(addr, &at) : KITH_OK;
    if (err) return err;
    forget_all(sim, text);
    return addr ? add(sim, text, &at) : KITH_OK;
}

kith_err kith_sim_name_too(kith_sim *sim, const char *text, const char *addr)
{
    kith_addr at;
    kith_err err = kith_addr_parse(addr, &at);
    return err ? err : add(sim, text, &at);
}

void kith__sim_names_done(kith_sim *sim) { forget_all(sim, NULL); }

size_t kith__sim_name_find(kith_sim *sim, const char *host, uint16_t port, kith_addr *out, size_t cap)
{
    size_t count = 0;
    KITH_EACH (link, &sim->names) {
        const name *n = KITH_OF(link, name, link);
        if (count < cap && strcmp(n->text, host) == 0) out[count++] = n->addr;
    }
    if (!count && cap && kith_addr_parse(host, out) == KITH_OK) count = 1;
    for (size_t i = 0; i < count; i++) out[i].port = port;
    return count;
}

static void on_timer(void *user)
{
    kith_lookup *lookup = user;
    kith_addr addrs[KITH_RESOLVED_MAX];
    kith_resolved_fn *done = lookup->done;
    void *whose = lookup->user;
    size_t count =
        kith__sim_name_find(lookup->process->sim, lookup->host, lookup->port, addrs, sizeof addrs / sizeof *addrs);
    kith__sim_cancel(lookup);
    done(whose, addrs, count);
}

kith_err kith__sim_resolve(kith_env *env, const char *host, uint16_t port, kith_resolved_fn *done, void *user,
                           kith_lookup **out)
{
    sim_process *process = sim_process_of(env);
    size_t size = strlen(host) + 1;
    kith_lookup *lookup = kith_calloc(1, sizeof *lookup + size);
    if (!lookup) return KITH_ERR_NOMEM;
    *lookup = (kith_lookup){.process = process, .done = done, .user = user, .port = port};
    memcpy(lookup->host, host, size);
    lookup->timer = env->timers->open(env, on_timer, lookup);
    if (!lookup->timer) {
        kith_free(lookup);
        return KITH_ERR_NOMEM;
    }
    env->timers->set(lookup->timer, process->sim->now_ns + kith__sim_rng_below(&process->sim->rng, KITH_SIM_NAME_NS));
    *out = lookup;
    return KITH_OK;
}

void kith__sim_cancel(kith_lookup *lookup)
{
    if (!lookup) return;
    lookup->process->env.timers->close(lookup->timer);
    kith_free(lookup);
}
