/* kith.h's node as a daemon, and what a daemon alone is asked. */
#include "api/internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INTERFACES_MAX 32

/* ---- being one ---- */

static void describe(void *user, kith_daemon_hello *out)
{
    kith_node *node = user;
    const char *url;
    bool up;
    out->pid = (uint64_t)getpid();
    out->since_ms = node->since_ms;
    snprintf(out->folder, sizeof out->folder, "%s", kith__desk_folder(node->desk));
    (void)kith_addresses(node, out->addresses, KITH_DAEMON_ADDRESSES);
    for (size_t i = 0; i < KITH_OPTIONS_RELAYS_MAX && kith_core_relay(node->core, i, &url, &up); i++) {
        snprintf(out->relays[i], sizeof out->relays[i], "%s", url);
        if (up) out->relays_up |= UINT32_C(1) << i;
    }
    kith_addr twin;
    if (kith_core_twin(node->core, &twin)) kith_addr_text(&twin, out->twin);
    kith_core_revoked(node->core, out->revoked, sizeof out->revoked);
}

static kith_err host_open(void *user, char socket[static KITH_PATH_NAME_MAX], kith_problem *problem)
{
    kith_node *node = user;
    if (node->door) return KITH_ERR_STATE;
    if (!node->seed) return KITH_ERR_PASSWORD;
    door_config config = {
        .env = node->env, .desk = node->desk, .home = kith_home_folder(node->home), .describe = describe, .user = node};
    kith_err err = kith__door_open(&config, &node->door, problem);
    if (!err) kith__door_socket(node->door, socket);
    return err;
}

static void host_close(void *user, bool keep)
{
    kith_node *node = user;
    if (!node->door) return;
    if (keep) {
        kith__door_shut(node->door);
        return;
    }
    kith__door_free(node->door);
    node->door = NULL;
}

const desk_host kith__api_host = {.open = host_open, .close = host_close};

kith_err kith_daemon(kith_node *node, kith_op *op)
{
    return kith__command_issue(node, kith__command_new(node, KITH_DAEMON_UP), true, op);
}

/* ---- asking one ---- */

kith_err kith_down(kith_node *node, kith_op *op)
{
    return kith__command_issue(node, kith__command_new(node, KITH_DAEMON_DOWN), true, op);
}

kith_err kith_inbox(kith_node *node, kith_op *op)
{
    return kith__command_issue(node, kith__command_new(node, KITH_DAEMON_INBOX), true, op);
}

kith_err kith_inbox_answer(kith_node *node, uint64_t number, bool yes, kith_op *op)
{
    if (!number) return KITH_ERR_ARG;
    command *c = kith__command_new(node, KITH_DAEMON_INBOX_ANSWER);
    if (c) c->request.number = number;
    if (c) c->request.yes = yes;
    return kith__command_issue(node, c, true, op);
}

bool kith_daemon_of(const kith_node *node, kith_daemon_info *out)
{
    const kith_daemon_hello *d = node ? node->daemon : NULL;
    if (out) *out = (kith_daemon_info){0};
    if (!out) return d != NULL;
    if (!d) return false;
    out->pid = (long)d->pid;
    out->since_ms = d->since_ms;
    snprintf(out->version, sizeof out->version, "%s", d->version);
    memcpy(out->folder, d->folder, sizeof out->folder);
    for (size_t i = 0; i < KITH_OPTIONS_RELAYS_MAX && *d->relays[i]; i++) {
        memcpy(out->relays[i].url, d->relays[i], sizeof out->relays[i].url);
        out->relays[i].connected = d->relays_up >> i & 1;
    }
    memcpy(out->twin, d->twin, sizeof out->twin);
    memcpy(out->revoked, d->revoked, sizeof out->revoked);
    return true;
}

static size_t addresses_of(const kith_daemon_hello *d, char (*out)[KITH_ADDRESS_TEXT], size_t cap)
{
    size_t count = 0;
    for (; count < KITH_DAEMON_ADDRESSES && *d->addresses[count]; count++)
        if (count < cap) memcpy(out[count], d->addresses[count], KITH_ADDRESS_TEXT);
    return count;
}

size_t kith_addresses(kith_node *node, char (*out)[KITH_ADDRESS_TEXT], size_t cap)
{
    kith_interface_addr found[INTERFACES_MAX];
    if (!node || (!out && cap)) return 0;
    if (node->daemon) return addresses_of(node->daemon, out, cap);
    if (node->local.family == KITH_FAMILY_NONE) return 0;
    if (!kith_addr_is_any(&node->local)) {
        if (cap) kith_addr_text(&node->local, out[0]);
        return 1;
    }
    size_t count = node->env->net->addresses(node->env, found, INTERFACES_MAX);
    if (count > INTERFACES_MAX) count = INTERFACES_MAX;
    for (size_t i = 0; i < count && i < cap; i++) {
        found[i].addr.port = node->local.port;
        kith_addr_text(&found[i].addr, out[i]);
    }
    return count;
}
