/* Which relays a command uses: --relay, else KITH_RELAY, else none. */
#ifndef KITH_CLI_RELAYS_H
#define KITH_CLI_RELAYS_H

#include "options.h"

#include <kith/kith.h>

#define RELAYS_TEXT_MAX 2048 /* of KITH_RELAY */
#define RELAY_TOKEN_MAX 256

struct session;

typedef struct relays {
    const char *urls[KITH_OPTIONS_RELAYS_MAX];
    size_t count;
    char text[RELAYS_TEXT_MAX]; /* KITH_RELAY, cut into words */
    char token[RELAY_TOKEN_MAX + 2];
    const char *token_file; /* NULL: none */
} relays;

/* 0, or the exit status, and what is wrong was said. */
int relays_read(relays *r, const cli_args *args);
/* Read the token's file, where there are relays that it is for. */
int relays_token(relays *r, const struct session *s);

#endif
