/* The node, seen from outside: sessions with devices, on one env, and what runs over them (op/op.h, which also makes
 * one).  kith.h's functions run it on a thread of its own (api/calls.c); the simulator runs many in virtual time.  All
 * calls are on the env's loop thread; nothing here blocks except kith_core_new (reading the home). */
#ifndef KITH_NODE_NODE_H
#define KITH_NODE_NODE_H

#include "env/env.h"
#include "service/talk.h"
#include "store/home.h"

#include <kith/kith.h>

typedef struct kith_core kith_core;

/* What connections with messages need of the core's owner, and what it must keep: not lose what these say, and hold no
 * more of a connection than its window (service/talk.h).  Called on the loop; they must not call back into the core. */
typedef struct kith_core_talk {
    /* An INCOMING event.  False: there is no room for one more; it is refused, and nothing more is said of it. */
    bool (*incoming)(void *user, const kith_event *event);
    /* The message is the owner's, who says kith_core_taken when the application has it.  False: there is no memory, it
     * remains the core's; the connection ends. */
    bool (*message)(void *user, kith_op connection, kith_talk_message *message);
    /* Of what was sent the peer has so much more: sizes, and KITH_TALK_COST for each message. */
    void (*confirmed)(void *user, kith_op connection, size_t costs);
    /* One that came; it may be lost from here on.  The bytes are borrowed for the call. */
    void (*datagram)(void *user, kith_op connection, const void *data, size_t size);
    /* How it stands; finishing: no message is taken any more, by kith_core_send_message. */
    void (*status)(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing);
} kith_core_talk;

typedef struct kith_core_config {
    kith_env *env;
    kith_home *home;     /* borrowed for the core's life */
    const uint8_t *seed; /* the unlocked Ed25519 seed in guarded memory, borrowed; NULL: only look around */
    kith_addr listen;    /* FAMILY_NONE: any, a port picked */
    bool listen_is_wish; /* another port will do where its own is taken */
    bool no_lan;
    const char *const *relays; /* URLs (ws, wss), borrowed for the core's life like what follows */
    size_t relay_count;
    const char *relay_token;   /* the operator's; NULL: none */
    const char *relay_ca_file; /* PEM: authorities besides the system's; NULL: none */
    kith_level log_level;
    void (*log)(void *user, kith_level level, const char *line);
    void *log_user;
    void (*emit)(void *user, const kith_event *event); /* on the loop; must not call back into the core */
    void *emit_user;
    const kith_core_talk *talk; /* user: emit_user; NULL: no connections are made or served */
} kith_core_config;

/* End every operation (their END events come), say goodbye, wait for jobs; then `closed` is called, once, after which
 * kith_core_free is due. */
void kith_core_close(kith_core *core, void (*closed)(void *user), void *user);
/* After `closed`, or of one that never ran a loop; or with anything under way when the env is dead and no job of it can
 * be running (a simulated kill): no event comes.  NULL is fine. */
void kith_core_free(kith_core *core);

void kith_core_answer(kith_core *core, kith_op question, bool yes);
void kith_core_cancel(kith_core *core, kith_op op);
/* The relay of this number as it was configured, and whether it serves us now; false: there are not so many. */
bool kith_core_relay(const kith_core *core, size_t index, const char **url, bool *up);
/* Does another machine announce this device's identity on the local network, and where? */
bool kith_core_twin(kith_core *core, kith_addr *where);
/* That this device is revoked, by whom and why, for people: its own trust graph says so.  "": it is not. */
void kith_core_revoked(const kith_core *core, char *out, size_t size);
kith_addr kith_core_local(const kith_core *core); /* where it listens; FAMILY_NONE when it does not */

#endif
