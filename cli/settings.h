/* The settings of a home, as commands see them: what an option, else the environment, else config.json says. */
#ifndef KITH_CLI_SETTINGS_H
#define KITH_CLI_SETTINGS_H

#include "options.h"

#include <kith/kith.h>

struct session;

typedef enum setting_source { SETTING_STANDARD, SETTING_CONFIG, SETTING_ENVIRONMENT } setting_source;

typedef struct setting {
    setting_source source;
    char value[KITH_SETTING_TEXT]; /* "": not set, and what then counts depends */
} setting;

/* Each returns 0 or the exit status, which it has said. */
/* What counts where no option says otherwise. */
int setting_read(const struct session *s, const char *key, setting *out);
/* The option's value, else the setting's; NULL: neither is.  `room` has it. */
int setting_or_option(const struct session *s, option_id id, const char *key, setting *room, const char **value);
/* As args_choice, else the setting's. */
int setting_choice(const struct session *s, option_id id, const char *key, const char *wanted, const char *const *names,
                   int *index);
/* Whether config.json can be used; one that is not there can.  An error is not said. */
kith_err setting_check(const struct session *s, kith_problem *problem);
/* Whether this device neither announces nor looks on the local network. */
int setting_no_lan(const struct session *s, bool *no_lan);
/* What --name says that a device is to be called, known to be good before anything else is asked for; NULL: nothing.
 */
int setting_device_name(const struct session *s, const char **name);
const char *setting_variable(const char *key); /* of the environment, where it is set; else NULL */

#endif
