/* A whole node: what applications ask for (pairing, pings, files, connections), over the sessions of src/node. */
#ifndef KITH_OP_OP_H
#define KITH_OP_OP_H

#include "node/node.h"

KITH_MUST_CHECK kith_err kith_core_new(const kith_core_config *config, kith_core **out, kith_problem *problem);

/* As in kith.h; what is wrong is said by the op's END event.  `op` is chosen by the caller, unique and not 0. */
void kith_core_pair(kith_core *core, kith_op op, const kith_pair_options *options);
void kith_core_join(kith_core *core, kith_op op, const char *words, const kith_pair_options *options);
void kith_core_ping(kith_core *core, kith_op op, const char *device_id, uint32_t count);
void kith_core_look(kith_core *core, kith_op op, bool strangers);
void kith_core_pin(kith_core *core, kith_op op, const char *device, const kith_pin_options *options);
void kith_core_doctor(kith_core *core, kith_op op, const kith_doctor_options *options);
void kith_core_send_file(kith_core *core, kith_op op, const char *device_id, const char *path,
                         const kith_send_options *options);
/* Beside others: the newest that wants what a device sends takes it.  That one application has one is its owner's rule.
 */
void kith_core_receive(kith_core *core, kith_op op, const kith_receive_options *options);
void kith_core_receive_file(kith_core *core, kith_op transfer, const char *path, kith_conflict conflict);
void kith_core_connect(kith_core *core, kith_op op, const char *device_id, const kith_connect_options *options);
void kith_core_serve(kith_core *core, kith_op op, const char *topic, const kith_serve_options *options);
/* Takes the message.  The owner counts what was not confirmed, so that it stays below KITH_UNDELIVERED_MAX. */
void kith_core_send_message(kith_core *core, kith_op connection, kith_talk_message *message);
void kith_core_send_datagram(kith_core *core, kith_op connection, const void *data, size_t size); /* or lose it */
void kith_core_finish(kith_core *core, kith_op connection);
/* The application has these of what kith_core_talk.message gave, in order. */
void kith_core_taken(kith_core *core, kith_op connection, uint64_t messages, size_t bytes);

#endif
