/* A relay's limits and times: each has a name, a default and bounds, and may be set in the file that `kith relay
 * --limits` names (kith-relay(5)), one "name = value" a line.  Pure: text in, numbers out. */
#ifndef KITH_RELAY_SETTINGS_H
#define KITH_RELAY_SETTINGS_H

#include "wire/relay.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_RELAY_REASON_SIZE 160
#define KITH_RELAY_NAMES_MAX   8 /* of the relay itself */

/* Bytes take K, M or G (1,024) behind the number; times s, m or h, and are milliseconds without.
 *    name                      kind   default            least                   most                       what (for
 * who reads this) */
#define KITH_RELAY_SETTINGS(X)                                                                                         \
    X(connections, COUNT, 16384, 1, 1 << 20, "TCP connections at once")                                                \
    X(connections_per_address, COUNT, 256, 1, 1 << 20, "of them from one IPv4 address or IPv6 /64")                    \
    X(accepts_per_minute, COUNT, 600, 1, 1 << 20, "connections taken from one address")                                \
    X(registrations, COUNT, 16384, 1, 1 << 20, "registered clients at once")                                           \
    X(registrations_per_address, COUNT, 256, 1, 1 << 20, "of them from one address")                                   \
    X(registers_per_minute, COUNT, 240, 1, 1 << 20, "attempts to register from one address")                           \
    X(instances_per_device, COUNT, 16, 1, 1 << 10, "registered clients of one device")                                 \
    X(sessions_per_client, COUNT, 256, 1, 1 << 16, "sessions at once that a client opened")                            \
    X(incoming_per_client, COUNT, 256, 1, 1 << 16, "sessions at once that others opened with a client")                \
    X(connects_per_minute, COUNT, 600, 1, 1 << 20, "sessions that a client opens")                                     \
    X(bytes_per_second, BYTES, 512 << 20, 1 << 10, UINT64_C(1) << 40, "read from a client; it is paused above")        \
    X(burst_bytes, BYTES, 4 << 20, KITH_RELAY_MESSAGE_MAX, UINT64_C(1) << 32, "of them at once")                       \
    X(queue_bytes, BYTES, 1 << 20, 2 * KITH_RELAY_MESSAGE_MAX, UINT64_C(1) << 32,                                      \
      "of packets that wait for a client; the oldest are dropped above")                                               \
    X(control_bytes, BYTES, 256 << 10, 4 * KITH_RELAY_CONTROL_MAX, UINT64_C(1) << 30,                                  \
      "of other messages that wait for a client; it is closed above")                                                  \
    X(memory_bytes, BYTES, 256 << 20, 1 << 20, UINT64_C(1) << 40,                                                      \
      "of all that waits, or is incomplete; the oldest packets are dropped above")                                     \
    X(message_bytes, BYTES, KITH_RELAY_MESSAGE_MAX, KITH_RELAY_CONTROL_MAX, KITH_RELAY_MESSAGE_MAX, "of a message")    \
    X(authenticate_ms, TIME, 10000, 100, 600000, "to register in, from connecting on")                                 \
    X(idle_ms, TIME, 120000, 1000, 86400000, "a client that says nothing for so long is closed")                       \
    X(stall_ms, TIME, 30000, 1000, 86400000, "a client that takes nothing of what waits for so long is closed")        \
    X(session_idle_ms, TIME, 300000, 1000, 86400000, "a session that nothing goes over for so long ends")              \
    X(refuse_ms, TIME, 2000, 0, 60000, "when a dialler hears that its target is absent or unwilling")                  \
    X(udp_stale_ms, TIME, 60000, 1000, 86400000, "a UDP address is good for so long after a BIND")                     \
    X(mailboxes, COUNT, 65536, 1, 1 << 22, "mailboxes at once")                                                        \
    X(mailboxes_per_client, COUNT, 8, 1, 1 << 16, "of one client")                                                     \
    X(mailboxes_per_address, COUNT, 64, 1, 1 << 20, "of the clients of one address")                                   \
    X(mailbox_ms, TIME, 3600000, 1000, UINT32_MAX, "a mailbox is closed after so long")                                \
    X(guesses_per_minute, COUNT, 30, 1, 1 << 20, "mailboxes asked for from one address, there or not")                 \
    X(answers_per_second, COUNT, 50, 1, 1 << 20, "answers to STUN and BIND to one address")                            \
    X(sources, COUNT, 65536, 16, 1 << 22, "addresses that are remembered; the longest unused are forgotten above")     \
    X(restart_ms, TIME, 8000, 0, 600000, "when drained clients are told to come back: after drain_ms")                 \
    X(drain_ms, TIME, 5000, 0, 3600000, "between SIGTERM and the end")

typedef enum kith_relay_setting {
#define KITH_X(name, kind, value, least, most, what) KITH_RELAY_SETTING_##name,
    KITH_RELAY_SETTINGS(KITH_X)
#undef KITH_X
        KITH_RELAY_SETTING_COUNT
} kith_relay_setting;

typedef struct kith_relay_settings {
#define KITH_X(name, kind, value, least, most, what) uint64_t name;
    KITH_RELAY_SETTINGS(KITH_X)
#undef KITH_X
    /* What the relay is called ("name = relay.example:4433"), in the form that is signed; none: see the server. */
    char names[KITH_RELAY_NAMES_MAX][KITH_RELAY_AUTHORITY_MAX + 1];
    size_t name_count;
} kith_relay_settings;

typedef struct kith_relay_reason { /* why, with the line */
    char text[KITH_RELAY_REASON_SIZE];
} kith_relay_reason;

void kith_relay_settings_default(kith_relay_settings *out);
/* The file's text over the defaults.  FORMAT, with the reason. */
KITH_MUST_CHECK kith_err kith_relay_settings_read(const char *text, size_t size, kith_relay_settings *out,
                                                  kith_relay_reason *reason);
/* By number, for metrics and tests. */
const char *kith_relay_setting_name(kith_relay_setting setting);
uint64_t kith_relay_setting_get(const kith_relay_settings *settings, kith_relay_setting setting);

#endif
