#include "commands.h"
#include "output.h"
#include "receiving.h"
#include "settings.h"

#include <stdlib.h>

static int run(const cli_args *a)
{
    static const session_handler handler = {.event = receiving_event,
                                            .line = receiving_line,
                                            .end = receiving_end,
                                            .go_on =
                                                "what arrived is kept; run the same command again to receive more"};
    session s;
    kith_device_info from;
    char *folder = NULL;
    const char *dir = NULL;
    setting room;
    kith_receive_options options = {.size = sizeof options, .yes = args_has(a, OPT_YES), .once = args_has(a, OPT_ONCE)};
    int status = session_start(&s, a);
    if (!status && a->word_count)
        status = out_error(
            EXIT_USAGE,
            "words are to receive with a one-time code: this version of Kith cannot do that yet; leave them out");
    if (!status) status = receiving_conflict(&s, &options.conflict);
    if (!status) status = setting_or_option(&s, OPT_DIR, "dir", &room, &dir);
    if (!status) status = receiving_folder(dir ? dir : ".", &folder);
    if (!status && args_has(a, OPT_FROM)) status = session_find(&s, args_value(a, OPT_FROM), &from);
    if (!status) status = session_open(&s);
    receiving *r = status ? NULL : receiving_new(options.once, false, folder);
    if (r) {
        options.folder = folder;
        if (args_has(a, OPT_FROM)) options.from = from.id;
        kith_err err = kith_receive(s.node, &options, &s.op);
        status = session_begin(&s, err, &handler, &r);
        session_close(&s);
    } else if (!status) {
        session_close(&s);
        status = out_problem(KITH_ERR_NOMEM, NULL);
    }
    receiving_free(r);
    free(folder);
    return status;
}

static const cli_option options[] = {
    {OPT_FROM, 0, "from", "DEVICE", VALUE_DEVICE, "take only what this device sends"},
    {OPT_DIR, 0, "dir", "DIR", VALUE_FOLDER,
     "the folder to receive into; default as set (kith config dir), else the "
     "current one"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "take what contacts send without asking"},
    {OPT_ONCE, 0, "once", NULL, VALUE_NONE, "stop after the first transfer"},
    {OPT_CONFLICT, 0, "conflict", "keep|skip|overwrite", VALUE_CHOICE,
     "when another file has that name: keep both (the default), skip the new one, overwrite the old one"},
    {OPT_LATER, 'o', NULL, "FILE", VALUE_FILE, "choose the file to write"},
    {OPT_LATER, 0, "code-file", "FILE", VALUE_FILE, "receive with a one-time code"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_receive = {
    .name = "receive",
    .arguments = "",
    .max = (size_t)-1,
    .summary = "receive what paired devices send",
    .about = "Receive what paired devices send, until stopped.  Own devices' files are taken at once; what contacts "
             "offer is shown and "
             "asked for.",
    .options = options,
    .run = run,
};
