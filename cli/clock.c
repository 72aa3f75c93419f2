#include "clock.h"

#include <limits.h>
#include <time.h>

#define MS_NS 1000000

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

int poll_ms(uint64_t then_ns)
{
    uint64_t now = now_ns(), ms = then_ns <= now ? 0 : (then_ns - now) / MS_NS + 1;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}
