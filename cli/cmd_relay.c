#include "../relay/serve.h"
#include "commands.h"
#include "interrupt.h"
#include "output.h"

static void on_listening(void *user, const char *address, const char *admin)
{
    (void)user;
    out_line("listening on %s", address);
    if (admin) out_line("metrics on http://%s/metrics", admin);
    out_event(json_pack("{s:s, s:s, s:s?}", "event", "listening", "address", address, "admin", admin));
    (void)out_finish(); /* who waits for it reads a pipe */
}

static void on_log(void *user, bool warning, const char *line)
{
    (void)user;
    if (warning)
        out_warn("%s", line);
    else
        out_say("%s", line);
}

static bool on_stopped(void *user)
{
    (void)user;
    return interrupted();
}

static int run(const cli_args *a)
{
    char why[KITH_RELAY_WHY_SIZE] = "";
    kith_relay_options options = {.listen = args_value(a, OPT_LISTEN),
                                  .admin_listen = args_value(a, OPT_ADMIN_LISTEN),
                                  .cert = args_value(a, OPT_CERT),
                                  .key = args_value(a, OPT_KEY),
                                  .token_file = args_value(a, OPT_TOKEN_FILE),
                                  .limits = args_value(a, OPT_LIMITS),
                                  .user = args_value(a, OPT_USER),
                                  .check = args_has(a, OPT_CHECK)};
    const kith_relay_said said = {.listening = on_listening, .log = on_log, .stopped = on_stopped};
    if (!options.listen) return out_error(EXIT_USAGE, "where?  --listen ADDR:PORT, such as --listen [::]:443");
    if (!options.cert != !options.key) return out_error(EXIT_USAGE, "--cert and --key go together");
    kith_err err = kith_relay_serve(&options, &said, why);
    if (err) return out_problem(err, why);
    if (options.check) out_line("all good");
    return 0;
}

static const cli_option options[] = {
    {OPT_ADMIN_LISTEN, 0, "admin-listen", "ADDR:PORT", VALUE_OTHER,
     "metrics; default 127.0.0.1:9475, where it is free"},
    {OPT_CERT, 0, "cert", "FILE", VALUE_FILE, "the certificate and its chain (PEM): TLS"},
    {OPT_KEY, 0, "key", "FILE", VALUE_FILE, "its key (PEM)"},
    {OPT_TOKEN_FILE, 0, "token-file", "FILE", VALUE_FILE, "only clients with a token of these"},
    {OPT_LIMITS, 0, "limits", "FILE", VALUE_FILE, "limits other than the defaults"},
    {OPT_USER, 0, "user", "NAME", VALUE_OTHER, "whom to become when root starts it; default nobody"},
    {OPT_CHECK, 0, "check", NULL, VALUE_NONE, "read the files, say what is wrong, and stop"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_relay = {
    .name = "relay",
    .arguments = "--listen ADDR:PORT",
    .takes = VALUE_NONE,
    .summary = "run a relay",
    .about = "Pass sealed packets on between devices that cannot reach each other, and answer STUN, until stopped. "
             "SIGHUP reads the files again, SIGTERM sends the clients away first.",
    .options = options,
    .run = run,
};
