#include "options.h"

#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN   30
#define HELP_WIDTH    80
#define NEAR_WORD_MAX 32 /* longer words are not compared */
#define NEAR_CHANGES  2  /* so many letters may differ for a suggestion */

const cli_option global_options[] = {
    {OPT_HELP, 'h', "help", NULL, VALUE_NONE, "say how a command is used, and stop"},
    {OPT_VERSION, 'V', "version", NULL, VALUE_NONE, "print the version and stop"},
    {OPT_QUIET, 'q', "quiet", NULL, VALUE_NONE, "only errors and what was asked for"},
    {OPT_VERBOSE, 'v', "verbose", NULL, VALUE_NONE, "say more on standard error; twice: everything"},
    {OPT_HOME, 0, "home", "DIR", VALUE_FOLDER, "this device's data folder"},
    {OPT_JSON, 0, "json", NULL, VALUE_NONE, "one JSON object a line on standard output"},
    {OPT_PLAIN, 0, "plain", NULL, VALUE_NONE, "whole lines only: nothing is redrawn or drawn"},
    {OPT_NO_QR, 0, "no-qr", NULL, VALUE_NONE, "draw no QR picture"},
    {OPT_PASSWORD_FILE, 0, "password-file", "FILE", VALUE_FILE,
     "this device's password is the first line of FILE; - is standard input"},
    {OPT_NO_INPUT, 0, "no-input", NULL, VALUE_NONE, "never ask; stop with exit status 2 instead"},
    {OPT_TIMEOUT, 0, "timeout", "SECONDS", VALUE_OTHER, "give up after so long, with exit status 6"},
    {OPT_RELAY, 0, "relay", "URL", VALUE_OTHER, "a relay to use (ws://, wss://), or \"none\"; may be repeated"},
    {OPT_RELAY_TOKEN_FILE, 0, "relay-token-file", "FILE", VALUE_FILE, "what the relay asks for, when it does"},
    {OPT_NO_LAN, 0, "no-lan", NULL, VALUE_NONE, "neither announce nor look on the local network"},
    {OPT_LAN, 0, "lan", NULL, VALUE_NONE, "announce and look there, whatever config.json says"},
    {OPT_LISTEN, 0, "listen", "ADDR:PORT", VALUE_OTHER, "where to listen; default any address, a port picked"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

/* ---- finding ---- */

const cli_command *command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

static bool named(const cli_option *o, char letter, const char *name, size_t size)
{
    if (letter) return o->letter == letter;
    return o->name && strlen(o->name) == size && !memcmp(o->name, name, size);
}

static const cli_option *find_in(const cli_option *table, char letter, const char *name, size_t size)
{
    for (; table && table->id != OPT_NONE; table++)
        if (named(table, letter, name, size)) return table;
    return NULL;
}

/* Before the command is known any command's option will do: the same name takes a value in all of them or in none. */
static const cli_option *find_option(const cli_command *c, char letter, const char *name, size_t size)
{
    const cli_option *found = find_in(global_options, letter, name, size);
    if (found || c) return found ? found : find_in(c->options, letter, name, size);
    for (size_t i = 0; commands[i] && !found; i++) found = find_in(commands[i]->options, letter, name, size);
    return found;
}

/* Its own options are not known yet: whatever is given, it is the command that cannot be had. */
static bool is_later(const cli_command *c) { return c && !c->run; }

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* How many letters to add, drop, change or swap with the next make one word of another (Damerau, Levenshtein). */
static size_t changes(const char *a, const char *b)
{
    size_t rows[3][NEAR_WORD_MAX + 1], n = strlen(b);
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    if (n > NEAR_WORD_MAX || strlen(a) > NEAR_WORD_MAX) return NEAR_WORD_MAX;
    for (size_t j = 0; j <= n; j++) before[j] = last[j] = j;
    for (size_t i = 0; a[i]; i++) {
        row[0] = i + 1;
        for (size_t j = 1; j <= n; j++) {
            row[j] = least(last[j - 1] + (a[i] != b[j - 1]), least(last[j], row[j - 1]) + 1);
            if (i && j > 1 && a[i] == b[j - 2] && a[i - 1] == b[j - 1]) row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[n];
}

static const char *nearer(const char *word, const char *candidate, const char *best, size_t *best_changes)
{
    size_t n = candidate ? changes(word, candidate) : NEAR_WORD_MAX;
    if (n >= *best_changes || n >= strlen(word)) return best;
    *best_changes = n;
    return candidate;
}

static int unknown_command(const char *word)
{
    size_t best_changes = NEAR_CHANGES + 1;
    const char *best = NULL;
    char shown[OUT_NAME];
    for (size_t i = 0; commands[i]; i++) best = nearer(word, commands[i]->name, best, &best_changes);
    out_name(word, shown, sizeof shown);
    if (best) return out_error(EXIT_USAGE, "there is no command \"%s\": did you mean \"kith %s\"?", shown, best);
    return out_error(EXIT_USAGE, "there is no command \"%s\": \"kith help\" lists them", shown);
}

static int unknown_option(const cli_command *c, char letter, const char *name, size_t size)
{
    char text[OUT_NAME], shown[OUT_NAME], of[64] = "";
    size_t best_changes = NEAR_CHANGES + 1;
    const char *best = NULL;
    if (letter)
        snprintf(text, sizeof text, "-%c", letter);
    else
        snprintf(text, sizeof text, "--%.*s", (int)(size < 200 ? size : 200), name);
    if (c) snprintf(of, sizeof of, "kith %s", c->name);
    for (const cli_option *o = global_options; !letter && o->id != OPT_NONE; o++)
        best = nearer(text + 2, o->name, best, &best_changes);
    for (const cli_option *o = c ? c->options : NULL; !letter && o && o->id != OPT_NONE; o++)
        best = nearer(text + 2, o->name, best, &best_changes);
    out_name(text, shown, sizeof shown);
    if (best) return out_error(EXIT_USAGE, "%s has no option %s: did you mean --%s?", c ? of : "kith", shown, best);
    return out_error(EXIT_USAGE, "%s has no option %s: \"kith %s%s--help\" lists them", c ? of : "kith", shown,
                     c ? c->name : "", c ? " " : "");
}

/* ---- parsing ---- */

typedef struct parser {
    int argc, at;
    char **argv;
    cli_args *args;
    bool only_words; /* after -- */
} parser;

static const char *option_text(const cli_option *o, char *out, size_t size)
{
    if (o->name)
        snprintf(out, size, "--%s", o->name);
    else
        snprintf(out, size, "-%c", o->letter);
    return out;
}

static int add_option(parser *p, const cli_option *o, const char *value)
{
    char text[64];
    if (o->value && !value) {
        if (p->at + 1 >= p->argc)
            return out_error(EXIT_USAGE, "%s needs a value: %s %s", option_text(o, text, sizeof text), text, o->value);
        value = p->argv[++p->at];
    }
    p->args->given[p->args->given_count++] = (cli_given){o, value};
    return 0;
}

static int parse_long(parser *p, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t size = equals ? (size_t)(equals - text) : strlen(text);
    const cli_option *o = find_option(p->args->command, 0, text, size);
    if (!o && is_later(p->args->command)) return 0;
    if (!o) return unknown_option(p->args->command, 0, text, size);
    if (equals && !o->value) return out_error(EXIT_USAGE, "--%s takes no value", o->name);
    return add_option(p, o, equals ? equals + 1 : NULL);
}

static int parse_letters(parser *p, const char *text)
{
    for (; *text; text++) {
        const cli_option *o = find_option(p->args->command, *text, NULL, 0);
        if (!o && is_later(p->args->command)) return 0;
        if (!o) return unknown_option(p->args->command, *text, NULL, 0);
        if (o->value) return add_option(p, o, text[1] ? text + 1 : NULL);
        int status = add_option(p, o, NULL);
        if (status) return status;
    }
    return 0;
}

static int parse_word(parser *p, const char *text)
{
    if (p->args->command) {
        p->args->words[p->args->word_count++] = text;
        return 0;
    }
    p->args->command = command_find(text);
    return p->args->command ? 0 : unknown_command(text);
}

/* Options that stood before the command were looked up among all commands' options: now they must be this one's. */
static int settle(cli_args *a)
{
    for (size_t i = 0; i < a->given_count; i++) {
        const cli_option *was = a->given[i].option, *is;
        const char *name = was->name ? was->name : "";
        char letter = was->name ? 0 : was->letter;
        if (!a->command && !find_in(global_options, letter, name, strlen(name)))
            return unknown_option(NULL, letter, name, strlen(name));
        is = find_option(a->command, letter, name, strlen(name));
        if (!is && is_later(a->command)) continue; /* check_later says what there is to say */
        if (!is) return unknown_option(a->command, letter, name, strlen(name));
        a->given[i].option = is;
    }
    return 0;
}

static int check_later(const cli_args *a)
{
    char text[64];
    if (is_later(a->command))
        return out_error(EXIT_USAGE, "\"kith %s\" is to %s: this version of Kith cannot do that yet", a->command->name,
                         a->command->summary);
    for (size_t i = 0; i < a->given_count; i++) {
        const cli_option *o = a->given[i].option;
        if (o->id == OPT_LATER)
            return out_error(EXIT_USAGE, "%s is to %s: this version of Kith cannot do that yet",
                             option_text(o, text, sizeof text), o->help);
    }
    return 0;
}

static int check_words(const cli_args *a)
{
    const cli_command *c = a->command;
    if (!c || args_has(a, OPT_HELP) || args_has(a, OPT_VERSION)) return 0;
    if (a->word_count < c->min)
        return out_error(EXIT_USAGE, "something is missing: kith %s %s (\"kith %s --help\" says more)", c->name,
                         c->arguments, c->name);
    if (a->word_count > c->max) {
        char shown[OUT_NAME];
        return out_error(EXIT_USAGE, "\"%s\" is too much: kith %s%s%s (\"kith %s --help\" says more)",
                         out_name(a->words[c->max], shown, sizeof shown), c->name, *c->arguments ? " " : "",
                         c->arguments, c->name);
    }
    return 0;
}

int args_parse(int argc, char **argv, cli_args *out)
{
    size_t letters = 0; /* a cluster such as -qv is several options */
    for (int i = 1; i < argc; i++) letters += strlen(argv[i]) + 1;
    *out = (cli_args){.given = calloc(letters + 1, sizeof *out->given),
                      .words = calloc((size_t)argc + 1, sizeof *out->words)};
    if (!out->given || !out->words) return out_error(EXIT_FAILED, "out of memory");
    parser p = {.argc = argc, .argv = argv, .args = out};
    int status = 0;
    for (p.at = 1; p.at < argc && !status; p.at++) {
        const char *text = argv[p.at];
        if (p.only_words || *text != '-' || !text[1])
            status = parse_word(&p, text);
        else if (!strcmp(text, "--"))
            p.only_words = true;
        else
            status = text[1] == '-' ? parse_long(&p, text + 2) : parse_letters(&p, text + 1);
    }
    if (!status) status = settle(out);
    if (!status && !args_has(out, OPT_HELP)) status = check_later(out);
    return status ? status : check_words(out);
}

void args_free(cli_args *args)
{
    free(args->given);
    free(args->words);
}

size_t args_count(const cli_args *args, option_id id)
{
    size_t count = 0;
    for (size_t i = 0; i < args->given_count; i++) count += args->given[i].option->id == id;
    return count;
}

bool args_has(const cli_args *args, option_id id) { return args_count(args, id) > 0; }

int args_choice(const cli_args *args, option_id id, const char *wanted, const char *const *names, int *index)
{
    const char *text = args_value(args, id);
    char shown[OUT_NAME];
    if (!text) return 0;
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *index = i;
        return 0;
    }
    return out_error(EXIT_USAGE, "\"%s\" is no good for %s", out_name(text, shown, sizeof shown), wanted);
}

const char *args_value(const cli_args *args, option_id id)
{
    const char *value = NULL;
    for (size_t i = 0; i < args->given_count; i++)
        if (args->given[i].option->id == id) value = args->given[i].value;
    return value;
}

int args_number(const char *what, const char *text, unsigned long from, unsigned long to, unsigned long *out)
{
    char *end = NULL, shown[OUT_NAME];
    errno = 0;
    unsigned long value = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    if (!end || *end || errno || value < from || value > to)
        return out_error(EXIT_USAGE, "\"%s\" is no good for %s: give a number from %lu to %lu",
                         out_name(text, shown, sizeof shown), what, from, to);
    *out = value;
    return 0;
}

/* ---- help ---- */

/* Text broken at blanks, its later lines indented. */
static void wrap(const char *text, size_t column, size_t indent)
{
    size_t blanks = 0;
    while (*text) {
        size_t size = strcspn(text, " ");
        if (column + blanks + size > HELP_WIDTH && column > indent) {
            printf("\n%*s", (int)indent, "");
            column = indent;
            blanks = 0;
        }
        printf("%*s%.*s", (int)blanks, "", (int)size, text);
        column += blanks + size;
        text += size;
        blanks = strspn(text, " ");
        text += blanks;
    }
    putchar('\n');
}

static void help_options(const cli_option *table)
{
    for (; table && table->id != OPT_NONE; table++) {
        char left[64], letter[8] = "    ";
        if (table->id == OPT_LATER) continue;
        if (table->letter) snprintf(letter, sizeof letter, table->name ? "-%c, " : "-%c", table->letter);
        snprintf(left, sizeof left, "  %s%s%s%s%s", letter, table->name ? "--" : "", table->name ? table->name : "",
                 table->value ? " " : "", table->value ? table->value : "");
        size_t size = strlen(left);
        if (size + 2 > HELP_COLUMN)
            printf("%s\n%*s", left, HELP_COLUMN, "");
        else
            printf("%-*s", HELP_COLUMN, left);
        wrap(table->help, HELP_COLUMN, HELP_COLUMN);
    }
}

static bool has_options(const cli_option *table)
{
    for (; table && table->id != OPT_NONE; table++)
        if (table->id != OPT_LATER) return true;
    return false;
}

void help_command(const cli_command *c)
{
    if (!c->run) {
        printf("kith %s is to %s.  This version of Kith cannot do that yet.\n", c->name, c->summary);
        return;
    }
    printf("Usage: kith %s%s%s%s\n\n", c->name, has_options(c->options) ? " [OPTION]..." : "", *c->arguments ? " " : "",
           c->arguments);
    wrap(c->about ? c->about : c->summary, 0, 0);
    if (has_options(c->options)) {
        printf("\nOptions:\n");
        help_options(c->options);
    }
    printf("\n\"kith --help\" lists the options of every command; the manual page is kith-%s(1).\n", c->name);
}

void help_general(void)
{
    printf("Usage: kith [OPTION]... COMMAND [OPTION]... [ARGUMENT]...\n\n"
           "Your own devices, and those of people you know, as one network.\n\nCommands:\n");
    for (size_t i = 0; commands[i]; i++) {
        char left[64];
        if (!commands[i]->run) continue;
        snprintf(left, sizeof left, "  %s %s", commands[i]->name, commands[i]->arguments);
        printf("%-*s", HELP_COLUMN, left);
        if (strlen(left) + 1 > HELP_COLUMN) printf("\n%*s", HELP_COLUMN, "");
        wrap(commands[i]->summary, HELP_COLUMN, HELP_COLUMN);
    }
    printf("\nOptions of every command:\n");
    help_options(global_options);
    printf("\n\"kith COMMAND --help\" says more of a command; the manual is kith(1).\n");
}
