#include "base/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool kith_addr_same_ip(const kith_addr *a, const kith_addr *b)
{
    return a->family == b->family && a->scope == b->scope && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool kith_addr_equal(const kith_addr *a, const kith_addr *b) { return a->port == b->port && kith_addr_same_ip(a, b); }

bool kith_addr_is_loopback(const kith_addr *a)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    if (a->family == KITH_FAMILY_IPV4) return a->ip[0] == 127;
    return a->family == KITH_FAMILY_IPV6 && memcmp(a->ip, loopback6, 16) == 0;
}

bool kith_addr_is_link_local(const kith_addr *a)
{
    if (a->family == KITH_FAMILY_IPV4) return a->ip[0] == 169 && a->ip[1] == 254;
    return a->family == KITH_FAMILY_IPV6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

bool kith_addr_is_local(const kith_addr *a)
{
    const uint8_t *ip = a->ip;
    if (kith_addr_is_loopback(a) || kith_addr_is_link_local(a)) return true;
    if (a->family == KITH_FAMILY_IPV6) return (ip[0] & 0xfe) == 0xfc;
    return a->family == KITH_FAMILY_IPV4 && (ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
                                             (ip[0] == 192 && ip[1] == 168) || (ip[0] == 100 && (ip[1] & 0xc0) == 64));
}

bool kith_addr_is_any(const kith_addr *a)
{
    static const uint8_t any[16];
    return a->family != KITH_FAMILY_NONE && memcmp(a->ip, any, 16) == 0;
}

const char *kith_addr_text(const kith_addr *a, char out[static KITH_ADDR_TEXT_SIZE])
{
    char ip[INET6_ADDRSTRLEN], scope[16] = "";
    if (a->family == KITH_FAMILY_IPV4 && inet_ntop(AF_INET, a->ip, ip, sizeof ip)) {
        snprintf(out, KITH_ADDR_TEXT_SIZE, "%s:%u", ip, a->port);
    } else if (a->family == KITH_FAMILY_IPV6 && inet_ntop(AF_INET6, a->ip, ip, sizeof ip)) {
        if (a->scope) snprintf(scope, sizeof scope, "%%%u", a->scope);
        snprintf(out, KITH_ADDR_TEXT_SIZE, "[%s%s]:%u", ip, scope, a->port);
    } else {
        snprintf(out, KITH_ADDR_TEXT_SIZE, a->family == KITH_FAMILY_RELAY ? "relay" : "none");
    }
    return out;
}

static kith_err parse_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    if (*text < '0' || *text > '9') return KITH_ERR_ARG;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || value > max) return KITH_ERR_ARG;
    *out = value;
    return KITH_OK;
}

static kith_err parse_ip(char *ip, kith_addr *out)
{
    kith_addr a = *out;
    char *scope = strchr(ip, '%');
    if (scope) *scope++ = 0;
    if (!scope && inet_pton(AF_INET, ip, a.ip) == 1) {
        a.family = KITH_FAMILY_IPV4;
    } else if (inet_pton(AF_INET6, ip, a.ip) == 1) {
        a.family = KITH_FAMILY_IPV6;
        if (memcmp(a.ip, mapped_prefix, 12) == 0) {
            memmove(a.ip, a.ip + 12, 4);
            memset(a.ip + 4, 0, 12);
            a.family = KITH_FAMILY_IPV4;
        }
    } else {
        return KITH_ERR_ARG;
    }
    if (scope) {
        unsigned long index = if_nametoindex(scope);
        if (!index && parse_number(scope, UINT32_MAX, &index)) return KITH_ERR_ARG;
        a.scope = (uint32_t)index;
    }
    *out = a;
    return KITH_OK;
}

kith_err kith_addr_parse(const char *text, kith_addr *out)
{
    char ip[KITH_ADDR_TEXT_SIZE];
    kith_addr a = {0};
    const char *port = NULL;
    if (strlen(text) >= sizeof ip) return KITH_ERR_ARG;
    strcpy(ip, text);
    if (*ip == '[') {
        char *close = strchr(ip, ']');
        if (!close || (close[1] && close[1] != ':')) return KITH_ERR_ARG;
        if (close[1]) port = text + (close - ip) + 2;
        *close = 0;
        memmove(ip, ip + 1, strlen(ip));
    } else {
        char *colon = strchr(ip, ':');
        if (colon && !strchr(colon + 1, ':')) {
            port = text + (colon - ip) + 1;
            *colon = 0;
        }
    }
    unsigned long number = 0;
    if (port && parse_number(port, UINT16_MAX, &number)) return KITH_ERR_ARG;
    a.port = (uint16_t)number;
    kith_err err = parse_ip(ip, &a);
    if (!err) *out = a;
    return err;
}

kith_addr kith_addr_from_sockaddr(const struct sockaddr *sa)
{
    kith_addr a = {0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        a.family = KITH_FAMILY_IPV4;
        a.port = ntohs(in.sin_port);
        memcpy(a.ip, &in.sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        a.port = ntohs(in6.sin6_port);
        if (memcmp(&in6.sin6_addr, mapped_prefix, 12) == 0) {
            a.family = KITH_FAMILY_IPV4;
            memcpy(a.ip, (const uint8_t *)&in6.sin6_addr + 12, 4);
        } else {
            a.family = KITH_FAMILY_IPV6;
            memcpy(a.ip, &in6.sin6_addr, 16);
            if (kith_addr_is_link_local(&a)) a.scope = in6.sin6_scope_id;
        }
    }
    return a;
}

unsigned kith_addr_to_sockaddr(const kith_addr *a, bool v6, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == KITH_FAMILY_IPV4 && !v6) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
    if (a->family == KITH_FAMILY_IPV4) {
        memcpy(&in6.sin6_addr, mapped_prefix, 12);
        memcpy((uint8_t *)&in6.sin6_addr + 12, a->ip, 4);
    } else {
        memcpy(&in6.sin6_addr, a->ip, 16);
    }
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}
