/* STUN (RFC 8489) as far as "which address do you see me at" needs it: Binding requests and their answers.  A codec
 * without I/O; who sends a request repeats it and compares the transaction id.  MESSAGE-INTEGRITY is in
 * crypto/stun_integrity.h. */
#ifndef KITH_WIRE_STUN_H
#define KITH_WIRE_STUN_H

#include "base/addr.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_STUN_HEADER         20
#define KITH_STUN_ID_SIZE        12
#define KITH_STUN_MESSAGE_MAX    8972 /* bytes; larger is not read: of a packet of 9,000, as jumbo frames have them */
#define KITH_STUN_REQUEST_SIZE   KITH_STUN_HEADER
#define KITH_STUN_ANSWER_MAX     96 /* of what kith_stun_answer writes */
#define KITH_STUN_UNKNOWN_MAX    8  /* attributes that an error answer names */
#define KITH_STUN_ELSEWHERE_SIZE (KITH_STUN_HEADER + 16)

/* CHANGE-REQUEST's flags (RFC 5780 section 7.2): answer from another address, or port. */
#define KITH_STUN_CHANGE_IP   4u
#define KITH_STUN_CHANGE_PORT 2u

/* RFC 8489 sections 5 and 18.2: the class and method of a Binding, and attribute types. */
typedef enum kith_stun_type {
    KITH_STUN_REQUEST = 0x0001,
    KITH_STUN_INDICATION = 0x0011,
    KITH_STUN_SUCCESS = 0x0101,
    KITH_STUN_ERROR = 0x0111,
} kith_stun_type;

typedef enum kith_stun_attribute {
    KITH_STUN_MAPPED_ADDRESS = 0x0001,
    KITH_STUN_CHANGE_REQUEST = 0x0003,
    KITH_STUN_MESSAGE_INTEGRITY = 0x0008,
    KITH_STUN_ERROR_CODE = 0x0009,
    KITH_STUN_UNKNOWN_ATTRIBUTES = 0x000a,
    KITH_STUN_XOR_MAPPED_ADDRESS = 0x0020,
    KITH_STUN_RESPONSE_PORT = 0x0027,
    KITH_STUN_FINGERPRINT = 0x8028,
    KITH_STUN_FILLING = 0xff4b, /* not assigned: ours */
} kith_stun_attribute;

typedef struct kith_stun_message {
    kith_stun_type type;
    const uint8_t *id;                       /* KITH_STUN_ID_SIZE bytes */
    kith_addr mapped;                        /* XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS; FAMILY_NONE without */
    uint16_t error;                          /* ERROR-CODE's number (300 to 699); 0 without */
    bool fingerprint;                        /* there was one, and it was right */
    uint32_t change;                         /* CHANGE-REQUEST's flags; 0 without */
    uint16_t response_port;                  /* RESPONSE-PORT: where at the asker's address to answer; 0 without */
    size_t integrity_at;                     /* where MESSAGE-INTEGRITY (SHA-1) begins in the message; 0 without */
    uint16_t unknown[KITH_STUN_UNKNOWN_MAX]; /* types that have to be understood (below 0x8000), and are not */
    size_t unknown_count; /* CHANGE-REQUEST and RESPONSE-PORT are among them: see kith_stun_understand */
} kith_stun_message;

/* Whether a datagram is STUN at all: the first two bits zero, the magic cookie, and the length that it says
 * (section 6.3.1). */
bool kith_stun_is(const void *data, size_t size);
/* FORMAT: not a Binding message in form, or its FINGERPRINT is wrong.  A view into `data`.  What comes after
 * MESSAGE-INTEGRITY is ignored, but for FINGERPRINT, which is last. */
KITH_MUST_CHECK kith_err kith_stun_read(const void *data, size_t size, kith_stun_message *out);
void kith_stun_write_request(const uint8_t id[static KITH_STUN_ID_SIZE], uint8_t out[static KITH_STUN_REQUEST_SIZE]);
/* The same, made `size` bytes long by an attribute that who does not know it ignores: REQUEST_SIZE, or a multiple of 4
 * that is larger, up to MESSAGE_MAX. */
void kith_stun_write_padded(const uint8_t id[static KITH_STUN_ID_SIZE], uint8_t *out, size_t size);
/* A request as RFC 5780 has it (sections 7.2 and 7.5): to be answered from another port, or not, and to this port of
 * the asker's address. */
void kith_stun_write_elsewhere(const uint8_t id[static KITH_STUN_ID_SIZE], bool other_port, uint16_t response_port,
                               uint8_t out[static KITH_STUN_ELSEWHERE_SIZE]);
/* Who is to answer does understand this attribute: it is no unknown one. */
void kith_stun_understand(kith_stun_message *request, kith_stun_attribute attribute);
/* The answer to a request that came from `from`: its XOR-MAPPED-ADDRESS, and FINGERPRINT when the request had one; or
 * error 420 naming what was not understood.  The size; 0: it was no request, or `from` is no address. */
size_t kith_stun_answer(const kith_stun_message *request, const kith_addr *from,
                        uint8_t out[static KITH_STUN_ANSWER_MAX]);

#endif
