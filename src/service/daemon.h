/* What a program and the running node of its home (a *daemon*, such as `kith up`) say to each other over a local
 * socket: each call of kith.h on a node is a *request*, and what comes of it an *answer*.  docs/protocol-daemon.md has
 * the bytes: a length (4 bytes, big-endian), then a CBOR map of that many whose key 0 is the kind.
 *
 * Strings are byte strings, since paths need not be UTF-8.  What is 0, false or "" is left out.  Members and kinds that
 * are not known are an error: both ends speak the same version, which the first message of each says, and whose form
 * stays as it is in all versions. */
#ifndef KITH_SERVICE_DAEMON_H
#define KITH_SERVICE_DAEMON_H

#include "service/talk.h"

#include <kith/kith.h>

#define KITH_DAEMON_PROTOCOL  1
#define KITH_DAEMON_HEAD      4                                /* bytes of the length */
#define KITH_DAEMON_FRAME_MAX (KITH_TALK_MESSAGE_MAX + 16384u) /* bytes after it */
#define KITH_DAEMON_FIXED_MAX 16384u                           /* of one without a message's data */
#define KITH_DAEMON_OP_MAX    UINT32_MAX                       /* numbers that clients give operations */
#define KITH_DAEMON_ADDRESSES 16
#define KITH_DAEMON_VERSION   32  /* bytes of a version's text, and NUL */
#define KITH_DAEMON_URL       256 /* of a relay's, and NUL; longer ones are cut */

typedef enum kith_daemon_kind {
    /* requests */
    KITH_DAEMON_HELLO = 1, /* first in both directions */
    KITH_DAEMON_PAIR,
    KITH_DAEMON_JOIN,
    KITH_DAEMON_PING,
    KITH_DAEMON_LOOK,
    KITH_DAEMON_DOCTOR,
    KITH_DAEMON_SEND,    /* with the file's descriptor */
    KITH_DAEMON_RECEIVE, /* with the folder's, if there is one */
    KITH_DAEMON_CONNECT,
    KITH_DAEMON_SERVE,
    KITH_DAEMON_INBOX,        /* which offers wait? */
    KITH_DAEMON_INBOX_ANSWER, /* one of them is taken, or not */
    KITH_DAEMON_DOWN,         /* end the daemon */
    /* ... about an operation under way, or a part of it */
    KITH_DAEMON_ANSWER,
    KITH_DAEMON_RECEIVE_FILE, /* with the descriptor of the folder */
    KITH_DAEMON_MESSAGE,      /* and an answer */
    KITH_DAEMON_DATAGRAM,     /* and an answer */
    KITH_DAEMON_FINISH,
    KITH_DAEMON_TAKEN,
    KITH_DAEMON_CANCEL,
    /* ... and one more that begins */
    KITH_DAEMON_PIN,
    /* answers */
    KITH_DAEMON_EVENT = 32, /* of kith.h */
    KITH_DAEMON_CONFIRMED,  /* the peer of a connection took so much */
    KITH_DAEMON_STATUS,     /* how a connection stands */
    /* within a process */
    KITH_DAEMON_UP = 64, /* be the daemon */
} kith_daemon_kind;

/* Each kind uses some of the members; the others are 0. */
typedef struct kith_daemon_request {
    kith_daemon_kind kind;
    kith_op op;         /* what begins, by a number of the client's; or what is meant, as answers call it */
    const char *device; /* id */
    const char *text;   /* words, topic, device that is announced, path or folder as the client calls it, or its
                         * version */
    const char *name;   /* what a file or a device is to be called */
    const char *stun[KITH_DOCTOR_STUN_MAX];
    bool yes, contact, once, ask, inbox, replace, strangers;
    uint32_t count;   /* pings; or the client's protocol */
    uint32_t seconds; /* patience, or a code's life */
    uint32_t choice;  /* a kith_path or kith_conflict */
    uint64_t number;  /* messages taken; or which offer of the inbox */
    uint64_t bytes;   /* of messages taken */
    const uint8_t *data;
    size_t data_size;
} kith_daemon_request;

#define KITH_DAEMON_REVOKED 256
/* The daemon's hello. */
typedef struct kith_daemon_hello {
    uint32_t protocol;
    char version[KITH_DAEMON_VERSION];
    uint64_t pid;
    int64_t since_ms;
    char folder[KITH_PATH_NAME_MAX]; /* where its own receive puts files; "": it receives nothing */
    char addresses[KITH_DAEMON_ADDRESSES][KITH_ADDRESS_TEXT]; /* up to the first "" */
    char relays[KITH_OPTIONS_RELAYS_MAX][KITH_DAEMON_URL];
    uint32_t relays_up;                /* bit i: relays[i] serves us */
    char twin[KITH_ADDRESS_TEXT];      /* where else its identity is announced; "": nowhere */
    char revoked[KITH_DAEMON_REVOKED]; /* that own devices have revoked it, and why; "": they have not said so */
} kith_daemon_hello;

typedef struct kith_daemon_answer {
    kith_daemon_kind kind;
    kith_op op;          /* not of EVENT and HELLO */
    uint64_t costs;      /* CONFIRMED */
    bool finishing;      /* STATUS */
    const uint8_t *data; /* MESSAGE, DATAGRAM */
    size_t data_size;
    union {
        kith_event event; /* its data is never set */
        kith_daemon_hello hello;
        kith_remote_device_info info;
    };
} kith_daemon_answer;

bool kith_daemon_begins(kith_daemon_kind kind);        /* a request that an END event follows */
bool kith_daemon_has_fd(const kith_daemon_request *r); /* a descriptor comes with it, when it is sent */

/* Write one without its length: how many bytes, at most `cap`, and KITH_DAEMON_FIXED_MAX and the data's size are
 * enough; 0: it does not fit, or its strings are too long. */
size_t kith_daemon_request_write(const kith_daemon_request *r, void *out, size_t cap);
size_t kith_daemon_answer_write(const kith_daemon_answer *a, void *out, size_t cap);

/* Read one.  The memory is changed (strings get their NUL), and one byte more than `size` of it is used; what is read
 * points into it.  PROTOCOL: it is none, has what its kind does not have, or lacks what it needs.  VERSION: a HELLO of
 * another protocol, of which `count` (`hello.protocol`) and the version's text are filled in. */
KITH_MUST_CHECK kith_err kith_daemon_request_read(uint8_t *data, size_t size, kith_daemon_request *out);
KITH_MUST_CHECK kith_err kith_daemon_answer_read(uint8_t *data, size_t size, kith_daemon_answer *out);

#endif
