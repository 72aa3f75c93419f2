#include "identity/rfc3339.h"

#include <stdbool.h>
#include <stdio.h>

#define MS_A_DAY INT64_C(86400000)

static bool leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && leap(year));
}

/* Days from 1 January 1970 to 1 January of `year`: 365 each and one for each leap year passed. */
static int64_t days_to_year(int64_t year)
{
    int64_t passed = year - 1;
    return (year - 1970) * 365 + (passed / 4 - passed / 100 + passed / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
}

char *kith_rfc3339_text(int64_t ms, char out[static KITH_RFC3339_SIZE])
{
    ms = ms < 0 ? 0 : ms > KITH_RFC3339_MAX_MS ? KITH_RFC3339_MAX_MS : ms;
    int64_t day = ms / MS_A_DAY, rest = ms % MS_A_DAY, month = 1;
    int64_t year = 1970 + day / 366; /* not after the right one, and near it */
    while (days_to_year(year + 1) <= day) year++;
    day -= days_to_year(year);
    while (day >= days_in_month(year, month)) day -= days_in_month(year, month++);
    /* Every field is in range; the remainders tell the compiler so. */
    snprintf(out, KITH_RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(year % 10000),
             (unsigned)(month % 100), (unsigned)((day + 1) % 100), (unsigned)(rest / 3600000 % 24),
             (unsigned)(rest / 60000 % 60), (unsigned)(rest / 1000 % 60), (unsigned)(rest % 1000));
    return out;
}

/* `count` digits, then `after` unless that is 0; -1 when they are not there. */
static int64_t digits(const char **at, int count, char after)
{
    int64_t value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9') return -1;
        value = value * 10 + (**at - '0');
    }
    if (after && *(*at)++ != after) return -1;
    return value;
}

static int64_t fraction_ms(const char **at)
{
    int64_t value = 0, unit = 100;
    if (**at != '.') return 0;
    (*at)++;
    if (**at < '0' || **at > '9') return -1;
    for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) value += (**at - '0') * unit;
    return value;
}

/* Minutes east of UTC in *out. */
static bool offset(const char **at, int64_t *out)
{
    char sign = *(*at)++;
    *out = 0;
    if (sign == 'Z' || sign == 'z') return true;
    if (sign != '+' && sign != '-') return false;
    int64_t hours = digits(at, 2, ':'), minutes = hours < 0 ? -1 : digits(at, 2, 0);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return false;
    *out = (hours * 60 + minutes) * (sign == '-' ? -1 : 1);
    return true;
}

kith_err kith_rfc3339_parse(const char *text, int64_t *ms)
{
    const char *at = text;
    int64_t year = digits(&at, 4, '-');
    int64_t month = year < 0 ? -1 : digits(&at, 2, '-');
    int64_t day = month < 0 ? -1 : digits(&at, 2, 0);
    if (year < 1969 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) return KITH_ERR_FORMAT;
    if (*at != 'T' && *at != 't' && *at != ' ') return KITH_ERR_FORMAT;
    at++;
    int64_t hour = digits(&at, 2, ':');
    int64_t minute = hour < 0 ? -1 : digits(&at, 2, ':');
    int64_t second = minute < 0 ? -1 : digits(&at, 2, 0);
    if (hour > 23 || minute > 59 || second < 0 || second > 60) return KITH_ERR_FORMAT;
    int64_t part = fraction_ms(&at), east;
    if (part < 0 || !offset(&at, &east) || *at) return KITH_ERR_FORMAT;
    int64_t days = days_to_year(year) + day - 1;
    for (int64_t m = 1; m < month; m++) days += days_in_month(year, m);
    int64_t value = days * MS_A_DAY + ((hour * 60 + minute - east) * 60 + second) * 1000 + part;
    if (value < 0 || value > KITH_RFC3339_MAX_MS) return KITH_ERR_FORMAT;
    *ms = value;
    return KITH_OK;
}
