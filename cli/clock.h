#ifndef KITH_CLI_CLOCK_H
#define KITH_CLI_CLOCK_H

#include <stdint.h>

#define SECOND_NS UINT64_C(1000000000)

uint64_t now_ns(void); /* monotonic */
/* From now to then in poll's milliseconds, rounded up; 0 when it is over. */
int poll_ms(uint64_t then_ns);

#endif
