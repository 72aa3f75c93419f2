#include "commands.h"
#include "output.h"
#include "receiving.h"
#include "session.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_WIDTH          18 /* columns; the longest key has two less */
#define SOURCE_WIDTH       13
#define CONFIG_FILE        "config.json"
#define TOKEN_FILE         "relay-token-file"
#define DAEMON_PATIENCE_MS 500 /* for a word of one that runs: nothing else is wanted of it */

static const char *const sources[] = {"default", "config.json", "environment"};

/* ---- showing ---- */

/* Whoever runs keeps to what was so when it began: does a "kith up" that began before config.json was changed? */
static bool is_pending(session *s)
{
    kith_options options = {
        .size = sizeof options, .home = s->home, .daemon = KITH_DAEMON_ONLY, .daemon_patience_ms = DAEMON_PATIENCE_MS};
    kith_problem problem;
    kith_daemon_info daemon = {.pid = 0};
    char path[sizeof s->home + sizeof CONFIG_FILE];
    struct stat info;
    snprintf(path, sizeof path, "%s/" CONFIG_FILE, s->home);
    if (stat(path, &info)) return false;
    kith_err err = kith_open(&options, &s->node, &problem);
    if (err) return err != KITH_ERR_NOT_FOUND; /* one runs that does not say since when */
    (void)kith_daemon_of(s->node, &daemon);
    session_close(s);
    return (int64_t)info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000 > daemon.since_ms;
}

static void print_json(const char *key, const setting *found, bool pending)
{
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b}", "event", "setting", "key", key, "value",
                        *found->value ? out_json_text(found->value) : json_null(), "source",
                        found->source == SETTING_CONFIG ? "config" : sources[found->source], "pending", pending));
}

static void say_pending(bool pending)
{
    if (pending)
        out_say("\"kith up\" runs, and takes changes of config.json up at its next start: \"kith down\", then \"kith "
                "up\" again.");
}

static int show(session *s, const char *key)
{
    setting found;
    int status = setting_read(s, key, &found);
    if (status) return status;
    bool pending = is_pending(s);
    out_line("%s", found.value);
    print_json(key, &found, pending);
    say_pending(pending);
    return 0;
}

static int show_all(session *s)
{
    const kith_setting *about;
    setting found;
    char shown[KITH_SETTING_TEXT];
    bool pending = is_pending(s);
    for (unsigned i = 0; (about = kith_setting_at(i)) != NULL; i++) {
        int status = setting_read(s, about->key, &found);
        if (status) return status;
        out_line("%-*s%-*s%s", KEY_WIDTH, about->key, SOURCE_WIDTH, sources[found.source],
                 *found.value ? out_name(found.value, shown, sizeof shown) : "-");
        print_json(about->key, &found, pending);
    }
    say_pending(pending);
    return 0;
}

/* ---- setting ---- */

static int take_words(const cli_args *a, char out[KITH_SETTING_TEXT])
{
    size_t n = 0;
    for (size_t i = 1; i < a->word_count; i++) {
        n += (size_t)snprintf(out + n, KITH_SETTING_TEXT - n, "%s%s", i > 1 ? " " : "", a->words[i]);
        if (n >= KITH_SETTING_TEXT) return out_error(EXIT_USAGE, "that is too long for a setting");
    }
    return 0;
}

/* Kept as it is from the root: commands run in other folders, too.  Of what leads to here nothing is kept: getcwd has
 * no links in it, so that ".." is what stands before. */
static int take_path(char value[KITH_SETTING_TEXT])
{
    char path[KITH_SETTING_TEXT], folder[KITH_PATH_NAME_MAX];
    const char *rest = value;
    if (*value == '/') return 0;
    int n = -1;
    if (getcwd(folder, sizeof folder)) {
        for (size_t step; *rest == '.' && (step = strspn(rest, ".")) <= 2 && (!rest[step] || rest[step] == '/');) {
            if (step == 2) *strrchr(folder, '/') = 0;
            if (!*folder) strcpy(folder, "/");
            rest += step;
            rest += strspn(rest, "/");
        }
        n = snprintf(path, sizeof path, "%s%s%s", strcmp(folder, "/") ? folder : "", *rest || !folder[1] ? "/" : "",
                     rest);
    }
    if (n < 0 || (size_t)n >= sizeof path)
        return out_error(EXIT_USAGE, "what folder this is cannot be told: give the path from the root");
    memcpy(value, path, (size_t)n + 1);
    return 0;
}

/* What it names has to be there: it would be the next command that says so. */
static int take_folder(char value[KITH_SETTING_TEXT])
{
    char *folder = NULL;
    int status = receiving_folder(value, &folder);
    free(folder);
    return status ? status : take_path(value);
}

static int take_token_file(const session *s, char value[KITH_SETTING_TEXT])
{
    relays trial = {.token_file = value};
    struct stat info;
    char shown[OUT_NAME];
    if (!stat(value, &info) && !S_ISREG(info.st_mode))
        return out_error(EXIT_USAGE, "%s is not a file that will be there later: name one that is read each time",
                         out_name(value, shown, sizeof shown));
    int status = relays_token(&trial, s);
    return status ? status : take_path(value);
}

/* What became of the relays' token when they were changed: it is never silently another one's. */
static int say_token(const session *s, const char *before, const char *urls, bool pending)
{
    setting token;
    char shown[OUT_NAME];
    int status = setting_read(s, TOKEN_FILE, &token);
    if (status || !*before) return status;
    out_name(before, shown, sizeof shown);
    if (*token.value && strcmp(urls, "none") != 0) out_say("It is shown the token in %s (%s).", shown, TOKEN_FILE);
    if (*token.value) return 0;
    out_say("%s is not set any more: %s is for the relays from before, and no other is shown it.", TOKEN_FILE, shown);
    print_json(TOKEN_FILE, &token, pending);
    return 0;
}

static int change(session *s, const char *key, const char *value)
{
    kith_problem problem;
    char is[KITH_SETTING_TEXT], token[KITH_SETTING_TEXT], shown[KITH_SETTING_TEXT];
    setting now;
    bool set;
    if (kith_config_get(s->home, TOKEN_FILE, token, &set, &problem)) *token = 0; /* the change itself says why */
    kith_err err = kith_config_set(s->home, key, value, &problem);
    if (!err) err = kith_config_get(s->home, key, is, &set, &problem);
    if (err) return out_problem(err, problem.message);
    int status = setting_read(s, key, &now);
    if (status) return status;
    const char *variable = setting_variable(key);
    bool pending = is_pending(s);
    if (value)
        out_say("%s is set to %s.", key, out_name(is, shown, sizeof shown));
    else
        out_say("%s is not set.", key);
    if (variable) out_say("%s is set in the environment here, and counts more.", variable);
    print_json(key, &now, pending);
    if (!strcmp(key, "relay")) status = say_token(s, token, is, pending);
    say_pending(pending);
    return status;
}

static int set(session *s, const char *key)
{
    char value[KITH_SETTING_TEXT];
    int status = take_words(s->args, value);
    if (!status && !strcmp(key, "dir")) status = take_folder(value);
    if (!status && !strcmp(key, TOKEN_FILE)) status = take_token_file(s, value);
    return status ? status : change(s, key, value);
}

static int run(const cli_args *a)
{
    session s;
    const char *unset = args_value(a, OPT_UNSET);
    int status = session_start(&s, a);
    if (status) return status;
    if (unset && (a->word_count || args_count(a, OPT_UNSET) > 1))
        return out_error(EXIT_USAGE,
                         "--unset takes one setting back, and goes with nothing else: kith config --unset KEY");
    if (unset) return change(&s, unset, NULL);
    if (!a->word_count) return show_all(&s);
    return a->word_count == 1 ? show(&s, a->words[0]) : set(&s, a->words[0]);
}

static const cli_option options[] = {
    {OPT_UNSET, 0, "unset", "KEY", VALUE_SETTING, "take a setting back: the default counts again"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_config = {
    .name = "config",
    .arguments = "[KEY [VALUE]]",
    .takes = VALUE_SETTING,
    .max = 1 + KITH_OPTIONS_RELAYS_MAX,
    .summary = "read or set a setting",
    .about = "Read or set what is so for good where no option and no variable of the environment says otherwise.  "
             "Without KEY all settings are listed, with where they come from; with KEY its value is printed.  The "
             "settings: relay (URLs of relays, several with blanks between, or none), relay-token-file, lan (yes or "
             "no), listen, dir, accept and conflict.  Asks for no password.",
    .options = options,
    .run = run,
};
