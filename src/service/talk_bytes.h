/* The bytes of talk.h's messages: `varint type || varint length || body`, bodies CBOR maps except MESSAGE's, which is
 * the application's. */
#ifndef KITH_SERVICE_TALK_BYTES_H
#define KITH_SERVICE_TALK_BYTES_H

#include "service/talk.h"

typedef enum kith_talk_type {
    KITH_TALK_TYPE_OPEN = 1,
    KITH_TALK_TYPE_ACCEPT,
    KITH_TALK_TYPE_ENDED,
    KITH_TALK_TYPE_MESSAGE,
    KITH_TALK_TYPE_CONFIRM,
    KITH_TALK_TYPE_FINISH,
} kith_talk_type;

typedef enum kith_talk_inbox_state {
    KITH_TALK_INBOX_MORE,
    KITH_TALK_INBOX_WHOLE, /* a message with its body */
    KITH_TALK_INBOX_HEAD,  /* of a MESSAGE: its body comes next, kith_talk_inbox_length bytes */
    KITH_TALK_INBOX_BAD,
} kith_talk_inbox_state;

/* How many bytes were used: up to the end of one message, or of a MESSAGE's head. */
size_t kith_talk_inbox_add(kith_talk_inbox *inbox, const void *data, size_t size, kith_talk_inbox_state *state);
kith_talk_type kith_talk_inbox_type(const kith_talk_inbox *inbox);
size_t kith_talk_inbox_length(const kith_talk_inbox *inbox); /* of the body */
void kith_talk_inbox_clear(kith_talk_inbox *inbox);

/* Bodies of a whole message; false: not in this form. */
bool kith_talk_read_open(const kith_talk_inbox *inbox, kith_talk_open *out);
bool kith_talk_read_accept(const kith_talk_inbox *inbox, uint64_t *received, uint64_t *taken);
bool kith_talk_read_ended(const kith_talk_inbox *inbox, kith_err *why);
bool kith_talk_read_confirm(const kith_talk_inbox *inbox, uint64_t *taken);
bool kith_talk_read_finish(const kith_talk_inbox *inbox);

/* Whole messages, into out[KITH_TALK_HEAD_MAX + KITH_TALK_CONTROL_MAX]; their sizes. */
size_t kith_talk_write_open(const kith_talk_open *open, uint8_t *out);
size_t kith_talk_write_accept(uint64_t received, uint64_t taken, uint8_t *out);
size_t kith_talk_write_confirm(uint64_t taken, uint8_t *out);
size_t kith_talk_write_finish(uint8_t *out);
size_t kith_talk_write_head(size_t size, uint8_t *out); /* of a MESSAGE */

#endif
