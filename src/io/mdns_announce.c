/* What we announce: the service's records in one entry group, and each address of each interface in a group of its own,
 * so that they come and go one by one. */
#include "base/mem.h"
#include "io/mdns_internal.h"

#include <avahi-common/alternative.h>
#include <avahi-common/domain.h>
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <string.h>

#define HOST_SUFFIX "-kith"
#define SETTLE_MS   2500 /* probing takes a second (RFC 6762 section 8.1) */

static void on_group(AvahiServer *server, AvahiSEntryGroup *group, AvahiEntryGroupState state, void *user)
{
    mdns_thread *t = user;
    (void)server;
    (void)group;
    if (state == AVAHI_ENTRY_GROUP_COLLISION) t->rename = true;
}

/* ---- names ---- */

/* "<instance>-kith.local", of letters, digits and dashes alone. */
static void make_host(mdns_thread *t)
{
    size_t size = strlen(t->name), room = KITH_LAN_INSTANCE_SIZE - sizeof HOST_SUFFIX;
    if (size > room) size = room;
    for (size_t i = 0; i < size; i++) {
        char c = t->name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        t->host[i] = plain ? c : '-';
    }
    memcpy(t->host + size, HOST_SUFFIX "." MDNS_DOMAIN, sizeof HOST_SUFFIX "." MDNS_DOMAIN);
}

static void next_name(mdns_thread *t)
{
    char *next = avahi_alternative_host_name(t->name); /* "x-2", "x-3" ... */
    if (!next) next = avahi_alternative_service_name(t->name);
    if (!next) return;
    size_t size = strlen(next);
    if (size < sizeof t->name) memcpy(t->name, next, size + 1);
    avahi_free(next);
}

/* ---- the service ---- */

static int add(mdns_thread *t, AvahiRecord *record, AvahiPublishFlags flags)
{
    if (!record) return AVAHI_ERR_NO_MEMORY;
    int status = avahi_server_add(t->server, t->service, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, flags, record);
    avahi_record_unref(record);
    return status;
}

static AvahiRecord *new_record(const char *name, uint16_t type)
{
    return avahi_record_new_full(name, AVAHI_DNS_CLASS_IN, type, MDNS_LIFE_S);
}

static AvahiRecord *new_ptr(const char *name, const char *to)
{
    AvahiRecord *record = new_record(name, AVAHI_DNS_TYPE_PTR);
    if (record && !(record->data.ptr.name = avahi_strdup(to))) {
        avahi_record_unref(record);
        record = NULL;
    }
    return record;
}

static AvahiRecord *new_srv(const char *name, const char *host, uint16_t port)
{
    AvahiRecord *record = new_record(name, AVAHI_DNS_TYPE_SRV);
    if (!record) return NULL;
    record->data.srv.port = port;
    record->data.srv.priority = record->data.srv.weight = 0;
    if (!(record->data.srv.name = avahi_strdup(host))) {
        avahi_record_unref(record);
        record = NULL;
    }
    return record;
}

static AvahiRecord *new_txt(const char *name, const kith_lan_record *r)
{
    AvahiRecord *record = new_record(name, AVAHI_DNS_TYPE_TXT);
    if (record && avahi_string_list_parse(r->txt, r->txt_size, &record->data.txt.string_list) < 0) {
        avahi_record_unref(record);
        record = NULL;
    }
    return record;
}

/* The full name of the instance, dots and backslashes in it escaped. */
static bool full_name(const mdns_thread *t, char out[static AVAHI_DOMAIN_NAME_MAX])
{
    return avahi_service_name_join(out, AVAHI_DOMAIN_NAME_MAX, t->name, KITH_LAN_SERVICE_TYPE, MDNS_DOMAIN) == AVAHI_OK;
}

static int add_service(mdns_thread *t, const char *name, AvahiPublishFlags update)
{
    static const char type[] = KITH_LAN_SERVICE_TYPE "." MDNS_DOMAIN, types[] = "_services._dns-sd._udp." MDNS_DOMAIN;
    int status = AVAHI_OK;
    if (!update) {
        status = add(t, new_ptr(type, name), 0);
        if (status == AVAHI_OK) status = add(t, new_ptr(types, type), 0);
    }
    AvahiPublishFlags flags = AVAHI_PUBLISH_UNIQUE | update;
    if (status == AVAHI_OK) status = add(t, new_srv(name, t->host, t->wish.record.port), flags);
    if (status == AVAHI_OK) status = add(t, new_txt(name, &t->wish.record), flags);
    return status;
}

/* A collision here is with another instance in this process; a failure for want of memory is tried again with the next
 * wish. */
static void publish_service(mdns_thread *t)
{
    char name[AVAHI_DOMAIN_NAME_MAX];
    if (!full_name(t, name)) return;
    t->service = avahi_s_entry_group_new(t->server, on_group, t);
    if (!t->service) return;
    int status = add_service(t, name, 0);
    if (status == AVAHI_OK) status = avahi_s_entry_group_commit(t->service);
    if (status == AVAHI_OK) {
        t->announced = t->wish.record;
        return;
    }
    avahi_s_entry_group_free(t->service);
    t->service = NULL;
}

static void update_service(mdns_thread *t)
{
    char name[AVAHI_DOMAIN_NAME_MAX];
    const kith_lan_record *old = &t->announced, *new = &t->wish.record;
    if (old->port == new->port && old->txt_size == new->txt_size &&memcmp(old->txt, new->txt, new->txt_size) == 0)
        return;
    if (full_name(t, name) && add_service(t, name, AVAHI_PUBLISH_UPDATE) == AVAHI_OK) t->announced = *new;
}

/* ---- addresses ---- */

static void publish_address(mdns_thread *t, const kith_interface_addr *wished)
{
    mdns_address *a = &t->addresses[t->address_count];
    AvahiAddress address = {.proto = AVAHI_PROTO_INET};
    if (wished->addr.family == KITH_FAMILY_IPV6) {
        address.proto = AVAHI_PROTO_INET6;
        memcpy(address.data.ipv6.address, wished->addr.ip, 16);
    } else {
        memcpy(&address.data.ipv4.address, wished->addr.ip, 4);
    }
    AvahiSEntryGroup *group = avahi_s_entry_group_new(t->server, on_group, t);
    if (!group) return;
    /* No reverse record: an avahi-daemon beside us has announced it with the machine's own name. */
    int status = avahi_server_add_address(t->server, group, (AvahiIfIndex)wished->index, AVAHI_PROTO_UNSPEC,
                                          AVAHI_PUBLISH_NO_REVERSE, t->host, &address);
    if (status == AVAHI_OK) status = avahi_s_entry_group_commit(group);
    if (status != AVAHI_OK) {
        avahi_s_entry_group_free(group);
        return;
    }
    *a = (mdns_address){.interface = wished->index, .addr = wished->addr, .group = group, .keep = true};
    t->address_count++;
}

static mdns_address *find_address(mdns_thread *t, const kith_interface_addr *wished)
{
    for (size_t i = 0; i < t->address_count; i++) {
        mdns_address *a = &t->addresses[i];
        if (a->interface == wished->index && kith_addr_same_ip(&a->addr, &wished->addr)) return a;
    }
    return NULL;
}

static void drop_addresses(mdns_thread *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->address_count; i++) {
        if (t->addresses[i].keep)
            t->addresses[kept++] = t->addresses[i];
        else
            avahi_s_entry_group_free(t->addresses[i].group);
    }
    t->address_count = kept;
}

static void update_addresses(mdns_thread *t)
{
    for (size_t i = 0; i < t->address_count; i++) t->addresses[i].keep = false;
    for (size_t i = 0; i < t->wish.addr_count; i++) {
        mdns_address *a = find_address(t, &t->wish.addrs[i]);
        if (a) a->keep = true;
    }
    drop_addresses(t);
    for (size_t i = 0; i < t->wish.addr_count && t->address_count < KITH_LAN_ANNOUNCED_MAX; i++) {
        if (!find_address(t, &t->wish.addrs[i])) publish_address(t, &t->wish.addrs[i]);
    }
}

/* ---- all of it ---- */

static void withdraw(mdns_thread *t)
{
    if (t->service) avahi_s_entry_group_free(t->service);
    t->service = NULL;
    for (size_t i = 0; i < t->address_count; i++) t->addresses[i].keep = false;
    drop_addresses(t);
}

void kith__mdns_announce(mdns_thread *t)
{
    if (!t->wish.announce) {
        withdraw(t);
        t->name[0] = 0;
        return;
    }
    /* Another instance than before; after a collision `name` is not the one that was wished. */
    if (!t->name[0] || strcmp(t->announced.instance, t->wish.record.instance) != 0) {
        withdraw(t);
        memcpy(t->name, t->wish.record.instance, sizeof t->name);
        make_host(t);
    }
    if (t->service)
        update_service(t);
    else
        publish_service(t);
    update_addresses(t);
    kith__mdns_timeout(t, t->settled, SETTLE_MS);
}

static bool is_established(AvahiSEntryGroup *group)
{
    AvahiEntryGroupState state = avahi_s_entry_group_get_state(group);
    return state == AVAHI_ENTRY_GROUP_ESTABLISHED || state == AVAHI_ENTRY_GROUP_COLLISION; /* that one is renamed */
}

bool kith__mdns_announce_is_stuck(const mdns_thread *t)
{
    if (t->service && !is_established(t->service)) return true;
    for (size_t i = 0; i < t->address_count; i++)
        if (!is_established(t->addresses[i].group)) return true;
    return false;
}

void kith__mdns_announce_again(mdns_thread *t)
{
    withdraw(t);
    kith__mdns_announce(t);
}

void kith__mdns_announce_renamed(mdns_thread *t)
{
    withdraw(t);
    next_name(t);
    make_host(t);
    kith__mdns_announce(t);
}

void kith__mdns_announce_forget(mdns_thread *t)
{
    t->service = NULL;
    t->address_count = 0;
}
