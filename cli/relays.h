/* Which relays a command uses: --relay, else KITH_RELAY, else those that config.json says. */
#ifndef KITH_CLI_RELAYS_H
#define KITH_CLI_RELAYS_H

#include "options.h"

#include <kith/kith.h>

#define RELAY_TOKEN_MAX 256

struct session;

typedef struct relays {
    const char *urls[KITH_OPTIONS_RELAYS_MAX];
    size_t count;
    bool said; /* by an option or the environment, also that there are none; else the node asks config.json */
    char text[KITH_SETTING_TEXT]; /* of the environment or config.json, cut into words */
    char token[RELAY_TOKEN_MAX + 2];
    const char *token_file; /* NULL: none */
} relays;

/* 0, or the exit status, and what is wrong was said. */
int relays_read(relays *r, const cli_args *args);
/* Read the token's file, where there may be relays that it is for. */
int relays_token(relays *r, const struct session *s);
/* For who wants to know them: those of config.json, where nothing else said any. */
int relays_settle(relays *r, const struct session *s);

#endif
