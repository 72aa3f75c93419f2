/* The hub: all that a relay does, without I/O (docs/protocol-relay.md).  Its owner, the server or a simulator, tells it
 * of connections, of pieces of their WebSocket messages, of datagrams and of time; the hub has messages for
 * connections, datagrams to send, connections to close and a next deadline.  No globals; look-ups are hashed; memory is
 * bounded by the settings.
 *
 * One thread.  After any call that may have changed something, the owner takes what there is:
 *     while (kith_hub_datagram(hub, &packet)) send it;
 *     while ((client = kith_hub_ready(hub))) look at it:
 *         kith_hub_reading(client)                           read its connection or let it wait
 *         kith_hub_output(client, ...), kith_hub_sent(...)   as its connection takes them
 *         kith_hub_closing(client)                           when there is no output: close with this code
 * The owner calls kith_hub_closed once the connection is gone, for whatever reason, and only then the client is. */
#ifndef KITH_RELAY_HUB_H
#define KITH_RELAY_HUB_H

#include "base/packet.h"
#include "relay/settings.h"
#include "relay/tokens.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stdint.h>

#define KITH_HUB_SEED_SIZE 32

/* WebSocket close codes (RFC 6455 section 7.4.1, and 1013 of IANA's registry). */
#define KITH_HUB_CLOSE_AWAY      1001
#define KITH_HUB_CLOSE_PROTOCOL  1002
#define KITH_HUB_CLOSE_TYPE      1003
#define KITH_HUB_CLOSE_POLICY    1008
#define KITH_HUB_CLOSE_TOO_BIG   1009
#define KITH_HUB_CLOSE_INTERNAL  1011
#define KITH_HUB_CLOSE_TRY_LATER 1013

/* What is counted: a name as metrics have it (kith_relay_..._total), and what it is. */
#define KITH_HUB_COUNTERS(X)                                                                                           \
    X(connections_accepted, "TCP connections taken")                                                                   \
    X(connections_limited, "refused: too many connections in all")                                                     \
    X(connections_address_limited, "refused: too many connections from the address")                                   \
    X(accepts_limited, "refused: connections from the address too fast")                                               \
    X(registered, "registrations")                                                                                     \
    X(superseded, "registrations that took another one's place")                                                       \
    X(registrations_limited, "refused: too many registrations in all")                                                 \
    X(registrations_address_limited, "refused: too many registrations from the address")                               \
    X(registrations_device_limited, "refused: too many instances of the device")                                       \
    X(registers_limited, "refused: too many attempts to register from the address")                                    \
    X(signatures_wrong, "refused: wrong signature")                                                                    \
    X(authorities_wrong, "refused: another relay's name")                                                              \
    X(tokens_wrong, "refused: no token, a wrong or an expired one")                                                    \
    X(authenticate_timeouts, "closed: not registered in time")                                                         \
    X(idle_timeouts, "closed: silent for too long")                                                                    \
    X(stall_timeouts, "closed: took nothing for too long")                                                             \
    X(protocol_errors, "closed: broke the protocol")                                                                   \
    X(messages_too_large, "closed: a message above the limit")                                                         \
    X(control_overflows, "closed: too many messages waited")                                                           \
    X(memory_overflows, "closed: no memory for a message")                                                             \
    X(connects, "sessions asked for")                                                                                  \
    X(connects_unreachable, "of them told unreachable")                                                                \
    X(sessions_limited, "refused: too many sessions of the client")                                                    \
    X(connects_limited, "refused: sessions opened too fast")                                                           \
    X(incoming_limited, "told unreachable: too many sessions with the target")                                         \
    X(session_idle_timeouts, "sessions ended: nothing went over them")                                                 \
    X(mailboxes_opened, "mailboxes opened")                                                                            \
    X(mailboxes_limited, "refused: too many mailboxes")                                                                \
    X(mailboxes_taken, "refused: another client has the mailbox")                                                      \
    X(guesses, "mailboxes asked for")                                                                                  \
    X(guesses_limited, "refused: too many mailboxes asked for from the address")                                       \
    X(quotas_exceeded, "closed: a token's quota was used up")                                                          \
    X(pauses, "times a client was not read because of its rate")                                                       \
    X(websocket_received_bytes, "bytes of messages that came")                                                         \
    X(websocket_received_messages, "messages that came")                                                               \
    X(websocket_sent_bytes, "bytes of messages handed to connections")                                                 \
    X(websocket_sent_messages, "messages handed to connections")                                                       \
    X(udp_received_bytes, "bytes of datagrams that came")                                                              \
    X(udp_received_packets, "datagrams that came")                                                                     \
    X(udp_sent_bytes, "bytes of datagrams sent")                                                                       \
    X(udp_sent_packets, "datagrams sent")                                                                              \
    X(dropped_queue_bytes, "bytes of packets dropped: their receiver is too slow")                                     \
    X(dropped_memory_bytes, "bytes of packets dropped: too much waits in all")                                         \
    X(dropped_rate_bytes, "bytes of datagrams dropped: their sender is too fast")                                      \
    X(dropped_session_bytes, "bytes of packets dropped: no session, or nobody behind it")                              \
    X(dropped_datagrams, "datagrams dropped: nothing known")                                                           \
    X(stun_answered, "STUN requests answered")                                                                         \
    X(stun_elsewhere, "of them from the other port, or to one that was named")                                         \
    X(binds, "UDP addresses bound")                                                                                    \
    X(binds_wrong, "BIND datagrams dropped: no such key, or repeated")                                                 \
    X(answers_limited, "STUN and BIND not answered: too many from the address")

typedef struct kith_hub_stats {
#define KITH_X(name, what) uint64_t name;
    KITH_HUB_COUNTERS(KITH_X)
#undef KITH_X
    /* gauges */
    uint64_t connections, registrations, sessions, mailboxes, sources, paused;
    uint64_t memory_bytes; /* of messages that wait or are incomplete */
} kith_hub_stats;

typedef struct kith_hub kith_hub;
typedef struct kith_hub_client kith_hub_client;

typedef struct kith_hub_config {
    const kith_relay_settings *settings; /* copied, as all here */
    const uint8_t *seed;                 /* KITH_HUB_SEED_SIZE random bytes */
    const char *software;                /* as REGISTERED says it; at most KITH_RELAY_TEXT_MAX bytes */
    size_t headroom;                     /* bytes that may be written before an output's data */
} kith_hub_config;

/* NOMEM. */
KITH_MUST_CHECK kith_err kith_hub_new(const kith_hub_config *config, kith_hub **out);
void kith_hub_free(kith_hub *hub); /* with its clients; NULL is fine */
/* Later settings and tokens (NULL: none are needed; the hub's from here on).  Clients whose token is not there any more
 * are closed; limits are for what comes from now on. */
void kith_hub_configure(kith_hub *hub, const kith_relay_settings *settings);
void kith_hub_set_tokens(kith_hub *hub, kith_tokens *tokens, uint64_t now_ns);
/* What time it is, for tokens and REGISTERED; call again when the clock was set.  Unset, tokens do not expire. */
void kith_hub_set_clock(kith_hub *hub, int64_t unix_ms, uint64_t now_ns);

/* ---- connections ---- */
/* A TCP connection from there, before anything was read.  LIMIT: close it; NOMEM. */
KITH_MUST_CHECK kith_err kith_hub_accept(kith_hub *hub, const kith_addr *from, void *user, uint64_t now_ns,
                                         kith_hub_client **out);
/* It is a WebSocket now.  `authority`: what the client calls this relay, in the signed form; NULL: not a name of it. */
void kith_hub_start(kith_hub_client *client, const char *authority, uint64_t now_ns);
/* A piece of a binary message; `more`: bytes that its frame still has; `end`: the message's last piece. */
void kith_hub_input(kith_hub_client *client, const void *data, size_t size, size_t more, bool end, uint64_t now_ns);
/* Close it, as for a message that is not binary. */
void kith_hub_refuse(kith_hub_client *client, uint16_t code, uint64_t now_ns);
void kith_hub_closed(kith_hub_client *client, uint64_t now_ns);
void *kith_hub_user(const kith_hub_client *client);

/* A client in which something changed since it was given last; NULL: none. */
kith_hub_client *kith_hub_ready(kith_hub *hub);
/* The next message for it: a view, until kith_hub_sent.  False: none. */
bool kith_hub_output(const kith_hub_client *client, uint8_t **data, size_t *size);
void kith_hub_sent(kith_hub_client *client, uint64_t now_ns);
bool kith_hub_reading(const kith_hub_client *client);
uint16_t kith_hub_closing(const kith_hub_client *client); /* 0: it stays */

/* ---- datagrams ---- */
/* A run; its bytes may be changed.  What kith_hub_datagram gives may point into them. */
void kith_hub_datagrams(kith_hub *hub, const kith_packet *run, uint64_t now_ns);
/* To be taken after each call with a `now`, until false; valid until the next such call. */
bool kith_hub_datagram(kith_hub *hub, kith_packet *out);
/* Whether the one it gave last is to leave from the other port; only after: */
bool kith_hub_elsewhere(const kith_hub *hub);
/* There is a second socket at the same address, from which STUN is answered to who asks for that (RFC 5780). */
void kith_hub_set_other_port(kith_hub *hub, bool there);

/* ---- time ---- */
uint64_t kith_hub_deadline_ns(const kith_hub *hub); /* UINT64_MAX: none */
void kith_hub_expire(kith_hub *hub, uint64_t now_ns);
/* Say RESTARTING to all, take no more connections and sessions. */
void kith_hub_drain(kith_hub *hub, uint64_t now_ns);
bool kith_hub_draining(const kith_hub *hub);
/* Close all, as the last step of draining. */
void kith_hub_shut(kith_hub *hub, uint64_t now_ns);

/* ---- what it says of itself ---- */
const kith_hub_stats *kith_hub_stats_of(const kith_hub *hub);
/* The text format of Prometheus 0.0.4.  Its size, which may be above `cap`: then nothing of it is to be used. */
size_t kith_hub_metrics(const kith_hub *hub, char *out, size_t cap);

#endif
