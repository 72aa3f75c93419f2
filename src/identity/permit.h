/* Who may do what: one table, closed by default.  A service asks here before it serves a stream; nothing else decides.
 *
 *                own     contact   one-time   unknown
 *     hello      allow   allow     allow      allow      who are you: the first bytes of every connection
 *     pair       allow   allow     allow      allow      guarded by the code itself
 *     ping       allow   allow     deny       deny
 *     file       allow   ask       ask        deny       being sent files; asking back is the receiving person's answer
 *     talk       allow   ask       deny       deny       connections of applications; ask: where one serves contacts
 *     trust      allow   deny      deny       deny       the trust graph: which devices are one's own
 *
 * A service that is added gets a row; what has none is denied.  For a pinned device each of ping, file and talk can be
 * said otherwise: an *override*, which counts in place of the table's answer. */
#ifndef KITH_IDENTITY_PERMIT_H
#define KITH_IDENTITY_PERMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kith_access { KITH_DENY, KITH_ASK, KITH_ALLOW } kith_access;

typedef enum kith_service { /* the numbers are in trust.cbor */
                            KITH_SERVICE_HELLO = 0,
                            KITH_SERVICE_PAIR = 1,
                            KITH_SERVICE_PING = 2,
                            KITH_SERVICE_FILE = 3,
                            KITH_SERVICE_TALK = 4,
                            KITH_SERVICE_TRUST = 5,
                            KITH_SERVICES
} kith_service;

typedef enum kith_standing {
    KITH_STANDING_UNKNOWN,  /* nobody we know, or hello is not verified yet */
    KITH_STANDING_ONE_TIME, /* knows a one-time code, good for this connection */
    KITH_STANDING_CONTACT,  /* somebody else's device, pinned */
    KITH_STANDING_OWN,      /* this person's own device */
} kith_standing;

/* What was said otherwise for one device, by the service's number: 0 nothing, else 1 + the access.  Numbers of
 * services that this version does not know are kept and mean nothing. */
#define KITH_OVERRIDES_MAX 16
typedef struct kith_overrides {
    uint8_t of[KITH_OVERRIDES_MAX];
} kith_overrides;

/* The table's answer.  DENY for numbers outside the table too. */
kith_access kith_permit_of(kith_service service, kith_standing standing);
/* The answer for a device with these overrides.  They count for own devices and contacts alone. */
kith_access kith_permit_for(kith_service service, kith_standing standing, const kith_overrides *overrides);
/* Is it said otherwise for this device? */
bool kith_permit_overridden(kith_service service, const kith_overrides *overrides);
/* Can it be?  hello and pair cannot: who may not say hello is to be forgotten; and nobody is asked about a ping. */
bool kith_permit_settable(kith_service service, kith_access access);
/* A service that can be overridden, by its name ("file"); false: there is none.  And its name; NULL: none. */
bool kith_permit_find(const char *name, kith_service *service);
const char *kith_permit_name(kith_service service);
/* Only values that there are. */
bool kith_overrides_valid(const kith_overrides *overrides);

#endif
