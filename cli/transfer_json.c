#include "transfer_json.h"

#include "output.h"

/* Which of several transfers it is: only receiving has more than one. */
static void add_transfer(json_t *object, const kith_event *event)
{
    if (object && event->transfer) json_object_set_new(object, "transfer", json_integer((json_int_t)event->transfer));
}

void json_start(const kith_event *event)
{
    json_t *object =
        json_pack("{s:s, s:i, s:I, s:I, s:o, s:s, s:o}", "event", "start", "files", 1, "bytes",
                  (json_int_t)event->bytes_total, "resumed", (json_int_t)event->bytes, "name",
                  out_json_text(event->name), "path", event->path, "device", out_json_device(&event->device));
    add_transfer(object, event);
    out_event(object);
}

void json_progress(const kith_event *event)
{
    json_t *object = json_pack("{s:s, s:I, s:I, s:s, s:s}", "event", "progress", "bytes", (json_int_t)event->bytes,
                               "total", (json_int_t)event->bytes_total, "path", event->path, "scope", event->scope);
    add_transfer(object, event);
    out_event(object);
}

void json_done(const kith_event *event, double seconds)
{
    json_t *object = json_pack("{s:s, s:i, s:I, s:f, s:s}", "event", "done", "files", 1, "bytes",
                               (json_int_t)event->bytes_total, "seconds", seconds, "path", event->path);
    if (object && *event->hash) json_object_set_new(object, "hash", json_string(event->hash));
    add_transfer(object, event);
    out_event(object);
}
