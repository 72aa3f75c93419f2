#include "io/proxy.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *first_of(char *(*get)(const char *name), const char *const *names)
{
    for (; *names; names++) {
        const char *value = get(*names);
        if (value && *value) return value;
    }
    return NULL;
}

/* ---- no_proxy ---- */

/* "example.org" and ".example.org" both mean that name and all in it; a port is allowed after it. */
static bool names_host(const char *item, size_t size, const kith_url *url)
{
    char port[8];
    if (size && item[0] == '[') { /* an IPv6 address */
        const char *end = memchr(item, ']', size);
        size_t inner = end ? (size_t)(end - item - 1) : 0;
        return inner == strlen(url->host) && strncasecmp(item + 1, url->host, inner) == 0;
    }
    const char *colon = url->is_ipv6 ? NULL : memchr(item, ':', size);
    if (colon) {
        size_t digits = size - (size_t)(colon + 1 - item);
        snprintf(port, sizeof port, "%u", url->port);
        if (digits != strlen(port) || memcmp(colon + 1, port, digits) != 0) return false;
        size = (size_t)(colon - item);
    }
    if (size && item[0] == '.') {
        item++;
        size--;
    }
    size_t host = strlen(url->host);
    if (!size || size > host || strncasecmp(url->host + host - size, item, size) != 0) return false;
    return size == host || url->host[host - size - 1] == '.';
}

static bool is_exempt(const char *list, const kith_url *url)
{
    static const char between[] = ", \t";
    if (!list) return false;
    for (list += strspn(list, between); *list; list += strspn(list, between)) {
        size_t size = strcspn(list, between);
        if ((size == 1 && *list == '*') || names_host(list, size, url)) return true;
        list += size;
    }
    return false;
}

/* ---- the proxy's address ---- */

static bool decode(const char *text, size_t size, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (text[i] == '%') {
            char digits[3] = {0};
            if (size - i < 3) return false;
            memcpy(digits, text + i + 1, 2);
            if (kith_unhex(digits, &byte, 1)) return false;
            i += 2;
        }
        if (byte < ' ' || byte == 0x7f || used + 1 >= room) return false;
        out[used++] = (char)byte;
    }
    out[used] = 0;
    return true;
}

/* [http://][user[:password]@]host[:port][/] */
static kith_err parse(const char *text, kith_io_proxy *out)
{
    static const char http[] = "http://";
    kith_io_proxy proxy = {0};
    char address[KITH_URL_TEXT_SIZE];
    kith_url url;
    if (strncasecmp(text, http, sizeof http - 1) == 0) text += sizeof http - 1;
    if (strstr(text, "://")) return KITH_ERR_FORMAT; /* socks5://, https:// */
    const char *at = strrchr(text, '@');
    if (at) {
        if (!decode(text, (size_t)(at - text), proxy.user, sizeof proxy.user)) return KITH_ERR_FORMAT;
        text = at + 1;
    }
    int size = snprintf(address, sizeof address, "ws://%s", text);
    if (size < 0 || (size_t)size >= sizeof address || kith_url_parse(address, &url)) return KITH_ERR_FORMAT;
    memcpy(proxy.host, url.host, sizeof proxy.host);
    proxy.port = url.port;
    *out = proxy;
    return KITH_OK;
}

kith_err kith_io_proxy_for(const kith_url *url, char *(*get)(const char *name), kith_io_proxy *out)
{
    static const char *const secure[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
    static const char *const plain[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const exempt[] = {"no_proxy", "NO_PROXY", NULL};
    const char *wanted = first_of(get, url->secure ? secure : plain);
    if (wanted && !is_exempt(first_of(get, exempt), url)) return parse(wanted, out);
    *out = (kith_io_proxy){0};
    return KITH_OK;
}
