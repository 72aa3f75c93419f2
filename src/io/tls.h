/* TLS for a client as a filter between two streams of bytes: what the socket gives and takes on one side, what is said
 * on the other.  OpenSSL does no I/O here.  TLS 1.2 or newer; the certificate has to be the host's and signed by who is
 * trusted, which nothing turns off. */
#ifndef KITH_IO_TLS_H
#define KITH_IO_TLS_H

#include "base/url.h"
#include "env/env.h"

typedef struct kith_io_tls kith_io_tls;

/* For this host, whose name goes into SNI (RFC 6066; an address does not); trusted are the system's authorities and
 * those in `ca_file` (PEM; NULL: none).  FORMAT: that file cannot be read; NOMEM. */
KITH_MUST_CHECK kith_err kith_io_tls_new(const kith_url *url, const char *ca_file, kith_io_tls **out);
void kith_io_tls_free(kith_io_tls *tls); /* NULL is fine */

/* ---- the socket's side ---- */
/* Where bytes from the socket go: valid until `received`. */
uint8_t *kith_io_tls_room(kith_io_tls *tls, size_t *size);
KITH_MUST_CHECK kith_err kith_io_tls_received(kith_io_tls *tls, size_t size); /* NOMEM */
/* Bytes for the socket, to be sent in this order, until another call for this filter; and that so many were. */
size_t kith_io_tls_output(const kith_io_tls *tls, const uint8_t **out);
void kith_io_tls_sent(kith_io_tls *tls, size_t size);

/* ---- the other side ---- */
/* Go on with the handshake; there may be output afterwards.  OK: it is over.  AGAIN: bytes from the socket are needed.
 * CERTIFICATE: with what is wrong in *fault.  PROTOCOL: the peer speaks no TLS that we do. */
KITH_MUST_CHECK kith_err kith_io_tls_handshake(kith_io_tls *tls, kith_ws_certificate *fault);
/* What the peer said, at most `room` bytes.  AGAIN: bytes from the socket are needed.  CLOSED: it said that it ends.
 * PROTOCOL: it was not the peer, or it asks for more answers than it takes. */
KITH_MUST_CHECK kith_err kith_io_tls_read(kith_io_tls *tls, void *out, size_t room, size_t *got);
bool kith_io_tls_has_unread(const kith_io_tls *tls); /* from the socket */
/* All of it becomes output.  NOMEM, and nothing else may be written. */
KITH_MUST_CHECK kith_err kith_io_tls_write(kith_io_tls *tls, const void *data, size_t size);
void kith_io_tls_end(kith_io_tls *tls); /* nothing more is written: that becomes output */

#endif
