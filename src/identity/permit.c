#include "identity/permit.h"

#include <string.h>

/* What is not named is 0: DENY. */
static const kith_access table[KITH_SERVICES][KITH_STANDING_OWN + 1] = {
    [KITH_SERVICE_HELLO] = {[KITH_STANDING_OWN] = KITH_ALLOW,
                            [KITH_STANDING_CONTACT] = KITH_ALLOW,
                            [KITH_STANDING_ONE_TIME] = KITH_ALLOW,
                            [KITH_STANDING_UNKNOWN] = KITH_ALLOW},
    [KITH_SERVICE_PAIR] = {[KITH_STANDING_OWN] = KITH_ALLOW,
                           [KITH_STANDING_CONTACT] = KITH_ALLOW,
                           [KITH_STANDING_ONE_TIME] = KITH_ALLOW,
                           [KITH_STANDING_UNKNOWN] = KITH_ALLOW},
    [KITH_SERVICE_PING] = {[KITH_STANDING_OWN] = KITH_ALLOW, [KITH_STANDING_CONTACT] = KITH_ALLOW},
    [KITH_SERVICE_FILE] =
        {[KITH_STANDING_OWN] = KITH_ALLOW, [KITH_STANDING_CONTACT] = KITH_ASK, [KITH_STANDING_ONE_TIME] = KITH_ASK},
    [KITH_SERVICE_TALK] = {[KITH_STANDING_OWN] = KITH_ALLOW, [KITH_STANDING_CONTACT] = KITH_ASK},
    [KITH_SERVICE_TRUST] = {[KITH_STANDING_OWN] = KITH_ALLOW},
};
_Static_assert(KITH_SERVICES <= KITH_OVERRIDES_MAX, "each service has a place");

/* Those that can be overridden. */
static const char *const names[KITH_SERVICES] = {
    [KITH_SERVICE_PING] = "ping", [KITH_SERVICE_FILE] = "file", [KITH_SERVICE_TALK] = "talk"};

kith_access kith_permit_of(kith_service service, kith_standing standing)
{
    size_t row = (size_t)service, column = (size_t)standing;
    if (row >= sizeof table / sizeof *table || column >= sizeof table[0] / sizeof table[0][0]) return KITH_DENY;
    return table[row][column];
}

bool kith_permit_overridden(kith_service service, const kith_overrides *overrides)
{
    uint8_t value = kith_permit_name(service) ? overrides->of[service] : 0;
    return value && kith_permit_settable(service, (kith_access)(value - 1));
}

kith_access kith_permit_for(kith_service service, kith_standing standing, const kith_overrides *overrides)
{
    bool pinned = standing == KITH_STANDING_OWN || standing == KITH_STANDING_CONTACT;
    if (!pinned || !kith_permit_overridden(service, overrides)) return kith_permit_of(service, standing);
    return (kith_access)(overrides->of[service] - 1);
}

bool kith_permit_settable(kith_service service, kith_access verdict)
{
    if (!kith_permit_name(service) || (unsigned)verdict > KITH_ALLOW) return false;
    return service != KITH_SERVICE_PING || verdict != KITH_ASK;
}

bool kith_permit_find(const char *name, kith_service *service)
{
    for (size_t i = 0; i < KITH_SERVICES; i++)
        if (names[i] && strcmp(names[i], name) == 0) {
            *service = (kith_service)i;
            return true;
        }
    return false;
}

const char *kith_permit_name(kith_service service) { return (size_t)service < KITH_SERVICES ? names[service] : NULL; }

bool kith_overrides_valid(const kith_overrides *overrides)
{
    for (size_t i = 0; i < KITH_OVERRIDES_MAX; i++)
        if (overrides->of[i] > 1 + KITH_ALLOW) return false;
    return true;
}
