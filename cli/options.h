/* The command line: tables that say which options there are, and one parser, help writer and completion that read them.
 */
#ifndef KITH_CLI_OPTIONS_H
#define KITH_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#define EXIT_FAILED      1
#define EXIT_USAGE       2
#define EXIT_TIMEOUT     6
#define EXIT_INTERRUPTED 130

typedef enum option_id {
    OPT_NONE, /* ends a table */
    OPT_LATER,
    OPT_HELP,
    OPT_VERSION,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_HOME,
    OPT_JSON,
    OPT_PLAIN,
    OPT_NO_QR,
    OPT_PASSWORD_FILE,
    OPT_NO_INPUT,
    OPT_TIMEOUT,
    OPT_RELAY,
    OPT_RELAY_TOKEN_FILE,
    OPT_NO_LAN,
    OPT_LAN,
    OPT_LISTEN,
    OPT_NAME,
    OPT_CONTACT,
    OPT_YES,
    OPT_EXPIRES,
    OPT_CODE_FILE,
    OPT_COUNT,
    OPT_STUN,
    OPT_TO,
    OPT_FROM,
    OPT_DIR,
    OPT_ONCE,
    OPT_CONFLICT,
    OPT_ACCEPT,
    OPT_PATH,
    OPT_ADMIN_LISTEN,
    OPT_CERT,
    OPT_KEY,
    OPT_TOKEN_FILE,
    OPT_LIMITS,
    OPT_USER,
    OPT_CHECK,
    OPT_OK,
    OPT_NEARBY,
    OPT_NEW_PASSWORD_FILE,
    OPT_RECOVERY,
    OPT_DEVICE,
    OPT_LOST,
    OPT_WHY,
    OPT_AUDIT,
    OPT_REPLACE_MASTER,
    OPT_UNSET,
} option_id;

/* What a value or an argument is: completion offers that. */
typedef enum value_kind {
    VALUE_NONE,
    VALUE_OTHER,
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_DEVICE,
    VALUE_WORD, /* of a pairing code */
    VALUE_COMMAND,
    VALUE_SETTING, /* its name; as an argument its value may follow */
    VALUE_CHOICE,  /* written out in the name: "keep|skip|overwrite" */
} value_kind;

typedef struct cli_option {
    option_id id;
    char letter;       /* 0: none */
    const char *name;  /* NULL: only a letter */
    const char *value; /* as help shows it; NULL: takes none */
    value_kind kind;
    const char *help; /* OPT_LATER: what it is for, "this version cannot do that yet" is added */
} cli_option;

struct cli_args;
typedef struct cli_command {
    const char *name;
    const char *arguments; /* as help shows them */
    value_kind takes;      /* what its arguments are; VALUE_CHOICE: as `arguments` lists them */
    size_t min, max;       /* how many */
    const char *summary;   /* a line for the list */
    const char *about;     /* the help's paragraph; NULL: the summary */
    const cli_option *options;
    int (*run)(const struct cli_args *args); /* NULL: comes later, and `summary` says what it is for */
} cli_command;

typedef struct cli_given {
    const cli_option *option;
    const char *value;
} cli_given;

typedef struct cli_args {
    const cli_command *command; /* NULL: none was named */
    cli_given *given;
    size_t given_count;
    const char **words; /* what is no option, after the command */
    size_t word_count;
} cli_args;

extern const cli_option global_options[];
extern const cli_command *const commands[]; /* ends with NULL */

/* 0, or an exit status, said already. */
int args_parse(int argc, char **argv, cli_args *out);
void args_free(cli_args *args);
bool args_has(const cli_args *args, option_id id);
size_t args_count(const cli_args *args, option_id id);
const char *args_value(const cli_args *args, option_id id); /* the last one's; NULL: not given */
/* Which of `names` (ends with NULL) was given: 0, *index untouched when none was; or an exit status, said already, with
 * `wanted` ("--conflict: say keep or skip") as the end of the sentence. */
int args_choice(const cli_args *args, option_id id, const char *wanted, const char *const *names, int *index);
/* A number from..to; 0, or an exit status, said already. */
int args_number(const char *what, const char *text, unsigned long from, unsigned long to, unsigned long *out);

const cli_command *command_find(const char *name);
void help_general(void);
void help_command(const cli_command *command);

#endif
