/* The `lan` part of the real env: DNS-SD over mDNS with Avahi's core, on a thread of its own. */
#ifndef KITH_IO_MDNS_H
#define KITH_IO_MDNS_H

#include "env/env.h"

extern const kith_env_lan kith_io_lan;

#endif
