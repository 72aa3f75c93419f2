/* Errors as the wire knows them: few, stable, and saying nothing of the inside of a device. */
#ifndef KITH_SERVICE_WIRE_ERROR_H
#define KITH_SERVICE_WIRE_ERROR_H

#include <kith/error.h>
#include <stdint.h>

/*    name          number  our errors that become it first; the one a reader makes of it */
#define KITH_WIRE_ERRORS(X)                                                                                            \
    X(INTERNAL, 1, KITH_ERR_INTERNAL)                                                                                  \
    X(PROTOCOL, 2, KITH_ERR_PROTOCOL)                                                                                  \
    X(DECLINED, 3, KITH_ERR_DECLINED)                                                                                  \
    X(NOT_ALLOWED, 4, KITH_ERR_NOT_ALLOWED)                                                                            \
    X(UNTRUSTED, 5, KITH_ERR_UNTRUSTED)                                                                                \
    X(CODE, 6, KITH_ERR_CODE)                                                                                          \
    X(CODE_EXPIRED, 7, KITH_ERR_CODE_EXPIRED)                                                                          \
    X(CODE_BURNT, 8, KITH_ERR_CODE_BURNT)                                                                              \
    X(BUSY, 9, KITH_ERR_AGAIN)                                                                                         \
    X(TIMEOUT, 10, KITH_ERR_TIMEOUT)                                                                                   \
    X(CANCELLED, 11, KITH_ERR_CANCELLED)                                                                               \
    X(KIND, 12, KITH_ERR_ARG)                                                                                          \
    X(STORAGE, 13, KITH_ERR_REMOTE_STORAGE)                                                                            \
    X(CORRUPT, 14, KITH_ERR_CORRUPT)                                                                                   \
    X(CHANGED, 15, KITH_ERR_CHANGED)                                                                                   \
    X(VERSION, 16, KITH_ERR_VERSION)                                                                                   \
    X(WRONG_DEVICE, 17, KITH_ERR_WRONG_DEVICE)                                                                         \
    X(SIGNATURE, 18, KITH_ERR_SIGNATURE)                                                                               \
    X(GOING_AWAY, 19, KITH_ERR_CLOSED)                                                                                 \
    X(SUPERSEDED, 20, KITH_ERR_STATE)                                                                                  \
    X(KEY_CHANGED, 21, KITH_ERR_KEY_CHANGED)                                                                           \
    X(ID_CHANGED, 22, KITH_ERR_ID_CHANGED)                                                                             \
    X(REVOKED, 23, KITH_ERR_REVOKED)

typedef enum kith_wire_error {
    KITH_WIRE_OK = 0,
#define KITH_X(name, number, err) KITH_WIRE_##name = (number),
    KITH_WIRE_ERRORS(KITH_X)
#undef KITH_X
} kith_wire_error;

/* What to say for one of our errors (what has no number of its own is INTERNAL; what our disk did is STORAGE), and what
 * to make of a number a peer said (unknown ones are PROTOCOL; 0 is KITH_OK). */
uint64_t kith_wire_error_of(kith_err err);
kith_err kith_wire_error_read(uint64_t number);

#endif
