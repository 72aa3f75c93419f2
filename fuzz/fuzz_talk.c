/* One end of a connection, given anything its peer may say: no crash, it is over once, holds no more than its window,
 * and says nothing after its end of the stream.  The first byte picks the end, whether messages wait and are taken, and
 * after how many bytes the stream is lost once; the second how the rest is cut. */
#include "base/mem.h"
#include "service/talk_bytes.h"

#include <stdlib.h>

typedef struct side {
    kith_talk *talk;
    uint8_t mode;
    bool fin;
    unsigned overs;
    size_t held, read;
} side;

static void step(side *s)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    for (kith_talk_event e; (e = kith_talk_event_take(s->talk));) {
        s->overs += e == KITH_TALK_OVER;
        if (e != KITH_TALK_MESSAGE) continue;
        kith_talk_message *m = kith_talk_take(s->talk);
        if (!m || m->size > KITH_TALK_MESSAGE_MAX) abort();
        s->held += m->size + KITH_TALK_COST;
        if (s->held > KITH_TALK_WINDOW) abort();
        if (s->mode & 4) {
            kith_talk_taken(s->talk, 1, m->size);
            s->held -= m->size + KITH_TALK_COST;
        }
        kith_free(m);
    }
    while (kith_talk_output(s->talk, &data, &size, &fin)) {
        if (s->fin) abort();
        s->fin = fin;
        for (size_t i = 0; i < size; i += 64) s->read += data[i]; /* it can be read */
    }
    if (s->overs > 1 || (!s->overs && kith_talk_error(s->talk))) abort();
}

static void begin(side *s)
{
    kith_talk_open open = {.topic = "t"};
    bool opener = s->mode & 1;
    s->fin = false;
    kith_err err = kith_talk_begin(s->talk, opener ? NULL : &open);
    step(s);
    if (err && !s->overs) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t id[KITH_TALK_ID_SIZE];
    side s = {0};
    if (size < 2) return 0;
    s.mode = data[0];
    size_t split = data[1] ? data[1] : SIZE_MAX, lost_at = (size_t)(data[0] >> 4) * 8, at = 2;
    if (!(s.mode & 1)) { /* and what an owner reads before it has an end at all */
        kith_talk_inbox inbox = {0};
        kith_talk_open open;
        size_t used;
        if (kith_talk_open_read(&inbox, data + 2, size - 2, &used, &open) == KITH_OK &&
            (open.taken > open.received || !kith_talk_topic_good(open.topic)))
            abort();
        if (used > size - 2) abort();
    }
    if (kith_talk_new(s.mode & 1, id, "t", &s.talk)) abort();
    for (int i = 0; s.mode & 2 && i < 3; i++)
        if (kith_talk_send(s.talk, kith_talk_message_new("message", 7))) abort();
    begin(&s);
    while (at < size) {
        size_t n = size - at < split ? size - at : split;
        kith_talk_input(s.talk, data + at, n, false);
        at += n;
        step(&s);
        if (s.mode & 8) kith_talk_finish(s.talk);
        if (lost_at && at >= lost_at) {
            lost_at = 0;
            kith_talk_apart(s.talk);
            begin(&s);
        }
    }
    kith_talk_input(s.talk, NULL, 0, true);
    step(&s);
    if (!s.overs && s.mode & 4) abort(); /* an end of the stream ends it, well or not, once all is taken */
    kith_talk_free(s.talk);
    return 0;
}
