#include "settings.h"

#include "output.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_NAME_MAX 63 /* bytes */

const char *setting_variable(const char *key)
{
    const char *value = strcmp(key, "relay") ? NULL : getenv("KITH_RELAY");
    return value && *value ? "KITH_RELAY" : NULL;
}

int setting_read(const session *s, const char *key, setting *out)
{
    const char *variable = setting_variable(key);
    kith_problem problem;
    bool set = false;
    if (variable) {
        snprintf(out->value, sizeof out->value, "%s", getenv(variable));
        out->source = SETTING_ENVIRONMENT;
        return 0;
    }
    kith_err err = kith_config_get(s->home, key, out->value, &set, &problem);
    if (err) return out_problem(err, problem.message);
    out->source = set ? SETTING_CONFIG : SETTING_STANDARD;
    return 0;
}

kith_err setting_check(const session *s, kith_problem *problem)
{
    char value[KITH_SETTING_TEXT];
    bool set;
    return kith_config_get(s->home, kith_setting_at(0)->key, value, &set, problem);
}

int setting_or_option(const session *s, option_id id, const char *key, setting *room, const char **value)
{
    *value = args_value(s->args, id);
    int status = *value ? 0 : setting_read(s, key, room);
    if (!status && !*value && *room->value) *value = room->value;
    return status;
}

int setting_choice(const session *s, option_id id, const char *key, const char *wanted, const char *const *names,
                   int *index)
{
    setting found;
    if (args_has(s->args, id)) return args_choice(s->args, id, wanted, names, index);
    int status = setting_read(s, key, &found);
    for (int i = 0; !status && names[i]; i++)
        if (!strcmp(found.value, names[i])) *index = i;
    return status;
}

/* The library's rule, which it applies only when the name is used. */
static bool is_device_name(const char *text)
{
    char shown[2 * DEVICE_NAME_MAX];
    text += strspn(text, " ");
    return *text && strlen(text) <= DEVICE_NAME_MAX && !strcmp(kith_printable_name(text, shown, sizeof shown), text);
}

int setting_device_name(const session *s, const char **name)
{
    char shown[OUT_NAME];
    *name = args_value(s->args, OPT_NAME);
    if (!*name || is_device_name(*name)) return 0;
    return out_error(EXIT_USAGE,
                     "\"%s\" is no good for --name: a device's name is 1 to %d bytes of plain text on one line",
                     out_name(*name, shown, sizeof shown), DEVICE_NAME_MAX);
}

int setting_no_lan(const session *s, bool *no_lan)
{
    setting lan;
    *no_lan = args_has(s->args, OPT_NO_LAN);
    if (*no_lan || args_has(s->args, OPT_LAN)) return 0;
    int status = setting_read(s, "lan", &lan);
    *no_lan = !status && !strcmp(lan.value, "no");
    return status;
}
