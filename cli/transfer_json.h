/* The events of a transfer that scripts depend on, the same for sending and receiving. */
#ifndef KITH_CLI_TRANSFER_JSON_H
#define KITH_CLI_TRANSFER_JSON_H

#include <kith/kith.h>

void json_start(const kith_event *event);
void json_progress(const kith_event *event);
void json_done(const kith_event *event, double seconds);

#endif
