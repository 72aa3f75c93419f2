/* kith.h's settings of a home, and what a node that begins takes of them. */
#include "api/internal.h"
#include "api/visit.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

const kith_setting *kith_setting_at(unsigned i)
{
    return i < KITH_CONFIG_KEYS ? kith_config_about((kith_config_key)i) : NULL;
}

static kith_err find(const char *name, kith_config_key *key, kith_problem *problem)
{
    char shown[64];
    size_t n = 0;
    *key = kith_config_find(name);
    if (*key < KITH_CONFIG_KEYS) return KITH_OK;
    *problem = (kith_problem){.err = KITH_ERR_ARG};
    n = (size_t)snprintf(problem->message, sizeof problem->message, "there is no setting \"%s\": there are",
                         kith_printable_name(name, shown, sizeof shown));
    for (int i = 0; i < KITH_CONFIG_KEYS; i++)
        n += (size_t)snprintf(problem->message + n, sizeof problem->message - n, "%s %s", i ? "," : "",
                              kith_config_about((kith_config_key)i)->key);
    return KITH_ERR_ARG;
}

kith_err kith_config_get(const char *home, const char *name, char value[KITH_SETTING_TEXT], bool *set,
                         kith_problem *problem)
{
    kith_visit v;
    kith_config config;
    kith_config_key key;
    if (!home || !name || !value || !set || !problem) return kith__visit_refuse(problem);
    kith_err err = find(name, &key, problem);
    if (err) return err;
    err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_load_config(v.home, &config, problem);
    kith__visit_leave(&v);
    if (!err) {
        snprintf(value, KITH_SETTING_TEXT, "%s", kith_config_text(&config, key));
        *set = config.values[key] != NULL;
        kith_config_done(&config);
    }
    return kith__visit_report(err, problem);
}

kith_err kith_config_set(const char *home, const char *name, const char *value, kith_problem *problem)
{
    kith_visit v;
    kith_config_key key;
    if (!home || !name || !problem) return kith__visit_refuse(problem);
    kith_err err = find(name, &key, problem);
    if (err) return err;
    err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_set_config(v.home, key, value, problem);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

/* ---- a node that begins ---- */

void kith__settings_done(api_settings *settings)
{
    kith_config_done(&settings->config);
    kith_free(settings->relay_memory);
    if (settings->token) kith_wipe(settings->token, strlen(settings->token));
    kith_free(settings->token);
}

/* A token is for the relays beside it, and goes to no others. */
static kith_err take_relays(kith_node *node, kith_options *options, api_settings *out, kith_problem *problem)
{
    kith_err err = kith_config_relays(&out->config, &out->relay_memory, out->relays, &options->relay_count);
    options->relays = out->relays;
    if (err || options->relay_token || !options->relay_count || !node->seed) return err;
    err = kith_home_relay_token(node->home, &out->config, &out->token, problem);
    options->relay_token = out->token;
    return err;
}

kith_err kith__settings_take(kith_node *node, kith_options *options, api_settings *out, kith_problem *problem)
{
    if (options->no_config) return KITH_OK;
    kith_err err = kith_home_load_config(node->home, &out->config, problem);
    if (err) return err;
    if (!options->listen) options->listen = out->config.values[KITH_CONFIG_LISTEN];
    out->listen_is_wish = options->listen && options->listen == out->config.values[KITH_CONFIG_LISTEN];
    if (!options->lan && !strcmp(kith_config_text(&out->config, KITH_CONFIG_LAN), "no")) options->no_lan = true;
    return options->relays ? KITH_OK : take_relays(node, options, out, problem);
}
