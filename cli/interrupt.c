#include "interrupt.h"

#include "options.h"
#include "output.h"
#include "prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t signals;
static volatile sig_atomic_t at_once;
static int wake[2] = {-1, -1};

static void say_interrupted(void)
{
    static const char text[] = "kith: interrupted: nothing was changed\n";
    static const char json[] = "{\"event\":\"error\",\"code\":130,\"message\":\"interrupted: nothing was changed\"}\n";
    ssize_t ignored =
        out()->json ? write(STDOUT_FILENO, json, sizeof json - 1) : write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
}

static void on_signal(int number)
{
    int saved = errno;
    (void)number;
    signals = signals + 1;
    if (signals == 1 && at_once) say_interrupted();
    if (signals > 1 || at_once) {
        prompt_restore_terminal();
        _exit(EXIT_INTERRUPTED);
    }
    ssize_t ignored = write(wake[1], "", 1);
    (void)ignored;
    errno = saved;
}

bool interrupt_start(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction act = {.sa_handler = on_signal}, old;
    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK)) return false;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (sigaction(numbers[i], NULL, &old)) return false;
        if (old.sa_handler == SIG_IGN) continue; /* nohup, or a shell's background job: whoever started it wants that */
        if (sigaction(numbers[i], &act, NULL)) return false;
    }
    act.sa_handler = SIG_IGN;
    return !sigaction(SIGPIPE, &act, NULL);
}

void interrupt_ends_at_once(bool on) { at_once = on; }
bool interrupted(void) { return signals > 0; }
int interrupt_fd(void) { return wake[0]; }
