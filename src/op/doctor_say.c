/* The findings in words.  Each that is not good says why (message) and what to do (cure). */
#include "node/relay.h"
#include "op/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKEW_WARN_MS  INT64_C(30000)
#define SKEW_BAD_MS   INT64_C(300000) /* certificates, and codes that live for 5 minutes */
#define OTHERS_ACCESS 077u
#define MTU_LEAST     1280u /* IPv6's (RFC 8200 section 5): what everything on the way should carry */

void kith__doctor_tell(doctor_op *d, kith_event *e, const char *check, kith_finding state, const char *result,
                       const char *cure, const char *format, ...)
{
    va_list list;
    e->kind = KITH_EVENT_FINDING;
    e->op = d->op.id;
    e->state = state;
    snprintf(e->check, sizeof e->check, "%s", check);
    snprintf(e->result, sizeof e->result, "%s", result);
    snprintf(e->cure, sizeof e->cure, "%s", cure);
    va_start(list, format);
    vsnprintf(e->message, sizeof e->message, format, list);
    va_end(list);
    kith__core_emit(d->op.core, e);
}

void kith__doctor_words(doctor_op *d, const char *check, const doctor_words *words)
{
    kith_event e = {0};
    kith__doctor_tell(d, &e, check, words->state, words->result, words->cure, "%s", words->text);
}

/* ---- what was seen ---- */

const kith_nat_question *kith__doctor_answer(const doctor_op *d, const doctor_server *s, unsigned family)
{
    for (size_t i = 0; i < s->count; i++) {
        const kith_nat_question *q = kith_nat_probe_server(&d->probe, s->asked[i]);
        if (q->state == KITH_NAT_ANSWERED && (!family || q->to.family == family)) return q;
    }
    return NULL;
}

static bool asked_over(const doctor_op *d, unsigned family)
{
    for (size_t i = 0;; i++) {
        const kith_nat_question *q = kith_nat_probe_server(&d->probe, i);
        if (!q) return false;
        if (!family || q->to.family == family) return true;
    }
}

const kith_nat_question *kith__doctor_any_answer(const doctor_op *d)
{
    const kith_nat_question *four = kith_nat_probe_first(&d->probe, KITH_FAMILY_IPV4);
    return four ? four : kith_nat_probe_first(&d->probe, KITH_FAMILY_IPV6);
}

size_t kith__doctor_connected(const doctor_op *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->relay_count; i++) n += d->relays[i].connected;
    return n;
}

static void measured(kith_event *e, const kith_nat_question *q)
{
    if (!q) return;
    e->rtt_ns = q->rtt_ns;
    kith_addr_text(&q->mapped, e->address);
}

/* ---- home and clock ---- */

static const char *home_cure(kith_err err)
{
    switch (err) {
    case KITH_ERR_EXPOSED:
        return "take the others' rights away (chmod 600 FILE); if somebody may have read it, make a "
               "new identity";
    case KITH_ERR_DAMAGED: return "put the file back from a backup";
    case KITH_ERR_PERMISSION: return "run Kith as the user whose home it is, or give the files to this one (chown)";
    case KITH_ERR_VERSION: return "upgrade Kith on this device";
    case KITH_ERR_NO_IDENTITY: return "run \"kith init\"";
    default: return "look at that file and at the disk it is on";
    }
}

static void say_home(doctor_op *d)
{
    kith_event e = {0};
    const doctor_home *h = &d->at_home;
    const char *folder = kith_home_folder(d->op.core->home);
    if (d->home)
        kith__doctor_tell(d, &e, "home", KITH_FINDING_BAD, "slow", "look at the disk it is on",
                          "the files in %.300s could not be read in time", folder);
    else if (h->err)
        kith__doctor_tell(d, &e, "home", KITH_FINDING_BAD, kith_err_name(h->err), home_cure(h->err), "%s",
                          h->problem.message);
    else if (h->has_info && (h->info.mode & OTHERS_ACCESS))
        kith__doctor_tell(d, &e, "home", KITH_FINDING_WARNING, "open-folder",
                          "take the others' rights away: chmod 700 on that folder",
                          "others on this machine may look into %.300s (mode %o), though not read its secrets", folder,
                          (unsigned)h->info.mode);
    else
        kith__doctor_tell(d, &e, "home", KITH_FINDING_GOOD, "", "",
                          "the identity is complete, and its secrets are its owner's alone");
}

/* The one that agrees most with us: of two relays one may be wrong itself. */
static const doctor_relay *best_clock(const doctor_op *d)
{
    const doctor_relay *best = NULL;
    for (size_t i = 0; i < d->relay_count; i++) {
        const doctor_relay *r = &d->relays[i];
        if (r->has_clock && (!best || llabs(r->skew_ms) < llabs(best->skew_ms))) best = r;
    }
    return best;
}

/* "3 days": in the largest unit of which there are two. */
static void span(int64_t seconds, char *out, size_t size)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
    size_t i = 0;
    while (units[i].seconds > 1 && seconds < 2 * units[i].seconds) i++;
    snprintf(out, size, "%" PRId64 " %s", seconds / units[i].seconds, units[i].name);
}

static void say_clock(doctor_op *d)
{
    char how_far[40];
    static const char *const set = "set the clock, or have it set over the network (timedatectl set-ntp true)";
    kith_event e = {0};
    const doctor_relay *by = best_clock(d);
    int64_t now = d->op.core->env->base->wall_ms(d->op.core->env), created = d->at_home.created_at_ms;
    if (by) {
        int64_t off = llabs(by->skew_ms);
        const char *way = by->skew_ms > 0 ? "ahead of" : "behind";
        e.skew_ms = by->skew_ms;
        snprintf(e.name, sizeof e.name, "%s", by->url);
        if (off >= SKEW_WARN_MS) {
            span(off / 1000, how_far, sizeof how_far);
            kith__doctor_tell(d, &e, "clock", off >= SKEW_BAD_MS ? KITH_FINDING_BAD : KITH_FINDING_WARNING, "skewed",
                              set,
                              "this device's clock is %s %s that of the relay %.200s: certificates and codes may seem "
                              "expired",
                              how_far, way, by->url);
            return;
        }
        kith__doctor_tell(d, &e, "clock", KITH_FINDING_GOOD, "", "",
                          "right to %.1f s, by the clock of the relay %.200s", (double)off / 1000, by->url);
    } else if (created && now < created) {
        kith__doctor_tell(
            d, &e, "clock", KITH_FINDING_BAD, "behind", set,
            "this device's clock says a time before its identity was made: it was set back, or has lost its battery");
    } else {
        kith__doctor_tell(d, &e, "clock", KITH_FINDING_UNKNOWN, "",
                          "name a relay that can be registered with (--relay, a password)",
                          "there is no other clock to compare this device's with");
    }
}

/* ---- datagrams ---- */

static void say_udp(doctor_op *d)
{
    kith_event e = {0};
    const kith_nat_question *q = kith__doctor_any_answer(d);
    measured(&e, q);
    if (q)
        kith__doctor_tell(d, &e, "udp", KITH_FINDING_GOOD, "", "", "datagrams get out and back");
    else if (!d->has_sockets)
        kith__doctor_tell(d, &e, "udp", KITH_FINDING_BAD, "no-socket",
                          "see --listen, and how many files this user may have open",
                          "no sockets for datagrams can be had here");
    else if (!asked_over(d, 0))
        kith__doctor_tell(d, &e, "udp", KITH_FINDING_UNKNOWN, "",
                          "name a relay (--relay) or a STUN server (--stun HOST:PORT)",
                          "there is nobody to ask for an answer: no relay or STUN server %s",
                          d->server_count ? "has an address" : "was named");
    else if (kith__doctor_connected(d))
        kith__doctor_tell(
            d, &e, "udp", KITH_FINDING_BAD, "blocked",
            "have UDP let out, at least to the relay's port; until then everything goes through the relay over TCP",
            "datagrams get no answer, although a relay answers over TCP: this network, or a firewall, drops UDP");
    else
        kith__doctor_tell(d, &e, "udp", KITH_FINDING_BAD, "no-answer",
                          "see whether this device is on the internet at all, and whether the servers named run",
                          "datagrams get no answer, and nothing else does: no network, or the servers are down");
}

static void say_ipv6(doctor_op *d)
{
    kith_event e = {0};
    const kith_nat_question *q = kith_nat_probe_first(&d->probe, KITH_FAMILY_IPV6);
    measured(&e, q);
    if (q && kith_nat_probe_translated(&d->probe, KITH_FAMILY_IPV6) == KITH_NAT_YES)
        kith__doctor_tell(d, &e, "ipv6", KITH_FINDING_WARNING, "translated",
                          "have the router give out addresses instead (RFC 7084)",
                          "IPv6 works, but a NAT changes the addresses");
    else if (q)
        kith__doctor_tell(d, &e, "ipv6", KITH_FINDING_GOOD, "", "", "works, without a NAT");
    else if (!d->has_ipv6)
        kith__doctor_tell(d, &e, "ipv6", KITH_FINDING_WARNING, "none",
                          "have the router, or the provider, turn IPv6 on: it needs no NAT",
                          "this device has no IPv6 address of the internet: this network gives none out");
    else if (!asked_over(d, KITH_FAMILY_IPV6))
        kith__doctor_tell(d, &e, "ipv6", KITH_FINDING_UNKNOWN, "",
                          "name a relay or a STUN server that has an IPv6 address (--stun)",
                          "this device has an IPv6 address, but no server to ask has one");
    else
        kith__doctor_tell(d, &e, "ipv6", KITH_FINDING_BAD, "no-answer",
                          "see the router's IPv6 settings, or turn IPv6 off there",
                          "this device has an IPv6 address, but datagrams get no answer over IPv6");
}

/* Whether there is one, so that there is more to say of it. */
static bool say_nat(doctor_op *d)
{
    kith_event e = {0};
    const kith_nat_question *q = kith_nat_probe_first(&d->probe, KITH_FAMILY_IPV4);
    measured(&e, q);
    switch (kith_nat_probe_translated(&d->probe, KITH_FAMILY_IPV4)) {
    case KITH_NAT_NO:
        kith__doctor_tell(d, &e, "nat", KITH_FINDING_GOOD, "none", "",
                          "there is no NAT: this device is seen at its own address, %s", e.address);
        return false;
    case KITH_NAT_YES:
        if (d->carrier_grade)
            kith__doctor_tell(
                d, &e, "nat", KITH_FINDING_WARNING, "carrier", "ask the provider for an address of one's own, or IPv6",
                "there is a NAT of the provider's: this device is seen as %s, which it shares with others", e.address);
        else
            kith__doctor_tell(d, &e, "nat", KITH_FINDING_GOOD, "nat", "", "there is a NAT: this device is seen as %s",
                              e.address);
        return true;
    default:
        kith__doctor_tell(d, &e, "nat", KITH_FINDING_UNKNOWN, "", "see the findings about udp",
                          "nobody said how this device is seen");
        return false;
    }
}

static void say_mapping(doctor_op *d)
{
    static const char cure[] =
        "have the router keep ports (\"full cone\", \"endpoint-independent\" NAT), forward a port, or use IPv6";
    static const doctor_words words[] = {
        [KITH_NAT_BY_UNKNOWN] = {KITH_FINDING_UNKNOWN, "", "name a second relay, or a STUN server (--stun HOST:PORT)",
                                 "only one address answered: whether the NAT gives another port for another remote "
                                 "side cannot be told"},
        [KITH_NAT_BY_NOTHING] = {KITH_FINDING_GOOD, "endpoint-independent", "",
                                 "the NAT gives one address to all remote sides (endpoint-independent): direct ways "
                                 "can be found"},
        [KITH_NAT_BY_ADDRESS] = {KITH_FINDING_WARNING, "address-dependent", cure,
                                 "the NAT gives another port for each remote address (address-dependent): a device "
                                 "behind a strict NAT is reached only through a relay"},
        [KITH_NAT_BY_ADDRESS_AND_PORT] =
            {KITH_FINDING_WARNING, "address-and-port-dependent", cure,
             "the NAT gives another port for each remote side (address and port-dependent, "
             "\"symmetric\"): a device behind a strict NAT is reached only through a relay"},
        [KITH_NAT_BY_ADDRESS_MAYBE_PORT] = {KITH_FINDING_WARNING, "dependent", cure,
                                            "the NAT gives another port for each remote address (\"symmetric\"): a "
                                            "device behind a strict NAT is reached only through a relay"},
    };
    kith__doctor_words(d, "mapping", &words[kith_nat_probe_mapping(&d->probe, KITH_FAMILY_IPV4)]);
}

static void say_filtering(doctor_op *d)
{
    static const doctor_words words[] = {
        [KITH_NAT_BY_UNKNOWN] = {KITH_FINDING_UNKNOWN, "",
                                 "nothing needs to be done, two devices that try at once are let in by either kind; a "
                                 "relay that runs this version tells it",
                                 "whom the NAT lets in cannot be told without a server that answers from another port"},
        [KITH_NAT_BY_NOTHING] = {KITH_FINDING_GOOD, "endpoint-independent", "",
                                 "the NAT lets anybody in to an address in use (endpoint-independent)"},
        [KITH_NAT_BY_ADDRESS] = {KITH_FINDING_GOOD, "address-dependent", "",
                                 "the NAT lets in whom this device has sent to, from any port (address-dependent)"},
        [KITH_NAT_BY_ADDRESS_AND_PORT] = {KITH_FINDING_GOOD, "address-and-port-dependent", "",
                                          "the NAT lets in only the very remote sides this device has sent to (address "
                                          "and port-dependent)"},
        [KITH_NAT_BY_ADDRESS_OR_NOTHING] =
            {KITH_FINDING_GOOD, "port-independent", "",
             "the NAT lets in whom this device has sent to, from any port; whether "
             "others, too, a second relay or a STUN server would tell (--stun HOST:PORT)"},
    };
    kith__doctor_words(d, "filtering", &words[kith_nat_probe_filtering(&d->probe)]);
}

static void say_hairpin(doctor_op *d)
{
    static const doctor_words words[] = {
        [KITH_NAT_UNKNOWN] = {KITH_FINDING_UNKNOWN, "", "see the finding about mapping",
                              "whether this device's outside address is reached from inside cannot be told where the "
                              "port may be another one each time"},
        [KITH_NAT_YES] = {KITH_FINDING_GOOD, "yes", "", "this device reaches its own outside address"},
        [KITH_NAT_NO] = {KITH_FINDING_WARNING, "no",
                         "turn on \"hairpin\" or \"loopback\" NAT in the router; one local network for both devices "
                         "does as well",
                         "this device's own outside address is not reached from inside: two devices behind this NAT "
                         "that do not see each other on the local network meet only through a relay"},
    };
    kith__doctor_words(d, "hairpin", &words[kith_nat_probe_hairpin(&d->probe)]);
}

static void say_ports(doctor_op *d)
{
    kith_event e = {0};
    if (kith_nat_probe_keeps_ports(&d->probe) == KITH_NAT_YES)
        kith__doctor_tell(d, &e, "ports", KITH_FINDING_GOOD, "kept", "", "the NAT keeps port numbers");
    else
        kith__doctor_tell(d, &e, "ports", KITH_FINDING_GOOD, "changed", "",
                          "the NAT changes port numbers, which does no harm while it gives one to all remote sides");
}

static void say_mtu(doctor_op *d)
{
    kith_event e = {0};
    kith_nat_sizes found = kith_nat_probe_sizes(&d->probe);
    const char *at_least = found.exact ? "" : "at least ";
    e.bytes = found.largest;
    if (!found.largest)
        kith__doctor_tell(d, &e, "mtu", KITH_FINDING_UNKNOWN, "", "see the findings about udp",
                          "how large datagrams may be cannot be told: none was answered");
    else if (found.mtu >= MTU_LEAST)
        kith__doctor_tell(d, &e, "mtu", KITH_FINDING_GOOD, "", "", "packets of %s%zu bytes (the MTU) get through",
                          at_least, found.mtu);
    else if (found.largest >= KITH_NAT_QUIC_SIZE)
        kith__doctor_tell(d, &e, "mtu", KITH_FINDING_WARNING, "small",
                          "have the tunnel or VPN on the way use an MTU of 1,280 or more",
                          "packets of %s%zu bytes get through, and no larger ones: enough for QUIC, but IPv6 needs %u, "
                          "and others rely on it",
                          at_least, found.mtu, MTU_LEAST);
    else
        kith__doctor_tell(
            d, &e, "mtu", KITH_FINDING_BAD, "too-small",
            "have what is on the way (tunnel, VPN, PPPoE) use an MTU of 1,280 or more; TCP and relays work meanwhile",
            "packets of %s%zu bytes get through, and no larger ones: QUIC needs datagrams of %u bytes, and so goes "
            "over "
            "TCP alone",
            at_least, found.mtu, KITH_NAT_QUIC_SIZE);
}

/* ---- the local network, and who else is there ---- */

static void say_multicast(doctor_op *d)
{
    kith_event e = {0};
    if (d->op.core->config.no_lan)
        kith__doctor_tell(d, &e, "multicast", KITH_FINDING_UNKNOWN, "",
                          "leave --no-lan out, or say --lan where it is set so (kith config lan)",
                          "not looked at: --no-lan, or the setting lan, says not to");
    else if (!d->lan.usable)
        kith__doctor_tell(
            d, &e, "multicast", KITH_FINDING_BAD, "no-socket",
            "see whether this device has a network, and whether another program keeps port 5353 for itself",
            "multicast DNS cannot be used here: devices on this network are not found");
    else if (d->lan.others)
        kith__doctor_tell(d, &e, "multicast", KITH_FINDING_GOOD, "heard", "",
                          "announcements of %zu other node%s are heard", d->lan.others, d->lan.others == 1 ? "" : "s");
    else if (d->lan.own)
        kith__doctor_tell(
            d, &e, "multicast", KITH_FINDING_UNKNOWN, "own",
            "run \"kith receive\" on another device here, and this again",
            "this device hears its own announcement, but nobody else makes one now: whether the network passes them on "
            "cannot be told");
    else
        kith__doctor_tell(
            d, &e, "multicast", KITH_FINDING_BAD, "silent",
            "let UDP port 5353 through this device's firewall, in and out; guest networks often forbid it altogether",
            "not even this device's own announcement is heard: multicast DNS is blocked");
}

static void say_identity(doctor_op *d)
{
    static const char *const cure =
        "keep it on one of them: on the other, move the home away, run \"kith init\" and pair anew";
    kith_event e = {0};
    bool superseded = kith__relays_superseded(d->op.core), looked = d->lan.usable;
    const doctor_relay *at = NULL; /* where another machine is registered */
    for (size_t i = 0; i < d->relay_count; i++) {
        const doctor_relay *r = &d->relays[i];
        superseded = superseded || r->code == KITH_RELAY_ERROR_SUPERSEDED;
        looked = looked || (r->registered && r->sibling_over && r->sibling_tries <= DOCTOR_SIBLING_TRIES);
        if (r->sibling == KITH_SIBLING_ELSEWHERE) at = r;
    }
    if (d->lan.twin) {
        kith_addr_text(&d->lan.twin_at, e.address);
        kith__doctor_tell(
            d, &e, "identity", KITH_FINDING_BAD, "twice", cure,
            "another machine, at %s, announces this device's identity: its home was copied, and the two take each "
            "other's connections",
            e.address);
    } else if (at) {
        snprintf(e.name, sizeof e.name, "%s", at->url);
        kith__doctor_tell(d, &e, "identity", KITH_FINDING_BAD, "twice", cure,
                          "another machine is registered at %.200s with this device's identity: its home was copied, "
                          "and the two take "
                          "each other's connections",
                          at->url);
    } else if (superseded) {
        kith__doctor_tell(
            d, &e, "identity", KITH_FINDING_BAD, "twice", cure,
            "somebody else registers at the relay as this very node: its home was copied, or the machine cloned while "
            "it ran");
    } else if (looked) {
        kith__doctor_tell(d, &e, "identity", KITH_FINDING_GOOD, "once", "",
                          "nobody else is seen with this device's identity");
    } else {
        kith__doctor_tell(d, &e, "identity", KITH_FINDING_UNKNOWN, "", "see the findings about multicast and relays",
                          "whether another machine uses this device's identity was not seen");
    }
}

void kith__doctor_say(doctor_op *d)
{
    say_home(d);
    say_clock(d);
    say_identity(d);
    say_multicast(d);
    say_udp(d);
    say_ipv6(d);
    if (say_nat(d)) {
        say_mapping(d);
        say_filtering(d);
        say_hairpin(d);
        say_ports(d);
    }
    say_mtu(d);
    kith__doctor_say_relays(d);
}
