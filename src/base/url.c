#include "base/url.h"

#include "base/addr.h"

#include <string.h>

#define PORT_PLAIN  80
#define PORT_SECURE 443

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static char lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c); }
static bool is_name_char(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_'; }

/* What RFC 3986 allows in a path and a query, less '#'. */
static bool is_path_char(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || (c && strchr("-._~!$&'()*+,;=:@/?%", c));
}

static bool take_prefix(const char **at, const char *prefix)
{
    size_t size = strlen(prefix);
    for (size_t i = 0; i < size; i++)
        if (lower((*at)[i]) != prefix[i]) return false;
    *at += size;
    return true;
}

static bool take_ipv6(const char **at, kith_url *url)
{
    const char *end = strchr(*at, ']');
    kith_addr addr;
    if (!end || end == *at || (size_t)(end - *at) >= sizeof url->host) return false;
    memcpy(url->host, *at, (size_t)(end - *at));
    if (kith_addr_parse(url->host, &addr) || addr.port || !strchr(url->host, ':')) return false;
    *at = end + 1;
    return url->is_ipv6 = true;
}

static bool take_host(const char **at, kith_url *url)
{
    size_t size = 0;
    if (**at == '[') {
        ++*at;
        return take_ipv6(at, url);
    }
    for (; is_name_char(lower(**at)); ++*at) {
        if (size + 1 == sizeof url->host) return false;
        url->host[size++] = lower(**at);
    }
    return size && url->host[0] != '.' && url->host[0] != '-';
}

static bool take_port(const char **at, kith_url *url)
{
    unsigned port = 0;
    if (**at != ':') return true;
    ++*at;
    if (!is_digit(**at)) return false;
    for (; is_digit(**at); ++*at) {
        port = port * 10 + (unsigned)(**at - '0');
        if (port > UINT16_MAX) return false;
    }
    url->port = (uint16_t)port;
    return port != 0;
}

static bool take_path(const char *at, kith_url *url)
{
    size_t size = 0;
    if (*at != '/') url->path[size++] = '/';
    for (; *at; at++) {
        if (!is_path_char(*at) || size + 1 == sizeof url->path) return false;
        url->path[size++] = *at;
    }
    return true;
}

kith_err kith_url_parse(const char *text, kith_url *out)
{
    kith_url url = {.port = PORT_PLAIN};
    if (take_prefix(&text, "wss://")) {
        url.secure = true;
        url.port = PORT_SECURE;
    } else if (!take_prefix(&text, "ws://")) {
        return KITH_ERR_ARG;
    }
    if (!take_host(&text, &url) || !take_port(&text, &url)) return KITH_ERR_ARG;
    if (*text && *text != '/' && *text != '?') return KITH_ERR_ARG;
    if (!take_path(text, &url)) return KITH_ERR_ARG;
    *out = url;
    return KITH_OK;
}
