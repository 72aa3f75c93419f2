#include "session.h"

#include "interrupt.h"
#include "output.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_PATIENCE_NS   (5 * SECOND_NS) /* for an operation to end after it was told to */
#define PASSWORD_TRIES     3
#define DAEMON_PATIENCE_MS 5000 /* for its first words, whatever --timeout says */
#define TIMEOUT_MAX_S      100000000ul

/* ---- settings ---- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int find_home(session *s)
{
    const char *given = args_value(s->args, OPT_HOME), *data = environment("XDG_DATA_HOME"),
               *user = environment("HOME");
    int n;
    if (!given) given = environment("KITH_HOME");
    if (data && *data != '/') data = NULL; /* the XDG specification: relative ones are to be ignored */
    if (!user) {
        const struct passwd *entry = getpwuid(getuid());
        if (entry) user = entry->pw_dir;
    }
    if (given)
        n = snprintf(s->home, sizeof s->home, "%s", given);
    else if (data)
        n = snprintf(s->home, sizeof s->home, "%s/kith", data);
    else if (user)
        n = snprintf(s->home, sizeof s->home, "%s/.local/share/kith", user);
    else
        return out_error(EXIT_USAGE, "where this device's data is cannot be told: name the folder with --home DIR");
    if (n < 0 || (size_t)n >= sizeof s->home || !*s->home)
        return out_error(EXIT_USAGE, "that is no folder for this device's data: name another with --home DIR");
    return 0;
}

static int read_log_level(session *s)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *text = environment("KITH_LOG");
    int verbose = out()->verbose;
    char shown[OUT_NAME];
    s->logging = !out()->quiet;
    s->log_level = KITH_LOG_ERROR;
    if (text) {
        size_t i = 0;
        while (i < 4 && strcmp(text, names[i]) != 0) i++;
        if (i == 4)
            return out_error(EXIT_USAGE, "KITH_LOG is \"%s\": it may be error, warn, info or debug",
                             out_name(text, shown, sizeof shown));
        s->log_level = (kith_level)i;
        s->logging = true;
    }
    if (verbose == 1 && s->log_level < KITH_LOG_INFO) s->log_level = KITH_LOG_INFO;
    if (verbose > 1) s->log_level = KITH_LOG_DEBUG;
    return 0;
}

int session_start(session *s, const cli_args *args)
{
    const char *timeout = args_value(args, OPT_TIMEOUT);
    *s = (session){.args = args, .no_input = args_has(args, OPT_NO_INPUT), .listen = args_value(args, OPT_LISTEN)};
    int status = args_has(args, OPT_LAN) && args_has(args, OPT_NO_LAN)
                     ? out_error(EXIT_USAGE, "--lan and --no-lan do not go together: leave one out")
                     : find_home(s);
    if (!status) status = read_log_level(s);
    if (!status) status = relays_read(&s->relays, args);
    if (!status && timeout) status = args_number("--timeout", timeout, 1, TIMEOUT_MAX_S, &s->timeout_s);
    if (!status && s->timeout_s) s->deadline_ns = now_ns() + s->timeout_s * SECOND_NS;
    prompt_until(s->deadline_ns);
    return status ? status : relays_token(&s->relays, s); /* which may have to be waited for */
}

/* ---- the password ---- */

int session_line(const session *s, int fd, const char *name, const char *what, char *line, size_t room, size_t *size)
{
    size_t n = 0;
    ssize_t got;
    for (;;) {
        char c;
        prompt_result ready = prompt_wait(fd);
        if (ready == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: nothing was changed");
        if (ready == PROMPT_TIMEOUT) return session_gave_up(s, "nothing was changed");
        got = read(fd, &c, 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got < 0) return out_error(kith_err_exit(KITH_ERR_IO), "%s cannot be read: %s", name, strerror(errno));
        if (got == 0 || c == '\n') break;
        if (n + 1 >= room) return out_error(EXIT_USAGE, "%s holds too much in a line for %s", name, what);
        line[n++] = c;
    }
    if (n && line[n - 1] == '\r') n--;
    line[n] = 0;
    *size = n;
    return got == 0 ? -1 : 0;
}

int session_first_line(const session *s, int fd, const char *name, const char *what, char *line, size_t room,
                       size_t *size)
{
    int status = session_line(s, fd, name, what, line, room, size);
    if (status > 0) return status;
    return *size ? 0 : out_error(EXIT_USAGE, "the first line of %s is empty: it must be %s", name, what);
}

int session_open_file(const char *path, const char *kind, const char *cure, int *fd)
{
    char shown[OUT_NAME];
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd >= 0) return 0;
    int error = errno;
    kith_err err = error == ENOENT ? KITH_ERR_NO_FILE : error == EACCES ? KITH_ERR_PERMISSION : KITH_ERR_IO;
    return out_error(kith_err_exit(err), "the %s %s cannot be opened: %s; %s", kind,
                     out_name(path, shown, sizeof shown), strerror(error), cure);
}

static int password_line(const session *s, int fd, const char *name, secret *out)
{
    return session_first_line(s, fd, name, "this device's password", out->data, sizeof out->data, &out->size);
}

static int password_from_file(const session *s, const char *path, secret *out)
{
    struct stat info;
    char shown[OUT_NAME];
    int fd;
    if (!strcmp(path, "-")) return password_line(s, STDIN_FILENO, "standard input", out);
    int status = session_open_file(path, "password file", "name another, or none to be asked", &fd);
    if (status) return status;
    out_name(path, shown, sizeof shown);
    if (!fstat(fd, &info) && S_ISREG(info.st_mode) && (info.st_mode & (S_IRGRP | S_IROTH)))
        out_warn("warning: others can read the password file %s: \"chmod 600\" it", shown);
    status = password_line(s, fd, shown, out);
    close(fd);
    return status;
}

/* `question`: for one that is not new. */
static int ask_password(const session *s, bool is_new, const char *question, secret *out)
{
    static const char *const unchanged = "nothing was changed";
    for (;;) {
        prompt_result result = prompt_password(is_new ? "A new password for this device: " : question, out);
        if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: %s", unchanged);
        if (result == PROMPT_TIMEOUT) return session_gave_up(s, unchanged);
        if (result != PROMPT_OK)
            return out_error(EXIT_USAGE, "no password was given: type one, or name a file with --password-file FILE");
        if (!out->size) {
            prompt_print("It must not be empty.\n");
            continue;
        }
        if (!is_new) return 0;
        secret again;
        secret_init(&again);
        result = prompt_password("The same once more: ", &again);
        bool same = result == PROMPT_OK && again.size == out->size && !memcmp(again.data, out->data, out->size);
        secret_done(&again);
        if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: %s", unchanged);
        if (result == PROMPT_TIMEOUT) return session_gave_up(s, unchanged);
        if (same) return 0;
        if (result != PROMPT_OK) return out_error(EXIT_USAGE, "the password was not repeated: %s", unchanged);
        prompt_print("These were two different passwords.\n");
    }
}

static const char *password_file(const session *s)
{
    const char *given = args_value(s->args, OPT_PASSWORD_FILE);
    if (!given) given = environment("KITH_PASSWORD_FILE");
    return given ? given : s->password_file;
}

bool session_may_ask(const session *s) { return !s->no_input && prompt_possible(); }

int session_cannot_ask(const session *s, const char *option)
{
    return out_error(EXIT_USAGE, "%s: say %s",
                     s->no_input ? "something must be asked, and --no-input forbids it"
                                 : "something must be asked, and there is no terminal",
                     option);
}

int session_gave_up(const session *s, const char *go_on)
{
    return out_error(EXIT_TIMEOUT, "gave up after %lu second%s, as --timeout says: %s", s->timeout_s,
                     s->timeout_s == 1 ? "" : "s", go_on);
}

/* What comes next takes a second, in which nothing else is said: the key is worked out of the password. */
static int say_working(int status)
{
    if (!status) out_status("Working out the key from the password...");
    return status;
}

static int get_password(session *s, bool is_new, const char *question, secret *out)
{
    if (password_file(s)) return say_working(password_from_file(s, password_file(s), out));
    if (!session_may_ask(s)) return session_cannot_ask(s, "--password-file FILE");
    return say_working(ask_password(s, is_new, question, out));
}

int session_password(session *s, bool is_new, secret *out)
{
    return get_password(s, is_new, "This device's password: ", out);
}

int session_password_named(session *s, const char *question, secret *out)
{
    return get_password(s, false, question, out);
}

bool session_try_again(const session *s, kith_err err, int *tries)
{
    if (err != KITH_ERR_PASSWORD || password_file(s) || ++*tries == PASSWORD_TRIES) return false;
    prompt_print("That was not it: try again.\n");
    return true;
}

int session_new_password(session *s, secret *out)
{
    const char *file = args_value(s->args, OPT_NEW_PASSWORD_FILE);
    if (file) return say_working(password_from_file(s, file, out));
    if (!session_may_ask(s)) return session_cannot_ask(s, "--new-password-file FILE");
    return say_working(ask_password(s, true, NULL, out));
}

/* ---- the node ---- */

int session_daemon(session *s)
{
    kith_options options = {.size = sizeof options, .home = s->home, .daemon = KITH_DAEMON_ONLY};
    kith_problem problem;
    if (s->deadline_ns) options.daemon_patience_ms = (unsigned)poll_ms(s->deadline_ns) + 1; /* 0 would be the default */
    if (options.daemon_patience_ms > DAEMON_PATIENCE_MS) options.daemon_patience_ms = DAEMON_PATIENCE_MS;
    interrupt_ends_at_once(true); /* nothing is under way, and a daemon that hangs is waited for here */
    kith_err err = kith_open(&options, &s->node, &problem);
    interrupt_ends_at_once(false);
    if (err == KITH_ERR_NOT_FOUND) return -1;
    if (!err) return 0;
    bool told = err == KITH_ERR_TIMEOUT || err == KITH_ERR_PERMISSION || err == KITH_ERR_EXPOSED;
    return out_error(told ? kith_err_exit(err) : EXIT_FAILED, "%s", problem.message);
}

int session_attach(session *s)
{
    static const option_id own[] = {OPT_LISTEN, OPT_NO_LAN, OPT_LAN, OPT_RELAY, OPT_RELAY_TOKEN_FILE};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (args_has(s->args, own[i])) return -1;
    int status = session_daemon(s);
    s->attached = !status;
    return status;
}

static kith_err open_node(session *s, const secret *password, kith_problem *problem)
{
    kith_options options = {.size = sizeof options,
                            .home = s->home,
                            .listen = s->listen,
                            .no_lan = args_has(s->args, OPT_NO_LAN),
                            .lan = args_has(s->args, OPT_LAN)};
    options.password = password ? password->data : NULL;
    options.password_size = password ? password->size : 0;
    options.relays = s->relays.said ? s->relays.urls : NULL;
    options.relay_count = s->relays.said ? s->relays.count : 0;
    options.relay_token = *s->relays.token ? s->relays.token : NULL;
    options.log_level = s->log_level;
    options.log = s->logging ? out_log : NULL;
    kith_err err = kith_open(&options, &s->node, problem);
    out_status("");
    return err;
}

int session_open(session *s)
{
    int status = session_attach(s);
    return status < 0 ? session_open_own(s) : status;
}

int session_open_own(session *s)
{
    kith_problem problem;
    kith_device_info self;
    secret password;
    kith_err err = kith_self(s->home, &self, &problem); /* who has no identity is not asked for its password */
    if (!err) err = setting_check(s, &problem);         /* nor who needs to put right what is set */
    if (err) return out_problem(err, problem.message);
    for (int tries = 0;;) {
        secret_init(&password);
        int status = session_password(s, false, &password);
        if (!status) err = open_node(s, &password, &problem);
        secret_done(&password);
        if (status || !err) return status;
        if (!session_try_again(s, err, &tries)) return out_problem(err, problem.message);
    }
}

int session_open_with(session *s, secret *password)
{
    kith_problem problem;
    kith_err err = open_node(s, password, &problem);
    secret_done(password);
    return err ? out_problem(err, problem.message) : 0;
}

int session_look(session *s)
{
    kith_problem problem;
    int status = session_attach(s);
    if (status >= 0) return status;
    return open_node(s, NULL, &problem) ? -1 : 0;
}

int session_open_without(session *s)
{
    kith_problem problem;
    int status = session_attach(s);
    if (status >= 0) return status;
    kith_err err = open_node(s, NULL, &problem);
    return err ? out_problem(err, problem.message) : 0;
}

bool session_names_password(const session *s) { return password_file(s) != NULL; }

bool session_has_password(const session *s) { return password_file(s) || session_may_ask(s); }

void session_close(session *s)
{
    kith_close(s->node);
    s->node = NULL;
}

void session_warn_revoked(const session *s)
{
    char message[KITH_REVOKED_TEXT];
    kith_problem problem;
    if (kith_revoked(s->home, message, &problem) == KITH_OK && *message) out_revoked(message);
}

int session_find(session *s, const char *text, kith_device_info *device)
{
    kith_device_info self;
    kith_problem problem, ignored;
    char shown[OUT_NAME];
    kith_err err = kith_find(s->home, text, device, &problem);
    if (err == KITH_ERR_NOT_FOUND && !kith_self(s->home, &self, &ignored) &&
        (!strcmp(text, self.id) || !strcmp(text, self.name)))
        return out_error(kith_err_exit(err), "%s is this device itself: name another (`kith devices` lists them)",
                         out_name(text, shown, sizeof shown));
    return err ? out_problem(err, problem.message) : 0;
}

/* ---- waiting ---- */

void session_listen(session *s, bool on) { s->listening = on; }

void session_ask(session *s, const char *format, ...)
{
    char text[PROMPT_LINE];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    prompt_forget_typed();
    prompt_print("%s", text);
    s->listening = s->asked = true;
}

void session_leave_question(session *s)
{
    if (s->asked) prompt_print("\n");
    s->asked = false;
}

void session_answer(session *s, kith_op question, bool yes)
{
    kith_err err = kith_answer(s->node, question, yes);
    if (err && err != KITH_ERR_NOT_FOUND)
        out_warn("the answer did not get through: %s", kith_err_text(err)); /* NOT_FOUND: it is over */
}

void session_stop(session *s, stop_reason why, int status)
{
    if (s->stop != STOP_NOT) return;
    s->stop = why;
    s->stop_status = status;
    s->stop_ns = now_ns();
    kith_cancel(s->node, s->op);
}

static int finish(session *s, kith_err err, const char *message)
{
    const char *go_on = s->handler->go_on;
    out_status("");
    session_leave_question(s);
    if (s->stop == STOP_STATUS) return s->stop_status;
    if (s->stop == STOP_OUTPUT) return EXIT_FAILED; /* main says it */
    if (err == KITH_OK || s->stop == STOP_DONE) return 0;
    if (s->stop == STOP_INTERRUPT && s->handler->stays) return 0;
    if (s->stop == STOP_INTERRUPT) return out_error(EXIT_INTERRUPTED, "interrupted: %s", go_on);
    if (s->stop == STOP_TIMEOUT) return session_gave_up(s, go_on);
    return out_problem(err, message);
}

/* Until when to sleep, in poll's milliseconds. */
static int sleep_ms(const session *s)
{
    uint64_t tick = s->listening || !s->tick_ns ? SECOND_NS : s->tick_ns;
    uint64_t until = now_ns() + (s->handler->tick || s->listening ? tick : 3600 * SECOND_NS);
    if (s->stop != STOP_NOT) return (int)(STOP_PATIENCE_NS / 1000000);
    if (s->deadline_ns && s->deadline_ns < until) until = s->deadline_ns;
    if (s->until_ns && s->until_ns < until) until = s->until_ns;
    return poll_ms(until);
}

static void take_line(session *s)
{
    char line[PROMPT_LINE];
    prompt_result result = prompt_take_line(line, sizeof line);
    if (result == PROMPT_INTERRUPTED) return;
    if (result == PROMPT_END)
        s->listening = false;
    else
        s->asked = false;
    s->handler->line(s, result == PROMPT_OK ? line : NULL);
}

static void wait_for_something(session *s)
{
    struct pollfd fds[3] = {
        {.fd = kith_fd(s->node), .events = POLLIN}, {.fd = interrupt_fd(), .events = POLLIN}, {.fd = -1}};
    if (out_broken()) session_stop(s, STOP_OUTPUT, 0);
    if (s->stop == STOP_INTERRUPT) fds[1].fd = -1; /* it stays readable */
    if (s->listening && s->stop == STOP_NOT && prompt_in_front())
        fds[2] = (struct pollfd){.fd = prompt_fd(), .events = POLLIN};
    int n = poll(fds, 3, sleep_ms(s));
    uint64_t now = now_ns();
    if (interrupted()) session_stop(s, STOP_INTERRUPT, 0);
    if (s->deadline_ns && now >= s->deadline_ns) session_stop(s, STOP_TIMEOUT, 0);
    if (s->until_ns && now >= s->until_ns) session_stop(s, STOP_DONE, 0);
    if (s->stop == STOP_NOT && n > 0 && fds[2].revents) take_line(s);
    if (s->stop == STOP_NOT && s->handler->tick) s->handler->tick(s);
}

int session_run(session *s, const session_handler *handler, void *user)
{
    kith_event event;
    s->handler = handler;
    s->user = user;
    s->stop = STOP_NOT;
    for (;;) {
        while (kith_next_event(s->node, &event)) {
            if (event.op != s->op) {
                if (handler->other) handler->other(s, &event);
                continue;
            }
            if (event.kind != KITH_EVENT_END)
                handler->event(s, &event);
            else if (s->stop != STOP_NOT || !handler->end || !handler->end(s, &event))
                return finish(s, event.err, event.message);
        }
        wait_for_something(s);
        if (s->stop != STOP_NOT && now_ns() - s->stop_ns >= STOP_PATIENCE_NS) return finish(s, KITH_ERR_CANCELLED, "");
    }
}

int session_begin(session *s, kith_err err, const session_handler *handler, void *user)
{
    return err ? out_problem(err, NULL) : session_run(s, handler, user);
}

void session_warn_code(const session *s)
{
    char text[OUT_ENDED_SIZE];
    kith_problem problem;
    kith_recovery_info info = {.size = sizeof info};
    if (kith_recovery(s->home, &info, &problem) || !info.ended) return;
    out_say("Warning: %s.", out_ended_code(&info, text));
}
