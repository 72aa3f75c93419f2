/* The files that the options name. */
#include "server.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (4u << 20)

static kith_err why_errno(const char *path, int error, char why[static KITH_RELAY_WHY_SIZE])
{
    snprintf(why, KITH_RELAY_WHY_SIZE, "%s: %s: name a file that this user may read", path, strerror(error));
    return error == ENOENT ? KITH_ERR_NO_FILE : error == EACCES ? KITH_ERR_PERMISSION : KITH_ERR_IO;
}

/* The whole file; release with kith_free. */
static kith_err read_file(const char *path, bool secret, char **out, size_t *out_size,
                          char why[static KITH_RELAY_WHY_SIZE])
{
    struct stat info;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return why_errno(path, errno, why);
    kith_err err = KITH_OK;
    size_t size = 0;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || info.st_size > FILE_MAX) {
        snprintf(why, KITH_RELAY_WHY_SIZE, "%s: not a regular file of at most %u bytes", path, FILE_MAX);
        err = KITH_ERR_NOT_REGULAR;
    } else if (secret && info.st_mode & (S_IRWXO | S_IWGRP)) {
        snprintf(why, KITH_RELAY_WHY_SIZE, "%s can be read by others: chmod 600 it", path);
        err = KITH_ERR_EXPOSED;
    } else if (!(text = kith_malloc((size_t)info.st_size + 1))) {
        snprintf(why, KITH_RELAY_WHY_SIZE, "out of memory");
        err = KITH_ERR_NOMEM;
    }
    while (!err && size < (size_t)info.st_size) {
        ssize_t got = read(fd, text + size, (size_t)info.st_size - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) err = why_errno(path, errno, why);
        if (got <= 0) break;
        size += (size_t)got;
    }
    close(fd);
    if (err) {
        kith_free(text);
        return err;
    }
    *out = text;
    *out_size = size;
    return KITH_OK;
}

static kith_err with_path(const char *path, const kith_relay_reason *reason, kith_err err,
                          char why[static KITH_RELAY_WHY_SIZE])
{
    snprintf(why, KITH_RELAY_WHY_SIZE, "%.90s: %s", path, err == KITH_ERR_NOMEM ? "out of memory" : reason->text);
    return err;
}

static kith_err read_settings(const char *path, kith_relay_settings *out, char why[static KITH_RELAY_WHY_SIZE])
{
    char *text;
    size_t size;
    kith_relay_reason reason;
    kith_relay_settings_default(out);
    if (!path) return KITH_OK;
    kith_err err = read_file(path, false, &text, &size, why);
    if (err) return err;
    err = kith_relay_settings_read(text, size, out, &reason);
    kith_free(text);
    return err ? with_path(path, &reason, err, why) : KITH_OK;
}

static kith_err read_tokens(const char *path, kith_tokens **out, char why[static KITH_RELAY_WHY_SIZE])
{
    char *text;
    size_t size;
    kith_relay_reason reason;
    if (!path) return KITH_OK;
    kith_err err = read_file(path, true, &text, &size, why);
    if (err) return err;
    err = kith_tokens_read(text, size, out, &reason);
    kith_wipe(text, size);
    kith_free(text);
    return err ? with_path(path, &reason, err, why) : KITH_OK;
}

/* The certificate, for its names, and whether the key is the one that belongs to it. */
static kith_err read_certificate(const kith_relay_options *options, X509 **out, char why[static KITH_RELAY_WHY_SIZE])
{
    if (!options->cert) return KITH_OK;
    FILE *file = fopen(options->cert, "re");
    if (!file) return why_errno(options->cert, errno, why);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    file = fopen(options->key, "re");
    if (!file) {
        int error = errno;
        X509_free(certificate);
        return why_errno(options->key, error, why);
    }
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, "");
    fclose(file);
    bool good = certificate && key && X509_check_private_key(certificate, key) == 1;
    EVP_PKEY_free(key);
    if (good) {
        *out = certificate;
        return KITH_OK;
    }
    X509_free(certificate);
    snprintf(why, KITH_RELAY_WHY_SIZE, "%.90s and %.90s are not a certificate (PEM) and its key", options->cert,
             options->key);
    return KITH_ERR_FORMAT;
}

kith_err files_read(const kith_relay_options *options, files *out, char why[static KITH_RELAY_WHY_SIZE])
{
    files f = {.tokens = NULL};
    kith_err err = read_settings(options->limits, &f.settings, why);
    if (!err) err = read_tokens(options->token_file, &f.tokens, why);
    if (!err) err = read_certificate(options, &f.certificate, why);
    if (err) {
        files_done(&f);
        return err;
    }
    *out = f;
    return KITH_OK;
}

void files_done(files *f)
{
    kith_tokens_free(f->tokens);
    X509_free(f->certificate);
    f->tokens = NULL;
    f->certificate = NULL;
}

/* The host of "host", "host:port" or "[address]:port". */
static void host_of(const char *authority, char *out, size_t out_size)
{
    const char *begin = authority, *end;
    if (*begin == '[') {
        begin++;
        end = strchr(begin, ']');
    } else {
        end = strrchr(begin, ':');
    }
    size_t size = end ? (size_t)(end - begin) : strlen(begin);
    if (size >= out_size) size = out_size - 1;
    memcpy(out, begin, size);
    out[size] = '\0';
}

/* What this machine is called. */
static bool is_host_name(const char *host)
{
    char name[HOST_NAME_MAX + 1];
    if (gethostname(name, sizeof name)) return false;
    name[sizeof name - 1] = 0;
    return strcasecmp(host, name) == 0;
}

bool files_name_is_ours(const files *f, const char *authority, const kith_addr *local)
{
    char host[KITH_RELAY_AUTHORITY_MAX + 1];
    kith_addr address;
    for (size_t i = 0; i < f->settings.name_count; i++)
        if (strcmp(f->settings.names[i], authority) == 0) return true;
    if (f->settings.name_count) return false;
    host_of(authority, host, sizeof host);
    bool is_address = kith_addr_parse(host, &address) == KITH_OK;
    if (f->certificate)
        return is_address ? X509_check_ip_asc(f->certificate, host, 0) == 1
                          : X509_check_host(f->certificate, host, 0, 0, NULL) == 1;
    if (is_address) return kith_addr_same_ip(&address, local);
    return (strcmp(host, "localhost") == 0 && kith_addr_is_loopback(local)) || is_host_name(host);
}
