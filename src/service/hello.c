#include "service/hello.h"

#include "base/buf.h"
#include "wire/cbor.h"

#include <string.h>

kith_err kith_hello_payload_write(const kith_hello *self, const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                  uint8_t *out, size_t cap, size_t *out_size)
{
    kith_writer w = kith_writer_of(out, cap);
    static const uint8_t none[KITH_HELLO_INSTANCE_SIZE];
    bool has_instance = memcmp(self->instance, none, sizeof none) != 0;
    kith_cbor_write_map(&w, has_instance ? 6 : 5);
    kith_cbor_write_uint(&w, 1);
    kith_cbor_write_uint(&w, KITH_PROTOCOL_VERSION);
    kith_cbor_write_uint(&w, 2);
    kith_cbor_write_bytes(&w, public_key, KITH_ED25519_PUBLIC_SIZE);
    kith_cbor_write_uint(&w, 3);
    kith_cbor_write_text(&w, self->name, strlen(self->name));
    kith_cbor_write_uint(&w, 4);
    kith_cbor_write_text(&w, self->os, strlen(self->os));
    kith_cbor_write_uint(&w, 5);
    kith_cbor_write_text(&w, self->hardware_model, strlen(self->hardware_model));
    if (has_instance) {
        kith_cbor_write_uint(&w, 6);
        kith_cbor_write_bytes(&w, self->instance, sizeof self->instance);
    }
    if (w.bad) return KITH_ERR_LIMIT;
    *out_size = kith_writer_size(&w);
    return KITH_OK;
}

/* Names are shown to people: nothing in them may steer a terminal or hide. */
static bool presentable(const char *text)
{
    char shown[6 * KITH_HELLO_TEXT_MAX + 1];
    return strcmp(kith_printable(text, strlen(text), shown, sizeof shown), text) == 0;
}

kith_err kith_hello_payload_read(const void *data, size_t size, kith_hello *out)
{
    kith_hello h = *out;
    uint64_t version = 0;
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (kith_cbor_need(&r, &walk, 1)) version = kith_cbor_read_uint(&r);
    if (!r.bad && version != KITH_PROTOCOL_VERSION) return version ? KITH_ERR_VERSION : KITH_ERR_FORMAT;
    if (kith_cbor_need(&r, &walk, 2)) kith_cbor_read_copy(&r, h.public_key, sizeof h.public_key);
    if (kith_cbor_need(&r, &walk, 3)) kith_cbor_read_string(&r, h.name, sizeof h.name);
    if (kith_cbor_need(&r, &walk, 4)) kith_cbor_read_string(&r, h.os, sizeof h.os);
    if (kith_cbor_need(&r, &walk, 5)) kith_cbor_read_string(&r, h.hardware_model, sizeof h.hardware_model);
    if (kith_cbor_find(&r, &walk, 6)) kith_cbor_read_copy(&r, h.instance, sizeof h.instance);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r) || !*h.name) return KITH_ERR_FORMAT;
    if (!presentable(h.name) || !presentable(h.os) || !presentable(h.hardware_model)) return KITH_ERR_FORMAT;
    if (kith_ed25519_public_to_x25519(h.public_key, h.noise_static)) return KITH_ERR_FORMAT;
    *out = h;
    return KITH_OK;
}

static kith_message_context context_of(bool dialler)
{
    return dialler ? KITH_MESSAGE_HELLO_DIALLER : KITH_MESSAGE_HELLO_ACCEPTOR;
}

kith_err kith_hello_write(const kith_signer *signer, const kith_hello *self, bool dialler,
                          const uint8_t handshake_hash[static KITH_BINDING_SIZE], uint8_t *out, size_t cap,
                          size_t *out_size)
{
    uint8_t payload[KITH_MESSAGE_PAYLOAD_MAX];
    size_t size;
    kith_err err = kith_hello_payload_write(self, signer->public_key, payload, sizeof payload, &size);
    if (err) return err;
    return kith_message_sign(signer, context_of(dialler), handshake_hash, payload, size, out, cap, out_size);
}

kith_err kith_hello_read(const void *data, size_t size, bool from_dialler,
                         const uint8_t handshake_hash[static KITH_BINDING_SIZE],
                         const uint8_t noise_static[static KITH_X25519_SIZE], kith_hello *out)
{
    kith_message message;
    kith_hello h = {0};
    kith_err err = kith_message_parse(data, size, &message);
    if (!err) err = kith_hello_payload_read(message.payload, message.payload_size, &h);
    if (!err) err = kith_message_verify(&message, context_of(from_dialler), handshake_hash, h.public_key);
    if (err) return err;
    if (memcmp(h.noise_static, noise_static, sizeof h.noise_static) != 0) return KITH_ERR_WRONG_DEVICE;
    memcpy(h.uuid, message.uuid, sizeof h.uuid);
    memcpy(h.fingerprint, message.fingerprint, sizeof h.fingerprint);
    *out = h;
    return KITH_OK;
}
