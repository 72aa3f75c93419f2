/* The `lan` part of the real env: DNS-SD over mDNS (RFC 6762, 6763) with Avahi's core in the process, on a thread and a
 * poll loop of its own, so that a flood of records costs a core, never the loop.  The loop's thread leaves its wishes
 * in a box and finds the news there; env->post wakes it.
 *
 * Announced: PTR, SRV and TXT with a short life, so that a process that was killed is gone within 30 s, and one address
 * record for each address of each interface under a host name made of the instance's.  A name that collides gets a
 * number. */
#ifndef KITH_IO_MDNS_H
#define KITH_IO_MDNS_H

#include "env/env.h"

#define KITH_LAN_SERVICE_TYPE "_spacedrive._tcp"

#define KITH_LAN_INSTANCES_MAX     256  /* followed at a time */
#define KITH_LAN_NEWS_MAX          256  /* events waiting for the loop, one for each instance */
#define KITH_LAN_WANTED_MAX        256  /* prefixes */
#define KITH_LAN_ANNOUNCED_MAX     64   /* addresses of ours */
#define KITH_LAN_CACHE_ENTRIES_MAX 4096 /* Avahi's, for each interface and family: about 10 MiB when full */

extern const kith_env_lan kith_io_lan;

/* Events that were dropped because the loop did not keep up with a flood. */
uint64_t kith_io_lan_dropped(kith_lan *lan);

#endif
