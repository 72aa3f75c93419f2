#include "identity/config.h"

#include "base/addr.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/url.h"
#include "identity/json.h"

#include <stdio.h>
#include <string.h>

#define SEPARATORS " ,\t\n"
#define NO_RELAY   "none"

_Static_assert(KITH_SETTING_TEXT > KITH_OPTIONS_RELAYS_MAX * KITH_URL_TEXT_SIZE, "all relays' texts fit");
_Static_assert(KITH_SETTING_TEXT > KITH_PATH_NAME_MAX, "so does a path");

/* ---- what settings there are ---- */

typedef enum form { FORM_RELAYS, FORM_PATH, FORM_YES_NO, FORM_ADDRESS, FORM_CHOICE } form;

static const struct {
    kith_setting about;
    form form;
} settings[KITH_CONFIG_KEYS] = {
    [KITH_CONFIG_RELAY] = {{"relay", "the relays to use", "one to 8 URLs such as wss://relay.example, or none",
                            NO_RELAY, NO_RELAY},
                           FORM_RELAYS},
    [KITH_CONFIG_RELAY_TOKEN_FILE] = {{"relay-token-file", "what these relays ask for is in it",
                                       "the path of a file, from the root (/home/me/token)", "", ""},
                                      FORM_PATH},
    [KITH_CONFIG_LAN] = {{"lan", "announce and look on the local network", "yes or no", "yes|no", "yes"}, FORM_YES_NO},
    [KITH_CONFIG_LISTEN] = {{"listen", "where to listen", "an address and a port, such as 0.0.0.0:7777", "", ""},
                            FORM_ADDRESS},
    [KITH_CONFIG_DIR] = {{"dir", "the folder to receive into", "the path of a folder, from the root (/home/me/in)", "",
                          ""},
                         FORM_PATH},
    [KITH_CONFIG_ACCEPT] = {{"accept", "whose files kith up takes without asking", "own or contacts", "own|contacts",
                             "own"},
                            FORM_CHOICE},
    [KITH_CONFIG_CONFLICT] = {{"conflict", "when a file's name is taken", "keep, skip or overwrite",
                               "keep|skip|overwrite", "keep"},
                              FORM_CHOICE},
};

const kith_setting *kith_config_about(kith_config_key key) { return &settings[key].about; }

kith_config_key kith_config_find(const char *name)
{
    int key = 0;
    while (key < KITH_CONFIG_KEYS && strcmp(settings[key].about.key, name) != 0) key++;
    return (kith_config_key)key;
}

void kith_config_done(kith_config *config)
{
    for (size_t i = 0; i < KITH_CONFIG_KEYS; i++) kith_free(config->values[i]);
}

const char *kith_config_text(const kith_config *config, kith_config_key key)
{
    return config->values[key] ? config->values[key] : settings[key].about.standard;
}

kith_err kith_config_relays(const kith_config *config, char **memory, const char **urls, size_t *count)
{
    const char *text = config->values[KITH_CONFIG_RELAY];
    char *copy = NULL;
    size_t n = 0;
    if (text && strcmp(text, NO_RELAY) != 0 && !(copy = kith_strdup(text))) return KITH_ERR_NOMEM;
    for (char *rest = copy, *url; n < KITH_OPTIONS_RELAYS_MAX && (url = strsep(&rest, " ")) != NULL;) urls[n++] = url;
    *memory = copy;
    *count = n;
    return KITH_OK;
}

/* ---- whether a text is good, and its clean form ---- */

static bool is_relay(const char *text)
{
    kith_url url;
    return kith_url_parse(text, &url) == KITH_OK && !strchr(text, ',');
}

static bool clean_relays(const char *text, char out[static KITH_SETTING_TEXT])
{
    char copy[KITH_SETTING_TEXT], *rest = copy;
    size_t n = 0, count = 0;
    bool none = false;
    if (strlen(text) >= sizeof copy) return false;
    strcpy(copy, text);
    for (char *word; (word = strsep(&rest, SEPARATORS)) != NULL;) {
        if (!*word) continue;
        none = none || !strcmp(word, NO_RELAY);
        if ((count && none) || count == KITH_OPTIONS_RELAYS_MAX || (!none && !is_relay(word))) return false;
        n += (size_t)snprintf(out + n, KITH_SETTING_TEXT - n, "%s%s", count++ ? " " : "", word);
    }
    return count > 0;
}

/* Of this machine, whatever the current folder is, and on one line. */
static bool is_path(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) return false;
    return *text == '/' && strlen(text) < KITH_PATH_NAME_MAX && kith_utf8_valid(text, strlen(text));
}

/* Without an interface, which may have another number tomorrow. */
static bool is_address(const char *text)
{
    kith_addr addr;
    return !strchr(text, '%') && kith_addr_parse(text, &addr) == KITH_OK;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (size == strcspn(at, "|") && !memcmp(at, text, size)) return true;
    return false;
}

static bool clean(kith_config_key key, const char *text, char out[static KITH_SETTING_TEXT])
{
    bool good = false;
    switch (settings[key].form) {
    case FORM_RELAYS: return clean_relays(text, out);
    case FORM_PATH: good = is_path(text); break;
    case FORM_ADDRESS: good = is_address(text); break;
    case FORM_YES_NO:
    case FORM_CHOICE: good = is_choice(settings[key].about.choices, text); break;
    }
    if (good) snprintf(out, KITH_SETTING_TEXT, "%s", text);
    return good;
}

static const char *allowed_in_json(kith_config_key key)
{
    if (settings[key].form == FORM_YES_NO) return "true or false";
    if (settings[key].form == FORM_RELAYS) return "a list of at most 8 URLs such as \"wss://relay.example\"";
    return settings[key].about.allowed;
}

/* ---- members ---- */

/* An array of texts as one; false: it is none, or too long. */
static bool join(const json_t *array, char out[static KITH_SETTING_TEXT])
{
    size_t n = 0;
    if (json_array_size(array) == 0) n = (size_t)snprintf(out, KITH_SETTING_TEXT, NO_RELAY);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text || !is_relay(text) || n + strlen(text) + 2 > KITH_SETTING_TEXT) return false;
        n += (size_t)snprintf(out + n, KITH_SETTING_TEXT - n, "%s%s", i ? " " : "", text);
    }
    return true;
}

/* What a member says, as text; NULL: it is of another kind. */
static const char *text_of(kith_config_key key, const json_t *member, char room[static KITH_SETTING_TEXT])
{
    switch (settings[key].form) {
    case FORM_RELAYS: return json_is_array(member) && join(member, room) ? room : NULL;
    case FORM_YES_NO: return json_is_boolean(member) ? (json_is_true(member) ? "yes" : "no") : NULL;
    default: return json_string_value(member);
    }
}

static json_t *member_of(kith_config_key key, const char *text)
{
    char copy[KITH_SETTING_TEXT], *rest = copy;
    if (settings[key].form == FORM_YES_NO) return json_boolean(!strcmp(text, "yes"));
    if (settings[key].form != FORM_RELAYS) return json_string(text);
    json_t *array = json_array();
    snprintf(copy, sizeof copy, "%s", strcmp(text, NO_RELAY) ? text : "");
    for (char *url; array && (url = strsep(&rest, " ")) != NULL;) {
        if (!*url || !json_array_append_new(array, json_string(url))) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

/* All settings but one (KITH_CONFIG_KEYS: all). */
static kith_err read_members(const json_t *root, kith_config_key except, kith_config *out, kith_reason *reason)
{
    char room[KITH_SETTING_TEXT], text[KITH_SETTING_TEXT];
    kith_err err = kith__json_version(root, "version", KITH_CONFIG_VERSION, reason);
    for (int i = 0; i < KITH_CONFIG_KEYS && !err; i++) {
        kith_config_key key = (kith_config_key)i;
        const json_t *member = json_object_get(root, settings[key].about.key);
        const char *said = member ? text_of(key, member, room) : NULL;
        if (!member || key == except) continue;
        if (!said || !clean(key, said, text)) {
            char what[KITH_REASON_SIZE];
            snprintf(what, sizeof what, "not %s", allowed_in_json(key));
            return kith__json_bad(reason, settings[key].about.key, what);
        }
        if (!(out->values[key] = kith_strdup(text))) err = KITH_ERR_NOMEM;
    }
    return err;
}

kith_err kith_config_decode(const void *data, size_t size, kith_config *out, kith_reason *reason)
{
    json_t *root = NULL;
    kith_config config = {{NULL}};
    kith_err err = kith__json_load(data, size, &root, reason);
    if (!err) err = read_members(root, KITH_CONFIG_KEYS, &config, reason);
    json_decref(root);
    if (err)
        kith_config_done(&config);
    else
        *out = config;
    return err;
}

/* Both clean: each of these relays is one of those. */
static bool are_among(const char *relays, const char *those)
{
    char copy[KITH_SETTING_TEXT], *rest = copy;
    snprintf(copy, sizeof copy, "%s", relays);
    for (char *url; (url = strsep(&rest, " ")) != NULL;) {
        const char *at = those;
        size_t size = strlen(url);
        while (strncmp(at, url, size) != 0 || (at[size] && at[size] != ' ')) {
            at += strcspn(at, " ");
            if (!*at++) return false;
        }
    }
    return true;
}

/* A token is its relays' secret: another one must not be shown it.  Where there were none it is for those to come. */
static bool keeps_token(const json_t *root, const char *relays)
{
    char room[KITH_SETTING_TEXT], those[KITH_SETTING_TEXT];
    const json_t *member = json_object_get(root, settings[KITH_CONFIG_RELAY].about.key);
    const char *said = member ? text_of(KITH_CONFIG_RELAY, member, room) : NO_RELAY;
    if (!said || !clean_relays(said, those)) return false;
    return !strcmp(those, NO_RELAY) || (relays && are_among(relays, those));
}

static bool set_member(json_t *root, kith_config_key key, const char *text)
{
    const char *name = settings[key].about.key;
    if (text) return json_object_set_new(root, name, member_of(key, text)) == 0;
    (void)json_object_del(root, name); /* it may not be there */
    return true;
}

kith_err kith_config_change(const void *old, size_t old_size, kith_config_key key, const char *text, uint8_t **out,
                            size_t *size, kith_reason *reason)
{
    char cleaned[KITH_SETTING_TEXT];
    json_t *root = NULL;
    kith_config was = {{NULL}};
    kith_err err = KITH_OK;
    if (text && !clean(key, text, cleaned)) return KITH_ERR_ARG;
    if (old) {
        err = kith__json_load(old, old_size, &root, reason);
        if (!err) err = read_members(root, key, &was, reason);
    } else if (!(root = json_object()) || !kith__json_set_number(root, "version", KITH_CONFIG_VERSION)) {
        err = KITH_ERR_NOMEM;
    }
    if (!err && key == KITH_CONFIG_RELAY && !keeps_token(root, text ? cleaned : NULL))
        (void)set_member(root, KITH_CONFIG_RELAY_TOKEN_FILE, NULL);
    if (!err && !set_member(root, key, text ? cleaned : NULL)) err = KITH_ERR_NOMEM;
    if (!err) err = kith__json_dump(root, out, size);
    kith_config_done(&was);
    json_decref(root);
    return err;
}
