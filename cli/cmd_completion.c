/* Completion scripts for three shells, written from the same tables as help.  Device names come from other devices: no
 * script may let its shell expand them (bash's compgen -W would). */
#include "commands.h"
#include "output.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static void print_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
    putchar('\'');
}

/* The words of "a|b", or of "[a|b [MORE]]". */
static void print_choices(const char *choices, const char *between)
{
    for (; *choices && *choices != ' '; choices++)
        if (*choices == '|')
            fputs(between, stdout);
        else if (*choices != '[' && *choices != ']')
            putchar(*choices);
}

static bool shown(const cli_option *o) { return o->id != OPT_LATER; }

/* "--to|-t" of an option, for a shell's case. */
static void print_pattern(const cli_option *o)
{
    if (o->name) printf("--%s", o->name);
    if (o->name && o->letter) putchar('|');
    if (o->letter) printf("-%c", o->letter);
}

static void print_settings(void)
{
    for (unsigned i = 0; kith_setting_at(i); i++) printf(" %s", kith_setting_at(i)->key);
}

static value_kind kind_of_setting(const kith_setting *setting)
{
    if (*setting->choices) return VALUE_CHOICE;
    if (!strcmp(setting->key, "dir")) return VALUE_FOLDER;
    return strcmp(setting->key, "relay-token-file") ? VALUE_OTHER : VALUE_FILE;
}

/* ---- bash and zsh: the same skeleton ---- */

/* Which helper completes such a value. */
static void print_helper(value_kind kind, const char *choices)
{
    switch (kind) {
    case VALUE_FILE: fputs("_kith_files", stdout); break;
    case VALUE_FOLDER: fputs("_kith_folders", stdout); break;
    case VALUE_DEVICE: fputs("_kith_devices", stdout); break;
    case VALUE_COMMAND: fputs("_kith_commands", stdout); break;
    case VALUE_SETTING:
        fputs("_kith_words", stdout);
        print_settings();
        break;
    case VALUE_CHOICE:
        fputs("_kith_words ", stdout);
        print_choices(choices, " ");
        break;
    default: fputs(":", stdout);
    }
}

static void print_values(const char *command, const cli_option *table)
{
    for (; table && table->id != OPT_NONE; table++) {
        if (!shown(table) || !table->value) continue;
        if (table->name) printf("    %s:--%s", command, table->name);
        if (table->letter) printf("%s%s:-%c", table->name ? "|" : "    ", command, table->letter);
        fputs(") ", stdout);
        print_helper(table->kind, table->value);
        fputs("; return ;;\n", stdout);
    }
}

static void print_names(const cli_option *table)
{
    for (; table && table->id != OPT_NONE; table++) {
        if (!shown(table)) continue;
        if (table->name) printf(" --%s", table->name);
        if (table->letter) printf(" -%c", table->letter);
    }
}

static void print_with_value(const cli_option *table, bool *first)
{
    for (; table && table->id != OPT_NONE; table++) {
        if (!shown(table) || !table->value) continue;
        if (!*first) putchar('|');
        *first = false;
        print_pattern(table);
    }
}

/* After a setting's name its value. */
static void print_setting_values(const cli_command *c)
{
    const kith_setting *setting;
    for (unsigned i = 0; c->takes == VALUE_SETTING && (setting = kith_setting_at(i)) != NULL; i++) {
        printf("    %s:%s) ", c->name, setting->key);
        print_helper(kind_of_setting(setting), setting->choices);
        fputs("; return ;;\n", stdout);
    }
}

static void print_body(void)
{
    bool first = true;
    fputs("    case $word in\n    ", stdout);
    print_with_value(global_options, &first);
    for (size_t i = 0; commands[i]; i++) print_with_value(commands[i]->options, &first);
    fputs(") skip=1 ;;\n    -*) ;;\n    *) command=$word; break ;;\n    esac\n  done\n  case $command:$prev in\n",
          stdout);
    print_values("*", global_options);
    for (size_t i = 0; commands[i]; i++) print_values(commands[i]->name, commands[i]->options);
    for (size_t i = 0; commands[i]; i++) print_setting_values(commands[i]);
    fputs("  esac\n  case $cur:$command in\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        if (!commands[i]->run) continue;
        printf("    -*:%s) _kith_words", commands[i]->name);
        print_names(commands[i]->options);
        print_names(global_options);
        fputs(" ;;\n", stdout);
    }
    fputs("    -*:*) _kith_words", stdout);
    print_names(global_options);
    fputs(" ;;\n    *:) _kith_commands ;;\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        if (!commands[i]->run || commands[i]->takes == VALUE_NONE) continue;
        printf("    *:%s) ", commands[i]->name);
        print_helper(commands[i]->takes, commands[i]->arguments);
        fputs(" ;;\n", stdout);
    }
    fputs("  esac\n}\n", stdout);
}

static void print_commands(void)
{
    for (size_t i = 0; commands[i]; i++)
        if (commands[i]->run) printf(" %s", commands[i]->name);
}

static void complete_bash(void)
{
    fputs("# Completion of kith for bash: source it, or put it where bash-completion looks.\n"
          "_kith_words() { COMPREPLY=($(compgen -W \"$*\" -- \"$cur\")); }\n"
          "_kith_files() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); }\n"
          "_kith_folders() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); }\n"
          "_kith_devices() {\n"
          "  local name\n"
          "  while IFS= read -r name; do\n"
          "    [[ $name == \"$cur\"* ]] && COMPREPLY+=(\"$(printf %q \"$name\")\")\n"
          "  done < <(\"${COMP_WORDS[0]}\" completion devices 2>/dev/null)\n"
          "}\n"
          "_kith_commands() { _kith_words",
          stdout);
    print_commands();
    fputs("; }\n"
          "_kith() {\n"
          "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= skip= word i\n"
          "  COMPREPLY=()\n"
          "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "    word=${COMP_WORDS[i]}\n"
          "    [[ $skip ]] && { skip=; continue; }\n",
          stdout);
    print_body();
    fputs("complete -F _kith kith\n", stdout);
}

static void complete_zsh(void)
{
    fputs("#compdef kith\n"
          "# Completion of kith for zsh: put it into a folder of $fpath as _kith.\n"
          "_kith_words() { compadd -- \"$@\"; }\n"
          "_kith_files() { _files; }\n"
          "_kith_folders() { _files -/; }\n"
          "_kith_devices() { compadd -- \"${(@f)$(kith completion devices 2>/dev/null)}\"; }\n"
          "_kith_commands() {\n"
          "  local -a list=(\n",
          stdout);
    for (size_t i = 0; commands[i]; i++) {
        char text[256];
        if (!commands[i]->run) continue;
        snprintf(text, sizeof text, "%s:%s", commands[i]->name, commands[i]->summary);
        fputs("    ", stdout);
        print_quoted(text);
        putchar('\n');
    }
    fputs("  )\n"
          "  _describe command list\n"
          "}\n"
          "_kith() {\n"
          "  local cur=${words[CURRENT]} prev=${words[CURRENT-1]} command= skip= word\n"
          "  for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
          "    [[ -n $skip ]] && { skip=; continue }\n",
          stdout);
    print_body();
    fputs("if [[ $funcstack[1] == _kith ]]; then _kith \"$@\"; else compdef _kith kith; fi\n", stdout);
}

/* ---- fish ---- */

static void fish_options(const char *command, const cli_option *table)
{
    for (; table && table->id != OPT_NONE; table++) {
        if (!shown(table)) continue;
        fputs("complete -c kith", stdout);
        if (command) printf(" -n '__fish_seen_subcommand_from %s'", command);
        if (table->letter) printf(" -s %c", table->letter);
        if (table->name) printf(" -l %s", table->name);
        if (table->value) fputs(table->kind == VALUE_FILE || table->kind == VALUE_FOLDER ? " -r -F" : " -x", stdout);
        if (table->kind == VALUE_DEVICE) fputs(" -a '(kith completion devices 2>/dev/null)'", stdout);
        if (table->kind == VALUE_SETTING) {
            fputs(" -a '", stdout);
            print_settings();
            fputs("'", stdout);
        }
        if (table->kind == VALUE_CHOICE) {
            fputs(" -a '", stdout);
            print_choices(table->value, " ");
            fputs("'", stdout);
        }
        fputs(" -d ", stdout);
        print_quoted(table->help);
        putchar('\n');
    }
}

static void fish_settings(const cli_command *c)
{
    const kith_setting *setting;
    printf("complete -c kith -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from", c->name);
    print_settings();
    fputs("' -a '", stdout);
    print_settings();
    fputs("'\n", stdout);
    for (unsigned i = 0; (setting = kith_setting_at(i)) != NULL; i++) {
        value_kind kind = kind_of_setting(setting);
        if (kind == VALUE_OTHER) continue;
        printf("complete -c kith -n '__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s'", c->name,
               setting->key);
        fputs(kind == VALUE_CHOICE ? " -a '" : " -F", stdout);
        if (kind == VALUE_CHOICE) print_choices(setting->choices, " ");
        fputs(kind == VALUE_CHOICE ? "'\n" : "\n", stdout);
    }
}

static void fish_arguments(const cli_command *c)
{
    if (c->takes == VALUE_SETTING) fish_settings(c);
    if (c->takes != VALUE_FILE && c->takes != VALUE_DEVICE && c->takes != VALUE_CHOICE && c->takes != VALUE_COMMAND)
        return;
    printf("complete -c kith -n '__fish_seen_subcommand_from %s'", c->name);
    if (c->takes == VALUE_FILE) fputs(" -F", stdout);
    if (c->takes == VALUE_DEVICE) fputs(" -a '(kith completion devices 2>/dev/null)'", stdout);
    if (c->takes == VALUE_CHOICE || c->takes == VALUE_COMMAND) fputs(" -a '", stdout);
    if (c->takes == VALUE_CHOICE) print_choices(c->arguments, " ");
    if (c->takes == VALUE_COMMAND) print_commands();
    if (c->takes == VALUE_CHOICE || c->takes == VALUE_COMMAND) fputs("'", stdout);
    putchar('\n');
}

static void complete_fish(void)
{
    fputs("# Completion of kith for fish: put it into ~/.config/fish/completions as kith.fish.\ncomplete -c kith -f\n",
          stdout);
    for (size_t i = 0; commands[i]; i++) {
        if (!commands[i]->run) continue;
        printf("complete -c kith -n __fish_use_subcommand -a %s -d ", commands[i]->name);
        print_quoted(commands[i]->summary);
        putchar('\n');
        fish_arguments(commands[i]);
        fish_options(commands[i]->name, commands[i]->options);
    }
    fish_options(NULL, global_options);
}

/* ---- */

static int print_devices(const cli_args *a)
{
    session s;
    kith_device_info *devices;
    kith_problem problem;
    size_t count;
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_devices(s.home, &devices, &count, &problem);
    if (err) return out_problem(err, problem.message);
    for (size_t i = 0; i < count; i++) printf("%s\n", devices[i].name);
    kith_free_devices(devices);
    return 0;
}

static int run(const cli_args *a)
{
    const char *which = a->words[0];
    char text[OUT_NAME];
    if (out()->json) return out_error(EXIT_USAGE, "a completion script is no JSON: leave --json out");
    if (!strcmp(which, "devices")) return print_devices(a);
    if (!strcmp(which, "bash"))
        complete_bash();
    else if (!strcmp(which, "zsh"))
        complete_zsh();
    else if (!strcmp(which, "fish"))
        complete_fish();
    else
        return out_error(EXIT_USAGE, "there is no completion for \"%s\": say bash, zsh or fish",
                         out_name(which, text, sizeof text));
    return 0;
}

const cli_command cmd_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .takes = VALUE_CHOICE,
    .min = 1,
    .max = 1,
    .summary = "print a completion script for a shell",
    .about = "Print a completion script for a shell: commands, options, and the names of devices.",
    .run = run,
};
