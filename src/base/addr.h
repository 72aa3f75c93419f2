/* A place packets go to: an IP address and port, or a session at a relay.  IPv4-mapped IPv6 addresses are always stored
 * as IPv4, so that equal means same place. */
#ifndef KITH_BASE_ADDR_H
#define KITH_BASE_ADDR_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kith_family {
    KITH_FAMILY_NONE = 0,
    KITH_FAMILY_RELAY = 1, /* ip: which relay (4 bytes), which session there (4); known to the node alone */
    KITH_FAMILY_IPV4 = 4,
    KITH_FAMILY_IPV6 = 6
} kith_family;

typedef struct kith_addr {
    uint8_t family; /* kith_family; NONE = unspecified: let the system choose */
    uint16_t port;  /* host order */
    uint32_t scope; /* interface index, for IPv6 link-local addresses only; else 0 */
    uint8_t ip[16]; /* network order; IPv4 uses the first four, the rest is zero */
} kith_addr;

#define KITH_ADDR_TEXT_SIZE 72 /* "[ipv6%scope]:port" with its NUL */

bool kith_addr_equal(const kith_addr *a, const kith_addr *b);
bool kith_addr_same_ip(const kith_addr *a, const kith_addr *b);
bool kith_addr_is_loopback(const kith_addr *a);
bool kith_addr_is_link_local(const kith_addr *a);
/* Whether it belongs to a network of its own (RFC 1918, 6598, 3927, 4193, loopback, link-local): what people call the
 * LAN. */
bool kith_addr_is_local(const kith_addr *a);
bool kith_addr_is_any(const kith_addr *a);
/* "192.0.2.1:443", "[fe80::1%2]:443", "relay"; "none" when unspecified.  Returns `out`. */
const char *kith_addr_text(const kith_addr *a, char out[static KITH_ADDR_TEXT_SIZE]);
/* The reverse, also without a port (0); a scope may be a number or an interface's name.  ARG when it is neither. */
KITH_MUST_CHECK kith_err kith_addr_parse(const char *text, kith_addr *out);

struct sockaddr;
struct sockaddr_storage;
/* FAMILY_NONE when it is neither AF_INET nor AF_INET6. */
kith_addr kith_addr_from_sockaddr(const struct sockaddr *sa);
/* The size of the sockaddr written; with `v6` an IPv4 address becomes v4-mapped (for a dual-stack socket). */
unsigned kith_addr_to_sockaddr(const kith_addr *a, bool v6, struct sockaddr_storage *out);

#endif
