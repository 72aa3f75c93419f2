/* ngtcp2's callbacks for an established connection: they note things in our objects and never call the user. */
#include "quic/state.h"

#include <string.h>

int kith__callback_failed(kith_conn *conn, kith_err err)
{
    if (!err) return 0;
    if (!conn->err) conn->err = err;
    return err == KITH_ERR_NOMEM ? NGTCP2_ERR_NOMEM : NGTCP2_ERR_CALLBACK_FAILURE;
}

/* ---- streams ---- */

static int stream_open(ngtcp2_conn *ng, int64_t id, void *user)
{
    kith_stream *stream;
    kith_err err = kith__stream_new(user, id, &stream);
    if (err) return kith__callback_failed(user, err);
    ngtcp2_conn_set_stream_user_data(ng, id, stream);
    kith__event_stream(stream, KITH_QUIC_OPENED);
    return 0;
}

static int recv_stream_data(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *data,
                            size_t size, void *user, void *stream)
{
    (void)ng;
    (void)id;
    (void)offset;
    if (!stream) return 0;
    return kith__callback_failed(user, kith__stream_received(stream, data, size, flags & NGTCP2_STREAM_DATA_FLAG_FIN));
}

static int acked_stream_data_offset(ngtcp2_conn *ng, int64_t id, uint64_t offset, uint64_t size, void *user,
                                    void *stream)
{
    (void)ng;
    (void)id;
    (void)user;
    if (stream) kith__stream_acked(stream, offset, (size_t)size);
    return 0;
}

static int stream_close(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t code, void *user, void *stream)
{
    kith_conn *conn = user;
    (void)flags;
    (void)code;
    conn->lost_before += ngtcp2_conn_get_stream_loss_count(ng, id);
    if (stream) kith__stream_was_closed(stream);
    return 0;
}

static int stream_reset(ngtcp2_conn *ng, int64_t id, uint64_t final_size, uint64_t code, void *user, void *stream)
{
    (void)ng;
    (void)id;
    (void)final_size;
    (void)user;
    if (stream) kith__stream_was_reset(stream, code);
    return 0;
}

static int extend_max_stream_data(ngtcp2_conn *ng, int64_t id, uint64_t max, void *user, void *stream)
{
    (void)ng;
    (void)id;
    (void)max;
    (void)user;
    if (stream) kith__stream_want_send(stream);
    return 0;
}

/* ---- connection ids and tokens ---- */

static int get_new_connection_id(ngtcp2_conn *ng, ngtcp2_cid *cid, uint8_t *token, size_t size, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    kith_rng_bytes(&conn->quic->rng, cid->data, size);
    cid->datalen = size;
    kith_token_reset(kith__quic_reset_key(conn->quic), cid->data, size, token);
    return kith__callback_failed(conn, kith_idmap_add(conn->quic->cids, cid->data, size, conn, &conn->ids));
}

static int remove_connection_id(ngtcp2_conn *ng, const ngtcp2_cid *cid, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    kith_idmap_remove(conn->quic->cids, cid->data, cid->datalen);
    return 0;
}

/* The peer's ids in use, with the tokens by which it would reset them. */
static int dcid_status(ngtcp2_conn *ng, ngtcp2_connection_id_status_type type, uint64_t seq, const ngtcp2_cid *cid,
                       const uint8_t *token, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    (void)seq;
    (void)cid;
    if (!token) return 0;
    if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_DEACTIVATE) {
        if (kith_idmap_find(conn->quic->resets, token, KITH_RESET_TOKEN_SIZE) == conn)
            kith_idmap_remove(conn->quic->resets, token, KITH_RESET_TOKEN_SIZE);
        return 0;
    }
    /* The peer chooses tokens: one that is there already (a copy of somebody's) is simply not ours. */
    kith_err err = kith_idmap_add(conn->quic->resets, token, KITH_RESET_TOKEN_SIZE, conn, &conn->ids);
    return err == KITH_ERR_EXISTS ? 0 : kith__callback_failed(conn, err);
}

static int recv_stateless_reset(ngtcp2_conn *ng, const ngtcp2_pkt_stateless_reset *reset, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    (void)reset;
    conn->was_reset = true;
    return 0;
}

static int recv_datagram(ngtcp2_conn *ng, uint32_t flags, const uint8_t *data, size_t size, void *user)
{
    (void)ng;
    (void)flags;
    kith__datagram_received(user, data, size);
    return 0;
}

static int get_path_challenge_data(ngtcp2_conn *ng, uint8_t *data, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    kith_rng_bytes(&conn->quic->rng, data, NGTCP2_PATH_CHALLENGE_DATALEN);
    return 0;
}

static int path_validation(ngtcp2_conn *ng, uint32_t flags, const ngtcp2_path *path, const ngtcp2_path *fallback,
                           ngtcp2_path_validation_result result, void *user)
{
    (void)ng;
    (void)flags;
    (void)fallback;
    kith__paths_validated(user, path, result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS);
    return 0;
}

static void ng_rand(uint8_t *out, size_t size, const ngtcp2_rand_ctx *ctx)
{
    kith_rng_bytes(ctx->native_handle, out, size);
}

void kith__callbacks_common(ngtcp2_callbacks *callbacks)
{
    callbacks->stream_open = stream_open;
    callbacks->recv_stream_data = recv_stream_data;
    callbacks->recv_datagram = recv_datagram;
    callbacks->acked_stream_data_offset = acked_stream_data_offset;
    callbacks->stream_close = stream_close;
    callbacks->stream_reset = stream_reset;
    callbacks->extend_max_stream_data = extend_max_stream_data;
    callbacks->get_new_connection_id = get_new_connection_id;
    callbacks->remove_connection_id = remove_connection_id;
    callbacks->dcid_status = dcid_status;
    callbacks->recv_stateless_reset = recv_stateless_reset;
    callbacks->get_path_challenge_data = get_path_challenge_data;
    callbacks->path_validation = path_validation;
    callbacks->rand = ng_rand;
}
