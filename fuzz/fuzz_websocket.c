/* WebSockets: an answer to an opening, or frames, as the first byte says.  No crash; what frames say does not depend on
 * where the stream was cut. */
#include "wire/websocket.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 200
#define MEMORY_SIZE KITH_WEBSOCKET_READER_MIN(MESSAGE_MAX)

typedef struct summary {
    unsigned items, code;
    uint64_t sum;
} summary;

static void add(summary *s, kith_websocket_event event, const kith_websocket_item *item)
{
    if (item->size > MESSAGE_MAX) abort();
    s->items++;
    s->code = item->code;
    s->sum = s->sum * 31 + event;
    if (event == KITH_WEBSOCKET_BROKEN || event == KITH_WEBSOCKET_CLOSED) return;
    for (size_t i = 0; i < item->size; i++) s->sum = s->sum * 31 + item->data[i] + 1;
}

static summary read_frames(const uint8_t *data, size_t size, bool masked, size_t step)
{
    uint8_t *memory = malloc(MEMORY_SIZE);
    kith_websocket_reader r;
    summary s = {0};
    kith_websocket_reader_init(&r, memory, MEMORY_SIZE, MESSAGE_MAX, masked);
    for (size_t at = 0; at < size && !r.broken;) {
        size_t room;
        uint8_t *to = kith_websocket_room(&r, &room);
        kith_websocket_item item;
        if (!room) abort();
        if (room > step) room = step;
        if (room > size - at) room = size - at;
        memcpy(to, data + at, room);
        kith_websocket_received(&r, room);
        at += room;
        for (kith_websocket_event event; (event = kith_websocket_next(&r, &item)) != KITH_WEBSOCKET_MORE;)
            add(&s, event, &item);
    }
    free(memory);
    return s;
}

static void read_answer(const uint8_t *data, size_t size)
{
    size_t head = 0;
    unsigned status;
    if (kith_websocket_head(data, size, &head, &status) || !head) return;
    if (head > size || head > KITH_WEBSOCKET_HEAD_MAX || status > 999) abort();
    if (!kith_websocket_agreed(data, head, "dGhlIHNhbXBsZSBub25jZQ==", size % 2 ? "chat" : NULL) && status != 101)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    if (data[0] == 'H') {
        read_answer(data, size);
        return 0;
    }
    bool masked = data[0] & 1;
    summary whole = read_frames(data + 1, size - 1, masked, SIZE_MAX);
    summary cut = read_frames(data + 1, size - 1, masked, 1 + data[0] / 2);
    if (whole.items != cut.items || whole.code != cut.code || whole.sum != cut.sum) abort();
    return 0;
}
