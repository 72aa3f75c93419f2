#include "relays.h"

#include "output.h"
#include "session.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int take(relays *r, const char *url)
{
    char shown[OUT_NAME];
    if (!strcmp(url, "none")) {
        r->count = 0;
        return 0;
    }
    if (strncmp(url, "ws://", 5) != 0 && strncmp(url, "wss://", 6) != 0)
        return out_error(EXIT_USAGE, "%s is not the address of a relay: write wss://HOST, ws://HOST:PORT or none",
                         out_name(url, shown, sizeof shown));
    if (r->count == KITH_OPTIONS_RELAYS_MAX)
        return out_error(EXIT_USAGE, "at most %d relays can be used", KITH_OPTIONS_RELAYS_MAX);
    r->urls[r->count++] = url;
    return 0;
}

static int take_list(relays *r)
{
    int status = 0;
    char *rest = r->text;
    for (char *word; !status && (word = strsep(&rest, " ,")) != NULL;)
        if (*word) status = take(r, word);
    return status;
}

int relays_read(relays *r, const cli_args *args)
{
    const char *variable = setting_variable("relay"), *value = variable ? getenv(variable) : NULL;
    int status = 0;
    *r = (relays){.token_file = args_value(args, OPT_RELAY_TOKEN_FILE)};
    r->said = value || args_has(args, OPT_RELAY);
    if (args_has(args, OPT_RELAY)) {
        for (size_t i = 0; i < args->given_count && !status; i++)
            if (args->given[i].option->id == OPT_RELAY) status = take(r, args->given[i].value);
        return status;
    }
    if (!value) return 0;
    if (strlen(value) >= sizeof r->text) return out_error(EXIT_USAGE, "%s is too long", variable);
    strcpy(r->text, value);
    return take_list(r);
}

int relays_settle(relays *r, const session *s)
{
    setting found;
    if (r->said) return 0;
    int status = setting_read(s, "relay", &found);
    if (status) return status;
    memcpy(r->text, found.value, sizeof r->text);
    return take_list(r);
}

int relays_token(relays *r, const session *s)
{
    char shown[OUT_NAME];
    size_t size;
    int fd;
    if (!r->token_file || (r->said && !r->count)) return 0;
    int status = session_open_file(r->token_file, "token file", "name another with --relay-token-file", &fd);
    if (status) return status;
    out_name(r->token_file, shown, sizeof shown);
    status = session_first_line(s, fd, shown, "a relay's token", r->token, sizeof r->token - 1, &size);
    close(fd);
    return status;
}
