/* What a program says to a daemon, and the other way round: no crash; strings end within the message; what is read is
 * written, and read again is written as the same bytes. */
#include "service/daemon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t message[KITH_DAEMON_FRAME_MAX + 1], first[KITH_DAEMON_FRAME_MAX + 1], second[KITH_DAEMON_FRAME_MAX];

static void check_text(const char *text, size_t size)
{
    if (!text) return;
    if ((const uint8_t *)text < message || (const uint8_t *)text + strlen(text) > message + size) abort();
}

static void request(const uint8_t *data, size_t size)
{
    kith_daemon_request r, again;
    memcpy(message, data, size);
    if (kith_daemon_request_read(message, size, &r)) return;
    check_text(r.device, size);
    check_text(r.text, size);
    check_text(r.name, size);
    for (size_t i = 0; i < KITH_DOCTOR_STUN_MAX; i++) check_text(r.stun[i], size);
    if (r.data && (r.data < message || r.data + r.data_size > message + size)) abort();
    if (kith_daemon_begins(r.kind) && (r.op == 0 || r.op > KITH_DAEMON_OP_MAX)) abort();
    size_t written = kith_daemon_request_write(&r, first, KITH_DAEMON_FRAME_MAX);
    if (written != size || memcmp(first, data, size) != 0) abort(); /* it has one form */
    if (kith_daemon_request_read(first, written, &again)) abort();
}

static void answer(const uint8_t *data, size_t size)
{
    static kith_daemon_answer a, again;
    memcpy(message, data, size);
    if (kith_daemon_answer_read(message, size, &a)) return;
    size_t written = kith_daemon_answer_write(&a, first, KITH_DAEMON_FRAME_MAX);
    if (written == 0 || written > size) abort();
    memcpy(message, first, written);
    if (kith_daemon_answer_read(message, written, &again)) abort();
    size_t twice = kith_daemon_answer_write(&again, second, sizeof second);
    if (twice > written) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > KITH_DAEMON_FRAME_MAX) return 0;
    request(data, size);
    answer(data, size);
    return 0;
}
