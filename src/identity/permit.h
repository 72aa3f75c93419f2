/* Who may do what: one table, closed by default.  A service asks here before it serves a stream; nothing else decides.
 *
 *                own     contact   one-time   unknown
 *     hello      allow   allow     allow      allow      who are you: the first bytes of every connection
 *     pair       allow   allow     allow      allow      guarded by the code itself
 *     ping       allow   allow     deny       deny
 *     file       allow   ask       ask        deny       being sent files; asking back is the receiving person's answer
 *     talk       allow   ask       deny       deny       connections of applications; ask: where one serves contacts
 *
 * A service that is added gets a row; what has none is denied. */
#ifndef KITH_IDENTITY_PERMIT_H
#define KITH_IDENTITY_PERMIT_H

typedef enum kith_permit { KITH_DENY, KITH_ASK, KITH_ALLOW } kith_permit;

typedef enum kith_service {
    KITH_SERVICE_HELLO,
    KITH_SERVICE_PAIR,
    KITH_SERVICE_PING,
    KITH_SERVICE_FILE,
    KITH_SERVICE_TALK
} kith_service;

typedef enum kith_standing {
    KITH_STANDING_UNKNOWN,  /* nobody we know, or hello is not verified yet */
    KITH_STANDING_ONE_TIME, /* knows a one-time code, good for this connection */
    KITH_STANDING_CONTACT,  /* somebody else's device, pinned */
    KITH_STANDING_OWN,      /* this person's own device */
} kith_standing;

/* DENY for numbers outside the table too. */
kith_permit kith_permit_of(kith_service service, kith_standing standing);

#endif
