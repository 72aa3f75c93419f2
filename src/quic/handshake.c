/* The handshake between ngtcp2's callbacks and Hyphae's state machine. */
#include "quic/state.h"

#include "base/mem.h"

#include <string.h>

#define IV_SIZE 12 /* all zero: see protect.c */
/* One id fewer is advertised than ngtcp2 is told to keep: it counts ids that were retired a moment ago. */
#define ACTIVE_IDS_SAID 7

static const uint8_t zero_iv[IV_SIZE], no_secret[KITH_LEVEL_SECRET_SIZE];

static int hyphae_failed(kith_conn *conn, kith_err err)
{
    if (err == KITH_ERR_NOMEM || err == KITH_ERR_INTERNAL) return kith__callback_failed(conn, err);
    if (!conn->err) conn->err = err;
    ngtcp2_conn_set_tls_alert(conn->ng, kith_hyphae_alert(conn->hyphae));
    return NGTCP2_ERR_CRYPTO;
}

/* ---- installing keys ---- */

typedef struct level_ctx {
    ngtcp2_crypto_aead_ctx rx, tx;
    ngtcp2_crypto_cipher_ctx rx_hp, tx_hp;
} level_ctx;

static kith_err make_level(kith_conn *conn, kith_level level, const uint8_t secret[static 32], level_ctx *out)
{
    kith_level_keys keys;
    kith_keys_of_level(secret, &keys);
    bool dialler = conn->dialler;
    kith_err err = kith__key_packet(conn, level, dialler ? keys.resp_data : keys.init_data, &out->rx);
    if (!err) err = kith__key_packet(conn, level, dialler ? keys.init_data : keys.resp_data, &out->tx);
    if (!err) err = kith__key_header(conn, dialler ? keys.resp_hp : keys.init_hp, &out->rx_hp);
    if (!err) err = kith__key_header(conn, dialler ? keys.init_hp : keys.resp_hp, &out->tx_hp);
    kith_wipe(&keys, sizeof keys);
    return err;
}

static int install_initial(kith_conn *conn, const ngtcp2_cid *dcid)
{
    uint8_t secret[KITH_LEVEL_SECRET_SIZE];
    level_ctx ctx = {0};
    ngtcp2_crypto_ctx crypto = {
        .aead = {.max_overhead = 16}, .max_encryption = UINT64_MAX, .max_decryption_failure = UINT64_C(1) << 36};
    kith_keys_initial(dcid->data, dcid->datalen, secret);
    kith_err err = make_level(conn, KITH_LEVEL_INITIAL, secret, &ctx);
    if (err) return kith__callback_failed(conn, err);
    ngtcp2_conn_set_initial_crypto_ctx(conn->ng, &crypto);
    ngtcp2_conn_set_crypto_ctx(conn->ng, &crypto);
    return ngtcp2_conn_install_initial_key(conn->ng, &ctx.rx, zero_iv, &ctx.rx_hp, &ctx.tx, zero_iv, &ctx.tx_hp,
                                           IV_SIZE);
}

static int install_level(kith_conn *conn, kith_level level)
{
    uint8_t secret[KITH_LEVEL_SECRET_SIZE];
    level_ctx ctx = {0};
    if (conn->level_installed[level] || !kith_hyphae_secret(conn->hyphae, level, secret)) return 0;
    kith_err err = make_level(conn, level, secret, &ctx);
    kith_wipe(secret, sizeof secret);
    if (err) return kith__callback_failed(conn, err);
    conn->level_installed[level] = true;
    int rv;
    if (level == KITH_LEVEL_HANDSHAKE) {
        rv = ngtcp2_conn_install_rx_handshake_key(conn->ng, &ctx.rx, zero_iv, IV_SIZE, &ctx.rx_hp);
        return rv ? rv : ngtcp2_conn_install_tx_handshake_key(conn->ng, &ctx.tx, zero_iv, IV_SIZE, &ctx.tx_hp);
    }
    rv = ngtcp2_conn_install_rx_key(conn->ng, no_secret, sizeof no_secret, &ctx.rx, zero_iv, IV_SIZE, &ctx.rx_hp);
    return rv ? rv
              : ngtcp2_conn_install_tx_key(conn->ng, no_secret, sizeof no_secret, &ctx.tx, zero_iv, IV_SIZE,
                                           &ctx.tx_hp);
}

/* ---- transport parameters ---- */

/* Ours as bytes.  ngtcp2 fills in a server's source id only when the Handshake keys are installed, which needs message
 * 2, which needs these bytes: so it is done here. */
static ngtcp2_ssize encode_params(kith_conn *conn, uint8_t *out, size_t room)
{
    ngtcp2_transport_params params = *ngtcp2_conn_get_local_transport_params(conn->ng);
    params.version_info_present = 0;
    params.active_connection_id_limit = ACTIVE_IDS_SAID;
    params.initial_scid = conn->scid;
    params.initial_scid_present = 1;
    return ngtcp2_transport_params_encode(out, room, &params);
}

static int take_params(kith_conn *conn)
{
    const uint8_t *data;
    size_t size;
    if (conn->params_set || !kith_hyphae_remote_params(conn->hyphae, &data, &size)) return 0;
    conn->params_set = true;
    return ngtcp2_conn_decode_and_set_remote_transport_params(conn->ng, data, size);
}

static int give_params(kith_conn *conn)
{
    uint8_t params[KITH_HYPHAE_PARAMS_MAX];
    if (!kith_hyphae_wants_params(conn->hyphae)) return 0;
    ngtcp2_ssize size = encode_params(conn, params, sizeof params);
    if (size < 0) return (int)size;
    kith_err err = kith_hyphae_set_params(conn->hyphae, params, (size_t)size);
    return err ? hyphae_failed(conn, err) : 0;
}

/* ---- moving it on ---- */

static int submit_all(kith_conn *conn)
{
    static const ngtcp2_encryption_level levels[KITH_LEVELS] = {
        [KITH_LEVEL_INITIAL] = NGTCP2_ENCRYPTION_LEVEL_INITIAL,
        [KITH_LEVEL_HANDSHAKE] = NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE,
        [KITH_LEVEL_ONE_RTT] = NGTCP2_ENCRYPTION_LEVEL_1RTT,
    };
    kith_level level;
    const uint8_t *data;
    size_t size;
    while (kith_hyphae_output(conn->hyphae, &level, &data, &size)) {
        int rv = level == KITH_LEVEL_INITIAL ? 0 : install_level(conn, level);
        if (!rv) rv = ngtcp2_conn_submit_crypto_data(conn->ng, levels[level], data, size);
        if (rv) return rv;
    }
    return 0;
}

static int move_on(kith_conn *conn)
{
    int rv = take_params(conn);
    if (!rv) rv = give_params(conn);
    if (!rv) rv = submit_all(conn);
    if (!rv) rv = install_level(conn, KITH_LEVEL_HANDSHAKE);
    if (!rv && conn->level_installed[KITH_LEVEL_ONE_RTT]) ngtcp2_conn_tls_handshake_completed(conn->ng);
    return rv;
}

static kith_err make_hyphae(kith_conn *conn)
{
    uint8_t ephemeral[32], params[KITH_HYPHAE_PARAMS_MAX];
    ngtcp2_ssize size = 0;
    if (conn->dialler) size = encode_params(conn, params, sizeof params);
    if (size < 0) return KITH_ERR_INTERNAL;
    kith_rng_bytes(&conn->quic->rng, ephemeral, sizeof ephemeral);
    kith_err err = kith_hyphae_new(&(kith_hyphae_config){.initiator = conn->dialler,
                                                         .static_secret = kith__quic_static_secret(conn->quic),
                                                         .ephemeral_secret = ephemeral,
                                                         .expected_static = conn->has_expected ? conn->expected : NULL,
                                                         .params = {params, (size_t)size}},
                                   &conn->hyphae);
    kith_wipe(ephemeral, sizeof ephemeral);
    return err;
}

/* ---- callbacks ---- */

static int client_initial(ngtcp2_conn *ng, void *user)
{
    kith_conn *conn = user;
    int rv = install_initial(conn, ngtcp2_conn_get_dcid(ng));
    if (rv) return rv;
    kith_err err = make_hyphae(conn);
    if (err) return kith__callback_failed(conn, err);
    return submit_all(conn);
}

/* The same CRYPTO bytes go out again under keys from the Retry's source id. */
static int recv_retry(ngtcp2_conn *ng, const ngtcp2_pkt_hd *hd, void *user)
{
    (void)ng;
    return install_initial(user, &hd->scid);
}

static int recv_client_initial(ngtcp2_conn *ng, const ngtcp2_cid *dcid, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    int rv = install_initial(conn, dcid);
    if (rv) return rv;
    kith_err err = make_hyphae(conn);
    return err ? kith__callback_failed(conn, err) : 0;
}

static int recv_crypto_data(ngtcp2_conn *ng, ngtcp2_encryption_level level, uint64_t offset, const uint8_t *data,
                            size_t size, void *user)
{
    kith_conn *conn = user;
    kith_level ours = level == NGTCP2_ENCRYPTION_LEVEL_INITIAL     ? KITH_LEVEL_INITIAL
                      : level == NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE ? KITH_LEVEL_HANDSHAKE
                                                                   : KITH_LEVEL_ONE_RTT;
    (void)ng;
    (void)offset;
    if (!conn->hyphae) return kith__callback_failed(conn, KITH_ERR_INTERNAL);
    kith_err err = kith_hyphae_input(conn->hyphae, ours, data, size);
    if (err == KITH_ERR_WRONG_DEVICE) kith_hyphae_remote_static(conn->hyphae, conn->remote_static);
    return err ? hyphae_failed(conn, err) : move_on(conn);
}

static int handshake_completed(ngtcp2_conn *ng, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    conn->established = true;
    conn->confirmed = !conn->dialler; /* the dialler is told by HANDSHAKE_DONE */
    kith_hyphae_remote_static(conn->hyphae, conn->remote_static);
    kith_hyphae_hash(conn->hyphae, conn->hash);
    if (conn->half_open) {
        conn->half_open = false;
        conn->quic->half_open--;
    }
    kith_err err = kith__paths_established(conn);
    if (err) return kith__callback_failed(conn, err);
    kith__conn_established(conn);
    conn->held_by_user = true;
    kith__event_conn(conn, conn->dialler ? KITH_QUIC_CONNECTED : KITH_QUIC_ACCEPTED);
    return 0;
}

static int handshake_confirmed(ngtcp2_conn *ng, void *user)
{
    kith_conn *conn = user;
    (void)ng;
    conn->confirmed = true;
    return 0;
}

static int update_key(ngtcp2_conn *ng, uint8_t *rx_secret, uint8_t *tx_secret, ngtcp2_crypto_aead_ctx *rx_ctx,
                      uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx_ctx, uint8_t *tx_iv, const uint8_t *current_rx,
                      const uint8_t *current_tx, size_t secret_size, void *user)
{
    kith_conn *conn = user;
    uint8_t secret[KITH_LEVEL_SECRET_SIZE];
    kith_level_keys keys;
    (void)ng;
    (void)current_rx;
    (void)current_tx;
    kith_hyphae_next_secret(conn->hyphae, secret);
    kith_keys_of_level(secret, &keys);
    memset(rx_secret, 0, secret_size);
    memset(tx_secret, 0, secret_size);
    memset(rx_iv, 0, IV_SIZE);
    memset(tx_iv, 0, IV_SIZE);
    kith_err err = kith__key_packet(conn, KITH_LEVEL_ONE_RTT, conn->dialler ? keys.resp_data : keys.init_data, rx_ctx);
    if (!err) err = kith__key_packet(conn, KITH_LEVEL_ONE_RTT, conn->dialler ? keys.init_data : keys.resp_data, tx_ctx);
    kith_wipe(secret, sizeof secret);
    kith_wipe(&keys, sizeof keys);
    if (err) return kith__callback_failed(conn, err);
    conn->key_steps++;
    return 0;
}

/* Never: a version is offered alone. */
static int version_negotiation(ngtcp2_conn *ng, uint32_t version, const ngtcp2_cid *dcid, void *user)
{
    (void)ng;
    (void)version;
    (void)dcid;
    return kith__callback_failed(user, KITH_ERR_INTERNAL);
}

void kith__callbacks_handshake(ngtcp2_callbacks *callbacks)
{
    callbacks->client_initial = client_initial;
    callbacks->recv_client_initial = recv_client_initial;
    callbacks->recv_retry = recv_retry;
    callbacks->recv_crypto_data = recv_crypto_data;
    callbacks->handshake_completed = handshake_completed;
    callbacks->handshake_confirmed = handshake_confirmed;
    callbacks->update_key = update_key;
    callbacks->version_negotiation = version_negotiation;
}
