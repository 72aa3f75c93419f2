#include "identity/permit.h"

#include <stddef.h>

/* What is not named is 0: DENY. */
static const kith_permit table[][KITH_STANDING_OWN + 1] = {
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
};

kith_permit kith_permit_of(kith_service service, kith_standing standing)
{
    size_t row = (size_t)service, column = (size_t)standing;
    if (row >= sizeof table / sizeof *table || column >= sizeof table[0] / sizeof table[0][0]) return KITH_DENY;
    return table[row][column];
}
