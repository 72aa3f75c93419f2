/* WebSockets (RFC 6455): how a client opens one, and frames in both directions.  No I/O, no clock, and no memory of its
 * own.  Messages are binary; text is refused, and so are extensions. */
#ifndef KITH_WIRE_WEBSOCKET_H
#define KITH_WIRE_WEBSOCKET_H

#include "base/url.h"

#include <stddef.h>

/* ---- opening (section 4) ---- */
#define KITH_WEBSOCKET_NONCE_SIZE       16 /* random bytes of a key */
#define KITH_WEBSOCKET_KEY_SIZE         25 /* their base64 and a NUL */
#define KITH_WEBSOCKET_ACCEPT_SIZE      29 /* base64 of SHA-1 and a NUL */
#define KITH_WEBSOCKET_HOST_SIZE        (KITH_URL_HOST_SIZE + 8)
#define KITH_WEBSOCKET_REQUEST_MAX      2048 /* bytes of what the two below write, and a NUL */
#define KITH_WEBSOCKET_HEAD_MAX         8192 /* bytes of an answer that are read, its empty line included */
#define KITH_WEBSOCKET_STATUS_SWITCHING 101

void kith_websocket_key(const uint8_t nonce[static KITH_WEBSOCKET_NONCE_SIZE],
                        char out[static KITH_WEBSOCKET_KEY_SIZE]);
/* What the server answers to a key: base64 of SHA-1 of the key and a GUID (section 4.2.2). */
void kith_websocket_accept(const char *key, char out[static KITH_WEBSOCKET_ACCEPT_SIZE]);
/* "host", or "host:port" where the port is not the scheme's, as a client says whom it wants. */
void kith_websocket_host(const kith_url *url, char out[static KITH_WEBSOCKET_HOST_SIZE]);
/* The client's request; `subprotocol` may be NULL.  LIMIT: too long. */
KITH_MUST_CHECK kith_err kith_websocket_request(const kith_url *url, const char *key, const char *subprotocol,
                                                char out[static KITH_WEBSOCKET_REQUEST_MAX]);
/* What an HTTP proxy is asked for a tunnel (RFC 9110 section 9.3.6); `user` is "name:password" for it, "" for none.
 * LIMIT: too long. */
KITH_MUST_CHECK kith_err kith_websocket_tunnel_request(const kith_url *url, const char *user,
                                                       char out[static KITH_WEBSOCKET_REQUEST_MAX]);

/* Where the head of an HTTP answer ends: *head is its size with the empty line, 0 when more bytes are needed, and
 * *status what it says, when there is a head.  FORMAT: it does not begin as HTTP/1.x does; LIMIT: more than HEAD_MAX
 * bytes. */
KITH_MUST_CHECK kith_err kith_websocket_head(const void *data, size_t size, size_t *head, unsigned *status);
/* Whether this head agrees to what was asked: 101, to a WebSocket, with the answer to this key, this subprotocol (NULL:
 * none) and no extension.  DECLINED: it does not. */
KITH_MUST_CHECK kith_err kith_websocket_agreed(const void *head, size_t size, const char *key, const char *subprotocol);

/* ---- frames (section 5) ---- */
#define KITH_WEBSOCKET_MASK_SIZE       4
#define KITH_WEBSOCKET_FRAME_HEAD_MAX  14  /* bytes before a frame's payload */
#define KITH_WEBSOCKET_CONTROL_MAX     125 /* bytes of a control frame's payload */
#define KITH_WEBSOCKET_CLOSE_CODE_SIZE 2

typedef enum kith_websocket_opcode {
    KITH_WEBSOCKET_CONTINUE = 0,
    KITH_WEBSOCKET_TEXT = 1,
    KITH_WEBSOCKET_BINARY = 2,
    KITH_WEBSOCKET_CLOSE = 8,
    KITH_WEBSOCKET_PING = 9,
    KITH_WEBSOCKET_PONG = 10,
} kith_websocket_opcode;

/* Close codes (section 7.4.1) that are said here. */
enum {
    KITH_WEBSOCKET_CODE_NORMAL = 1000,
    KITH_WEBSOCKET_CODE_PROTOCOL = 1002,
    KITH_WEBSOCKET_CODE_TYPE = 1003,
    KITH_WEBSOCKET_CODE_TOO_BIG = 1009,
};

/* The head of a whole message's frame, or of a control frame; `mask` is NULL for a server's.  Its size. */
size_t kith_websocket_write_head(uint8_t out[static KITH_WEBSOCKET_FRAME_HEAD_MAX], kith_websocket_opcode opcode,
                                 size_t payload_size, const uint8_t *mask);
/* A close frame's payload. */
void kith_websocket_write_code(uint8_t out[static KITH_WEBSOCKET_CLOSE_CODE_SIZE], unsigned code);
/* Mask or unmask (section 5.3) what begins at `offset` of a payload; `out` may be `in`. */
void kith_websocket_mask(uint8_t *out, const uint8_t *in, size_t size,
                         const uint8_t mask[static KITH_WEBSOCKET_MASK_SIZE], uint64_t offset);

/* Reads in the user's memory, where bytes are received, and messages are put together in place: one that came in one
 * frame is not copied. */
typedef struct kith_websocket_reader {
    uint8_t *bytes;
    size_t size;               /* of that memory */
    size_t message_max;        /* bytes of a message */
    bool masked;               /* the other side is a client: what it sends has to be masked, else must not be */
    size_t begin, end;         /* bytes that were received and are still to be read */
    size_t held_at, held_size; /* of a message of which the rest is to come; before `begin` */
    uint64_t left;             /* bytes of this data frame's payload that are to be read */
    uint64_t offset;           /* and those read */
    uint8_t mask[KITH_WEBSOCKET_MASK_SIZE];
    bool in_message; /* its first frame began */
    bool in_frame;   /* of data */
    bool is_last;    /* frame of its message */
    bool broken;
} kith_websocket_reader;

/* The memory that a reader needs at least. */
#define KITH_WEBSOCKET_READER_MIN(message_max)                                                                         \
    ((message_max) + 2 * KITH_WEBSOCKET_FRAME_HEAD_MAX + KITH_WEBSOCKET_CONTROL_MAX)

typedef enum kith_websocket_event {
    KITH_WEBSOCKET_MORE,    /* bytes are needed */
    KITH_WEBSOCKET_MESSAGE, /* a whole one */
    KITH_WEBSOCKET_PINGED,  /* its payload is to be sent back as a pong */
    KITH_WEBSOCKET_CLOSED,  /* the other side's last frame; `code` is why, 0 without; it wants one back */
    KITH_WEBSOCKET_BROKEN,  /* the rules were broken; `code` is what to close with; nothing else comes */
} kith_websocket_event;

typedef struct kith_websocket_item {
    uint8_t *data; /* of MESSAGE, PINGED: in the reader's memory, until bytes are received again; may be changed */
    size_t size;
    unsigned code;
} kith_websocket_item;

/* `size` is READER_MIN(message_max) or more, and HEAD_MAX for who reads an opening here. */
void kith_websocket_reader_init(kith_websocket_reader *r, void *memory, size_t size, size_t message_max, bool masked);
/* Where bytes may be received now: never none, if the items there were have been taken. */
uint8_t *kith_websocket_room(kith_websocket_reader *r, size_t *size);
void kith_websocket_received(kith_websocket_reader *r, size_t size); /* so many, at the start of the room */
/* The bytes not yet read, and to pass over some: an opening that comes before all frames. */
const uint8_t *kith_websocket_unread(const kith_websocket_reader *r, size_t *size);
void kith_websocket_skip(kith_websocket_reader *r, size_t size);
/* The next item of what was received.  Pongs are passed over: nobody has to answer them. */
kith_websocket_event kith_websocket_next(kith_websocket_reader *r, kith_websocket_item *out);

#endif
