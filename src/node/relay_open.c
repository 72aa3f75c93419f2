/* Which relays there are, when they are connected to, and the end of it. */
#include "node/relay_internal.h"

#include "base/mem.h"
#include "base/url.h"

#include <stdio.h>
#include <string.h>

static kith_err link_connect(relay_link *l)
{
    kith_core *core = l->all->core;
    kith_relay_client_config config = {0};
    kith_url url;
    char authority[KITH_RELAY_AUTHORITY_MAX + 1], host[KITH_URL_HOST_SIZE + 16];
    kith_err err = kith_url_parse(l->url, &url);
    if (err) return err;
    snprintf(host, sizeof host, url.is_ipv6 ? "[%s]:%u" : "%s:%u", url.host, (unsigned)url.port);
    err = kith_relay_authority(host, strlen(host), authority);
    if (err) return err;
    config.authority = authority;
    memcpy(config.device_id, core->signer.uuid, sizeof config.device_id);
    memcpy(config.public_key, core->signer.public_key, sizeof config.public_key);
    memcpy(config.instance, core->self.instance, sizeof config.instance);
    config.token = (const uint8_t *)core->config.relay_token;
    config.token_size = core->config.relay_token ? strlen(core->config.relay_token) : 0;
    kith_rng_bytes(&core->rng, (uint8_t *)&config.seed, sizeof config.seed);
    return kith_relay_client_new(&config, &l->client);
}

void kith__relays_want(kith_core *core)
{
    struct relays *all = core->relays;
    for (size_t i = 0; all && !core->closing && i < all->count; i++) {
        relay_link *l = &all->links[i];
        if (l->client) {
            kith_relay_client_want(l->client, kith__relay_link_now(l));
            kith__relay_link_set_timer(l);
            continue;
        }
        kith_err err = link_connect(l);
        if (err) kith__core_log(core, KITH_LOG_WARN, "relay %s: %s", l->url, kith_err_text(err));
        kith__relay_link_flush(l);
    }
}

void kith__relays_serve(kith_core *core)
{
    struct relays *all = core->relays;
    if (!all) return;
    if (core->host || core->receiver || core->serving) kith__relays_want(core);
    for (size_t i = 0; i < all->count; i++) {
        kith__relay_link_mailbox(&all->links[i]);
        kith__relay_link_flush(&all->links[i]);
    }
}

void kith__relays_changed(kith_core *core)
{
    struct relays *all = core->relays;
    for (size_t i = 0; all && i < all->count; i++) {
        if (!all->links[i].client) continue;
        kith_relay_client_kick(all->links[i].client, kith__core_now(core));
        kith__relay_link_flush(&all->links[i]);
    }
}

static kith_err link_open(struct relays *all, const char *text, kith_problem *problem)
{
    relay_link *l = &all->links[all->count];
    kith_url url;
    if (all->count == KITH_RELAYS_MAX) {
        snprintf(problem->message, sizeof problem->message, "at most %d relays can be used", KITH_RELAYS_MAX);
        return KITH_ERR_LIMIT;
    }
    if (kith_url_parse(text, &url)) {
        snprintf(problem->message, sizeof problem->message,
                 "not the address of a relay: %.200s (they look like wss://relay.example)", text);
        return KITH_ERR_ARG;
    }
    l->all = all;
    l->url = kith_strdup(text);
    l->timer = all->core->env->timers->open(all->core->env, kith__relay_link_timer, l);
    kith_err err = l->url && l->timer ? kith_relays_add(&all->choice, &l->index) : KITH_ERR_NOMEM;
    all->count++;
    return err;
}

kith_err kith__relays_open(kith_core *core, kith_problem *problem)
{
    if (!core->config.relay_count) return KITH_OK;
    if (!core->env->ws) return KITH_ERR_UNSUPPORTED;
    struct relays *all = kith_calloc(1, sizeof *all);
    if (!all) return KITH_ERR_NOMEM;
    all->core = core;
    kith_relays_init(&all->choice);
    core->relays = all;
    kith_err err = KITH_OK;
    for (size_t i = 0; i < core->config.relay_count && !err; i++) err = link_open(all, core->config.relays[i], problem);
    return err;
}

void kith__relays_close(kith_core *core)
{
    struct relays *all = core->relays;
    for (size_t i = 0; all && i < all->count; i++) {
        relay_link *l = &all->links[i];
        core->env->ws->close(l->ws);
        l->ws = NULL;
        kith_relay_client_free(l->client);
        l->client = NULL;
        if (l->timer) core->env->timers->set(l->timer, NEVER);
    }
}

void kith__relays_free(kith_core *core)
{
    struct relays *all = core->relays;
    if (!all) return;
    kith__relays_close(core);
    core->relays = NULL;
    for (size_t i = 0; i < all->count; i++) {
        core->env->timers->close(all->links[i].timer);
        kith_free(all->links[i].url);
    }
    kith_free(all);
}
