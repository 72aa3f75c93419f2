/* What can go wrong, once for all of Kith: a name, a number, the exit status the command answers with (see kith(1)),
 * and a sentence for people.  Functions return 0 or one of these (negative); "need more" and "closed" are events, not
 * errors. On failure a function leaves its outputs untouched unless it says otherwise. */
#ifndef KITH_ERROR_H
#define KITH_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/*    name                 value exit  sentence */
#define KITH_ERRORS(X)                                                                                                 \
    X(NOMEM, -1, 1, "out of memory")                                                                                   \
    X(ARG, -2, 2, "wrong argument")                                                                                    \
    X(STATE, -3, 1, "not possible in this state")                                                                      \
    X(LIMIT, -4, 1, "a limit was reached")                                                                             \
    X(FORMAT, -5, 5, "the bytes are not in the expected form")                                                         \
    X(TRUNCATED, -6, 5, "the bytes end too early")                                                                     \
    X(VERSION, -7, 7, "written by a newer version of Kith: upgrade this device")                                       \
    X(INTERNAL, -8, 1, "an internal error: please report it")                                                          \
    X(UNSUPPORTED, -9, 1, "not supported here")                                                                        \
    X(AGAIN, -10, 1, "busy: try again")                                                                                \
    X(CRYPTO, -20, 5, "a cryptographic check failed")                                                                  \
    X(SIGNATURE, -21, 4, "a signature is wrong")                                                                       \
    X(PASSWORD, -22, 4, "wrong password")                                                                              \
    X(CODE, -23, 4, "wrong code")                                                                                      \
    X(CODE_EXPIRED, -24, 4, "the code has expired: ask for a new one")                                                 \
    X(CODE_BURNT, -25, 4, "too many wrong attempts: this code is no longer good, make a new one")                      \
    X(UNTRUSTED, -26, 4, "the other device does not trust this one, or is not trusted here: pair them first")          \
    X(WRONG_DEVICE, -27, 4, "another device answered at that address")                                                 \
    X(DECLINED, -28, 4, "the other side declined")                                                                     \
    X(NOT_ALLOWED, -29, 4, "the other device may not do this")                                                         \
    X(KEY_CHANGED, -30, 4, "that device is known here with another key: it may be somebody else's")                    \
    X(ID_CHANGED, -31, 4, "that key is known here as another device's")                                                \
    X(REVOKED, -32, 4, "this device was revoked: the others do not let it in any more")                                \
    X(NOT_FOUND, -40, 3, "not found")                                                                                  \
    X(UNREACHABLE, -41, 3, "the device cannot be reached: is it on, on this network, and is Kith running there?")      \
    X(CLOSED, -42, 3, "the other side closed the connection")                                                          \
    X(LOST, -43, 3, "the connection was lost")                                                                         \
    X(PROTOCOL, -44, 1, "the other side broke the protocol")                                                           \
    X(TIMEOUT, -45, 6, "timed out")                                                                                    \
    X(CANCELLED, -46, 130, "interrupted")                                                                              \
    X(ADDRESS_IN_USE, -47, 1, "the address is in use by another program")                                              \
    X(NETWORK, -48, 1, "the network refused")                                                                          \
    X(CERTIFICATE, -49, 4,                                                                                             \
      "the server's certificate is not good: it is another name's, out of date, or not signed by who is trusted")      \
    X(CORRUPT, -60, 5, "data failed verification")                                                                     \
    X(CHANGED, -61, 1, "the file changed while it was sent: send it again")                                            \
    X(IO, -70, 7, "reading or writing the disk failed: the system's log (`dmesg`) may say why")                        \
    X(NO_SPACE, -71, 7, "no space left on the disk: make room and run the same command again")                         \
    X(PERMISSION, -72, 7, "no permission")                                                                             \
    X(EXISTS, -73, 7, "there already")                                                                                 \
    X(NO_FILE, -74, 7, "no such file or folder")                                                                       \
    X(DAMAGED, -75, 7, "the file is damaged")                                                                          \
    X(EXPOSED, -76, 7, "the file can be read by others: `chmod 600` it")                                               \
    X(NO_IDENTITY, -77, 7, "this device has no identity yet: run `kith init`")                                         \
    X(LOCKED, -78, 7, "in use by another process: try again when that is done")                                        \
    X(REMOTE_STORAGE, -79, 1, "the other device could not store it")                                                   \
    X(NOT_REGULAR, -80, 2, "not a regular file")                                                                       \
    X(AMBIGUOUS, -81, 2, "more than one device fits: say more of its name or id")

/* What a function answers: KITH_OK, or KITH_ERR_ and a name of the table. */
typedef enum kith_err {
    KITH_OK = 0,
#define KITH_X(name, value, exit_status, sentence) KITH_ERR_##name = (value),
    KITH_ERRORS(KITH_X)
#undef KITH_X
} kith_err;

/* KITH_MUST_CHECK: the compiler warns where the result is not looked at.  KITH_API: a function of the library. */
#if defined(__GNUC__)
#define KITH_MUST_CHECK __attribute__((warn_unused_result))
#define KITH_API        __attribute__((visibility("default")))
#else
#define KITH_MUST_CHECK
#define KITH_API
#endif

/* kith_err_name: the error's name ("NO_SPACE"); kith_err_text: its sentence; kith_err_exit: its exit status (0..130).
 * The texts are static, never NULL and not to be released; unknown numbers answer as INTERNAL. */
KITH_API const char *kith_err_name(kith_err err);
KITH_API const char *kith_err_text(kith_err err);
KITH_API int kith_err_exit(kith_err err);

#ifdef __cplusplus
}
#endif
#endif
