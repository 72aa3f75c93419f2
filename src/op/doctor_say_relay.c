/* The findings about relays, and about what is between this device and them. */
#include "op/doctor.h"

#include <stdarg.h>
#include <stdio.h>

#define HTTPS_PORT       443u
#define HTTP_UNAVAILABLE 503u /* RFC 9110 section 15.6.4: as our relays say that they are full */
#define HTTP_SIGN_IN     511u /* RFC 6585 section 6 */
#define NS_PER_MS        1e6

/* ---- relays ---- */

static bool is_portal(const doctor_relay *r)
{
    return r->why == KITH_ERR_DECLINED &&
           ((r->status >= 200 && r->status < 400) || r->status == HTTP_SIGN_IN); /* a page, or sent to one */
}

static void bad(doctor_op *d, kith_event *e, const char *result, const char *cure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static void bad(doctor_op *d, kith_event *e, const char *result, const char *cure, const char *format, ...)
{
    char text[sizeof e->message];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    kith__doctor_tell(d, e, "relay", KITH_FINDING_BAD, result, cure, "%.200s: %s", e->name, text);
}

/* What needs no more than words, by what the end of the connection had to say. */
typedef struct failure {
    uint64_t by;
    const char *result, *cure, *text;
} failure;

static const failure certificates[] = {
    {KITH_WS_CERTIFICATE_EXPIRED, "certificate-expired",
     "if this device's clock is right, tell the relay's operator to renew it", "its certificate is out of date"},
    {KITH_WS_CERTIFICATE_EARLY, "certificate-early", "look at this device's clock: it is probably behind",
     "its certificate is not valid yet"},
    {KITH_WS_CERTIFICATE_NAME, "certificate-name",
     "use the name the relay has its certificate for, or tell its operator",
     "its certificate is for another name than the one in its address"},
    {0, "certificate-untrusted",
     "sign in where this network asks to; else somebody is in between, or the operator has an authority of his own",
     "its certificate is not signed by an authority that is trusted here"},
};

static const failure refusals[] = {
    {KITH_RELAY_ERROR_TOKEN, "token", "ask its operator for a token, and name its file with --relay-token-file",
     "it does not take us without a token, or not with this one"},
    {KITH_RELAY_ERROR_VERSION, "version", "upgrade the older of the two", "it speaks another version of the protocol"},
    {KITH_RELAY_ERROR_AUTHORITY, "authority",
     "use the name its operator gave it; if that is this one, it passes us on to another relay",
     "it is not called what its address here says"},
    {KITH_RELAY_ERROR_SIGNATURE, "signature", "see the findings about the home",
     "it does not take this device's signature"},
    {0, "refused", "try again in some minutes; else ask its operator", "it ended the connection"},
};

/* The row of this number, or the last, which is for all others. */
static void bad_by(doctor_op *d, kith_event *e, const failure *rows, uint64_t by)
{
    while (rows->by && rows->by != by) rows++;
    bad(d, e, rows->result, rows->cure, "%s", rows->text);
}

static void say_no_way(doctor_op *d, const doctor_relay *r, kith_event *e)
{
    const doctor_server *s = r->server;
    if (*r->proxy)
        bad(d, e, "proxy", "see whether the proxy is right (https_proxy, http_proxy), or have no_proxy name the relay",
            "the proxy %.100s is not there, or does not reach it", r->proxy);
    else if (!s->count)
        bad(d, e, "no-name", "see whether it is written right, and whether this device has a name server that answers",
            s->late ? "looking up the name %.200s takes too long" : "there is no address for the name %.200s", s->host);
    else
        bad(d, e, "unreachable",
            "see whether the relay runs, and whether this network lets connections out to that port",
            "nobody there accepts connections to port %u", (unsigned)s->port);
}

static void say_declined(doctor_op *d, const doctor_relay *r, kith_event *e)
{
    if (is_portal(r))
        bad(d, e, "not-a-relay",
            "sign in where this network asks to (open any page in a browser); else see whether the "
            "address is right",
            "what answers is a web page (HTTP status %u), not a relay", r->status);
    else if (r->status == HTTP_UNAVAILABLE)
        bad(d, e, "full", "try again in some minutes; else use another relay, or tell its operator",
            "it has too many connections, in all or from this network's address (HTTP status %u)", r->status);
    else if (r->status)
        bad(d, e, "not-a-relay", "see whether the address is right, with its port and path",
            "what answers there refuses to be a relay (HTTP status %u)", r->status);
    else
        bad(d, e, "not-a-relay", "see whether the address is right, and ws:// or wss:// as the relay has it",
            "what accepts connections there does not speak HTTP, or closes them at once");
}

static void say_failed(doctor_op *d, const doctor_relay *r, kith_event *e)
{
    switch (r->why) {
    case KITH_ERR_CERTIFICATE: bad_by(d, e, certificates, r->status); break;
    case KITH_ERR_UNREACHABLE: say_no_way(d, r, e); break;
    case KITH_ERR_DECLINED: say_declined(d, r, e); break;
    case KITH_ERR_NETWORK:
        bad(d, e, "proxy", "see whether the proxy needs a user and password, or have no_proxy name the relay",
            "the proxy %.100s declined to connect there", r->proxy);
        break;
    case KITH_ERR_FORMAT:
        if (r->bad_proxy)
            bad(d, e, "proxy", "write it as http://HOST:PORT",
                "the environment names a proxy that cannot be understood");
        else
            bad(d, e, "authorities", "see whether the file is there and can be read",
                "the file of additional authorities cannot be used");
        break;
    case KITH_ERR_TIMEOUT:
        if (r->connected)
            bad(d, e, "slow", "try again; if it stays so the relay is overloaded", "it does not finish registering us");
        else if (!*r->proxy && !r->server->count)
            say_no_way(d, r, e);
        else
            bad(d, e, "timeout",
                "see whether the relay runs, and whether this network lets connections out to that port",
                "no answer from port %u: something on the way swallows it", (unsigned)r->server->port);
        break;
    default: bad_by(d, e, refusals, r->code);
    }
}

static void say_relay(doctor_op *d, const doctor_relay *r)
{
    kith_event e = {.rtt_ns = r->rtt_ns};
    const kith_nat_question *datagram = kith__doctor_answer(d, r->server, 0);
    snprintf(e.name, sizeof e.name, "%s", r->url);
    if (r->remote.family != KITH_FAMILY_NONE) kith_addr_text(&r->remote, e.address);
    if (r->why || (!r->registered && !r->challenged)) {
        doctor_relay late = *r;
        if (!late.why) late.why = KITH_ERR_TIMEOUT;
        say_failed(d, &late, &e);
        return;
    }
    if (!r->registered) {
        kith__doctor_tell(d, &e, "relay", KITH_FINDING_GOOD, "", "",
                          "%.200s: answers; not registered with, since that takes the "
                          "device's password",
                          r->url);
        return;
    }
    char by_udp[64] = "";
    if (r->udp && datagram && datagram->rtt_ns)
        snprintf(by_udp, sizeof by_udp, ", %.1f ms over UDP", (double)datagram->rtt_ns / NS_PER_MS);
    kith__doctor_tell(d, &e, "relay", KITH_FINDING_GOOD, r->software, "",
                      "%.200s: registered, %.1f ms over WebSocket%s; runs %s%s", r->url, (double)r->rtt_ns / NS_PER_MS,
                      by_udp, *r->software ? r->software : "something unnamed",
                      r->udp ? "" : "; packets go over the WebSocket");
}

static void say_relays(doctor_op *d)
{
    kith_event e = {0};
    for (size_t i = 0; i < d->relay_count; i++) say_relay(d, &d->relays[i]);
    if (!d->relay_count)
        kith__doctor_tell(d, &e, "relay", KITH_FINDING_WARNING, "none",
                          "name one: kith config relay URL for good, or --relay URL",
                          "no relay is used: devices that are not on this local network are not found");
}

static void say_portal(doctor_op *d)
{
    kith_event e = {0};
    for (size_t i = 0; i < d->relay_count; i++) {
        if (!is_portal(&d->relays[i])) continue;
        snprintf(e.name, sizeof e.name, "%s", d->relays[i].url);
        kith__doctor_tell(
            d, &e, "portal", KITH_FINDING_BAD, "web-page", "open any page in a browser and sign in",
            "this network seems to want a sign-in first: a web page (HTTP status %u) answers in a relay's place",
            d->relays[i].status);
        return;
    }
    if (kith__doctor_connected(d))
        kith__doctor_tell(d, &e, "portal", KITH_FINDING_GOOD, "", "", "nothing answers in a relay's place");
}

static void say_proxy(doctor_op *d)
{
    for (size_t i = 0; i < d->relay_count; i++) {
        const doctor_relay *r = &d->relays[i];
        kith_event e = {0};
        if (!*r->proxy) continue;
        snprintf(e.name, sizeof e.name, "%s", r->proxy);
        if (r->connected)
            kith__doctor_tell(
                d, &e, "proxy", KITH_FINDING_WARNING, r->proxy,
                "where datagrams get out without it, have no_proxy name the relay",
                "the environment's proxy %.200s is between this device and the relay: packets go over TCP, which is "
                "slower",
                r->proxy);
        else
            kith__doctor_tell(d, &e, "proxy", KITH_FINDING_BAD, r->proxy,
                              "see whether https_proxy and http_proxy are right, or have no_proxy name the relay",
                              "the environment's proxy %.200s does not get us to the relay", r->proxy);
        return;
    }
}

/* ---- between ---- */

static const doctor_relay *tcp_only(const doctor_op *d)
{
    for (size_t i = 0; i < d->relay_count; i++) {
        const doctor_relay *r = &d->relays[i];
        if (r->connected && !*r->proxy && r->server->count && !kith__doctor_answer(d, r->server, 0)) return r;
    }
    return NULL;
}

/* What is reached is at 443, and what is not is elsewhere. */
static bool only_https(const doctor_op *d)
{
    size_t others = 0, reached = 0;
    for (size_t i = 0; i < d->relay_count; i++) {
        const doctor_relay *r = &d->relays[i];
        if (r->server->port == HTTPS_PORT) {
            reached += r->connected;
            continue;
        }
        if (r->connected || (r->why != KITH_ERR_UNREACHABLE && r->why != KITH_ERR_TIMEOUT)) return false;
        others++;
    }
    return others && reached;
}

static void say_firewall(doctor_op *d)
{
    kith_event e = {0};
    const doctor_relay *half = tcp_only(d);
    bool udp = kith__doctor_any_answer(d) != NULL;
    if (half) snprintf(e.name, sizeof e.name, "%s", half->url);
    if (only_https(d))
        kith__doctor_tell(d, &e, "firewall", KITH_FINDING_WARNING, "only-443",
                          "use a relay at port 443, or have the other port let out",
                          "the only relay that is reached is at port 443: a firewall seems to let nothing else out");
    else if (half && udp)
        kith__doctor_tell(d, &e, "firewall", KITH_FINDING_WARNING, "udp-to-relay",
                          "have UDP to that port let out; if others reach it, the firewall is the relay's own",
                          "the relay %.200s is reached over TCP, but not over UDP at the same port (%u)", half->url,
                          (unsigned)half->server->port);
    else if (half)
        kith__doctor_tell(
            d, &e, "firewall", KITH_FINDING_BAD, "udp",
            "have UDP let out, at least to the relay's port; until then everything goes through it over TCP",
            "TCP gets out and UDP does not: a firewall drops it");
    else if (udp)
        kith__doctor_tell(d, &e, "firewall", KITH_FINDING_GOOD, "", "", "nothing that is asked for is held up");
    else
        kith__doctor_tell(d, &e, "firewall", KITH_FINDING_UNKNOWN, "",
                          "name a relay or a STUN server that runs (--relay, --stun)",
                          "nobody was reached, so nothing can be told of what is between");
}

void kith__doctor_say_relays(doctor_op *d)
{
    say_relays(d);
    say_proxy(d);
    say_portal(d);
    say_firewall(d);
}
