#include "progress.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

#define SECOND_NS       1000000000.0
#define SAMPLE_EVERY_NS UINT64_C(400000000) /* sixteen of them: the rate of about six seconds */
#define DRAW_EVERY_NS   UINT64_C(90000000)
#define STALL_NS        UINT64_C(3000000000) /* without a byte more: then that is said in place of a rate */

void progress_start(progress *p, const char *name, uint64_t bytes, uint64_t total, uint64_t now_ns)
{
    *p = (progress){.bytes = bytes, .total = total, .start_bytes = bytes, .started_ns = now_ns, .moved_ns = now_ns};
    p->tenths_said = total ? (unsigned)(10.0 * (double)bytes / (double)total) : 0;
    out_name(name, p->name, sizeof p->name);
    progress_update(p, bytes, now_ns);
}

double progress_seconds(const progress *p, uint64_t now_ns) { return (double)(now_ns - p->started_ns) / SECOND_NS; }

static void sample(progress *p, uint64_t now_ns)
{
    unsigned last = (p->next + PROGRESS_SAMPLES - 1) % PROGRESS_SAMPLES;
    if (p->count && now_ns - p->samples[last].at_ns < SAMPLE_EVERY_NS) return;
    p->samples[p->next].at_ns = now_ns;
    p->samples[p->next].bytes = p->bytes;
    p->next = (p->next + 1) % PROGRESS_SAMPLES;
    if (p->count < PROGRESS_SAMPLES) p->count++;
}

/* Bytes a second since the oldest sample; 0: not known yet. */
static double rate(const progress *p, uint64_t now_ns)
{
    unsigned oldest = p->count < PROGRESS_SAMPLES ? 0 : p->next;
    uint64_t since = p->count ? now_ns - p->samples[oldest].at_ns : 0;
    if (since < SAMPLE_EVERY_NS || p->bytes < p->samples[oldest].bytes) return 0;
    return (double)(p->bytes - p->samples[oldest].bytes) * SECOND_NS / (double)since;
}

static void time_left(double seconds, char *to, size_t size)
{
    unsigned long s = seconds < 360000 ? (unsigned long)(seconds + 0.5) : 360000;
    if (s >= 3600)
        snprintf(to, size, "%lu:%02lu:%02lu left", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(to, size, "%lu:%02lu left", s / 60, s % 60);
}

static unsigned percentage(const progress *p)
{
    return p->total ? (unsigned)(100.0 * (double)p->bytes / (double)p->total) : 100;
}

void progress_draw(progress *p, uint64_t now_ns)
{
    char line[512], rest[160], speed[OUT_SIZE], left[40] = "";
    double per_second = rate(p, now_ns);
    sample(p, now_ns);
    if (p->drawn_ns && now_ns - p->drawn_ns < DRAW_EVERY_NS && p->bytes < p->total) return;
    p->drawn_ns = now_ns;
    if (per_second > 0 && p->bytes < p->total) time_left((double)(p->total - p->bytes) / per_second, left, sizeof left);
    uint64_t still_ns = now_ns - p->moved_ns;
    if (still_ns >= STALL_NS && p->bytes < p->total)
        snprintf(rest, sizeof rest, "%3u %%  nothing gets through, for %.0f s", percentage(p),
                 (double)still_ns / SECOND_NS);
    else if (per_second > 0)
        snprintf(rest, sizeof rest, "%3u %%  %s/s  %s", percentage(p), out_bytes(per_second, speed), left);
    else
        snprintf(rest, sizeof rest, "%3u %%", percentage(p));
    unsigned columns = out_columns(), used = (unsigned)strlen(rest) + 3;
    snprintf(line, sizeof line, "%.*s  %s", (int)out_fitting(p->name, columns > used ? columns - used : 0), p->name,
             rest);
    out_status(line);
}

void progress_update(progress *p, uint64_t bytes, uint64_t now_ns)
{
    if (bytes != p->bytes) p->moved_ns = now_ns;
    p->bytes = bytes;
    progress_draw(p, now_ns);
    unsigned tenths = percentage(p) / 10;
    if (!out()->plain || tenths <= p->tenths_said) return;
    p->tenths_said = tenths;
    out_say("%s %u %%", p->name, 10 * tenths);
}
