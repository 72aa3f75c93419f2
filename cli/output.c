#include "output.h"

#include "options.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define LINE_MAX_BYTES 2048
#define COLUMNS        80 /* of a terminal that does not say */

static out_mode mode;
static atomic_bool status_drawn; /* read by the node's thread when it logs */
static bool broken;

const out_mode *out(void) { return &mode; }

static bool set_in_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value && strcmp(value, "0") != 0;
}

/* What the locale says; where nothing says anything (a container), UTF-8, as terminals are today. */
static bool is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    bool said = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) said = said || set_in_environment(names[i]);
    if (!setlocale(LC_CTYPE, said ? "" : "C.UTF-8") && !setlocale(LC_CTYPE, "C")) return false;
    return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

void out_start(int argc, char **argv)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    mode = (out_mode){.plain = set_in_environment("KITH_PLAIN") || (term && !strcmp(term, "dumb"))};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--json")) mode.json = true;
        if (!strcmp(argv[i], "--plain")) mode.plain = true;
        if (!strcmp(argv[i], "--quiet")) mode.quiet = true;
        if (!strcmp(argv[i], "--verbose")) mode.verbose++;
        if (argv[i][0] == '-' && (argv[i][1] == 'q' || argv[i][1] == 'v'))
            for (const char *c = argv[i] + 1; *c == 'q' || *c == 'v'; c++)
                *c == 'q' ? (void)(mode.quiet = true) : (void)mode.verbose++;
    }
    mode.utf8 = is_utf8();
    mode.error_terminal = isatty(STDERR_FILENO) && !mode.plain;
    mode.colour = mode.error_terminal && !(no_colour && *no_colour);
}

/* ---- writing ---- */

/* One write, so that lines of two threads do not mix. */
static void write_error(const char *prefix, const char *text)
{
    char line[LINE_MAX_BYTES];
    int n =
        snprintf(line, sizeof line, "%s%s%s\n", atomic_exchange(&status_drawn, false) ? "\r\033[K" : "", prefix, text);
    if (n >= (int)sizeof line) {
        n = (int)sizeof line - 1;
        line[n - 1] = '\n';
    }
    for (int at = 0; at < n;) {
        ssize_t wrote = write(STDERR_FILENO, line + at, (size_t)(n - at));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return;
        at += (int)wrote;
    }
}

void out_status(const char *line)
{
    char text[LINE_MAX_BYTES];
    if (!mode.error_terminal || mode.quiet || mode.json) return;
    if (!*line && !atomic_load(&status_drawn)) return;
    /* What goes on in a second line would not be taken away. */
    int n = snprintf(text, sizeof text, "\r%.*s\033[K", (int)out_fitting(line, out_columns() - 1), line);
    atomic_store(&status_drawn, *line != 0);
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)(n < (int)sizeof text ? n : (int)sizeof text - 1));
    (void)ignored;
}

static void end_line(void)
{
    if (putchar('\n') == EOF || fflush(stdout)) broken = true;
}

void out_line(const char *format, ...)
{
    va_list list;
    if (mode.json) return;
    out_status("");
    va_start(list, format);
    if (vprintf(format, list) < 0) broken = true;
    va_end(list);
    end_line();
}

void out_event(json_t *object)
{
    if (mode.json && object) {
        if (json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9))) broken = true;
        end_line();
    }
    json_decref(object);
}

void out_say(const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list list;
    if (mode.quiet || mode.json) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    write_error("", text);
}

void out_warn(const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    write_error("kith: ", text);
}

void out_revoked(const char *message)
{
    out_warn("warning: " OUT_REVOKED, message);
    out_event(json_pack("{s:s, s:o}", "event", "revoked", "message", out_json_text(message)));
}

int out_error(int status, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (mode.json)
        out_event(json_pack("{s:s, s:i, s:o}", "event", "error", "code", status, "message", out_json_text(text)));
    else
        write_error("kith: ", text);
    return status;
}

int out_problem(kith_err err, const char *message)
{
    return out_error(kith_err_exit(err), "%s", message && *message ? message : kith_err_text(err));
}

void out_log(void *user, kith_level level, const char *line)
{
    static const char *const names[] = {"error: ", "warning: ", "info: ", "debug: "};
    (void)user;
    write_error(names[level <= KITH_LOG_DEBUG ? level : KITH_LOG_DEBUG], line);
}

bool out_broken(void) { return broken; }

bool out_finish(void)
{
    out_status("");
    if (fflush(stdout) || ferror(stdout)) broken = true;
    return !broken;
}

/* ---- text ---- */

unsigned out_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS;
}

size_t out_fitting(const char *text, unsigned columns)
{
    size_t size = 0;
    unsigned used = 0;
    mbstate_t state = {0};
    while (text[size]) {
        wchar_t c;
        size_t n = mbrtowc(&c, text + size, strlen(text + size), &state);
        int width = n > 0 && n < (size_t)-2 ? wcwidth(c) : -1;
        if (width < 0) { /* not this locale's: a byte is a column */
            n = 1;
            width = 1;
            memset(&state, 0, sizeof state);
        }
        if (used + (unsigned)width > columns) break;
        used += (unsigned)width;
        size += n;
    }
    return size;
}

char *out_name(const char *text, char *to, size_t size) { return kith_printable_name(text, to, size); }

char *out_bytes(double bytes, char to[OUT_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    while (bytes >= 1023.95 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(to, OUT_SIZE, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return to;
}

char *out_ago(int64_t then_ms, char to[OUT_SIZE])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t s = (int64_t)now.tv_sec - then_ms / 1000;
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}};
    if (!then_ms) {
        snprintf(to, OUT_SIZE, "never");
        return to;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (s < units[i].seconds) continue;
        int64_t n = s / units[i].seconds;
        snprintf(to, OUT_SIZE, "%lld %s%s ago", (long long)n, units[i].name, n == 1 ? "" : "s");
        return to;
    }
    snprintf(to, OUT_SIZE, "just now");
    return to;
}

char *out_time(int64_t at_ms, char to[OUT_SIZE])
{
    time_t at = (time_t)(at_ms / 1000);
    struct tm parts;
    if (!gmtime_r(&at, &parts) || !strftime(to, OUT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts)) *to = 0;
    return to;
}

char *out_group(const char *hex, size_t digits, char *to, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < digits && hex[i] && n + 2 < size; i++) {
        if (i && i % 4 == 0) to[n++] = ' ';
        to[n++] = hex[i];
    }
    to[n] = 0;
    return to;
}

json_t *out_json_text(const char *text)
{
    json_t *value = json_string(text);
    char shown[LINE_MAX_BYTES];
    return value ? value : json_string(kith_printable_name(text, shown, sizeof shown));
}

json_t *out_json_time(int64_t at_ms)
{
    char text[OUT_SIZE];
    return at_ms ? json_string(out_time(at_ms, text)) : json_null();
}

const char *out_relation(kith_relation relation)
{
    if (relation == KITH_RELATION_OWN) return "own";
    return relation == KITH_RELATION_CONTACT ? "contact" : "none";
}

json_t *out_json_device(const kith_device_info *d)
{
    return json_pack("{s:s, s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "id", d->id, "name", out_json_text(d->name),
                     "fingerprint", d->fingerprint, "trust", out_relation(d->trust), "verified", d->verified,
                     "last_seen", out_json_time(d->last_seen_ms), "added", out_json_time(d->added_ms), "os",
                     out_json_text(d->os), "hardware_model", out_json_text(d->hardware_model));
}

const char *out_ended_code(const kith_recovery_info *r, char out[static OUT_ENDED_SIZE])
{
    char when[OUT_SIZE];
    *out = 0;
    if (r->ended)
        snprintf(out, OUT_ENDED_SIZE, "the recovery code that %s made on %s is %s", r->ended_by,
                 out_time(r->ended_ms, when),
                 r->ended_waits ? "not in force: another of your devices has to agree (\"kith recovery accept\" there)"
                                : "void: make a new one (\"kith recovery new\")");
    return out;
}

json_t *out_json_ended_code(const kith_recovery_info *r)
{
    if (!r->ended) return json_null();
    return json_pack("{s:o, s:o, s:b}", "by", out_json_text(r->ended_by), "created_at", out_json_time(r->ended_ms),
                     "waits", r->ended_waits);
}
