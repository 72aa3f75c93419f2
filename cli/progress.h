/* How far a file is: one line redrawn on a terminal, with --plain a line each 10 %, elsewhere nothing. */
#ifndef KITH_CLI_PROGRESS_H
#define KITH_CLI_PROGRESS_H

#include <stdint.h>

#define PROGRESS_SAMPLES 16

typedef struct progress {
    char name[128]; /* printable */
    uint64_t bytes, total, start_bytes, started_ns;
    unsigned tenths_said; /* --plain */
    struct {
        uint64_t at_ns, bytes;
    } samples[PROGRESS_SAMPLES]; /* of the last seconds: the rate is theirs */
    unsigned count, next;
    uint64_t drawn_ns, moved_ns; /* when it was drawn, when there was a byte more */
} progress;

void progress_start(progress *p, const char *name, uint64_t bytes, uint64_t total, uint64_t now_ns);
void progress_update(progress *p, uint64_t bytes, uint64_t now_ns);
void progress_draw(progress *p, uint64_t now_ns); /* time has passed */
double progress_seconds(const progress *p, uint64_t now_ns);

#endif
