/* Lines between paired devices.       chat HOME            wait for others
 *                                      chat HOME DEVICE     talk with one
 * The home's password is in $KITH_PASSWORD.  A line that is typed goes to everybody connected; the end of the input
 * ends the connections, once all is delivered. */
#include <kith/kith.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOPIC      "org.kith.example.chat/1"
#define PEOPLE_MAX 16

static kith_node *node;
static kith_op people[PEOPLE_MAX];
static size_t count;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "chat: %s: %s\n", what, why);
    return 1;
}

static void say(const void *line, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        kith_err err = kith_send_message(node, people[i], line, size);
        if (err) fail("a line was not sent", kith_err_text(err));
    }
}

static void show(const kith_event *event)
{
    kith_remote_device_info who = {.name = "somebody"};
    if (kith_remote_device(node, event->op, &who)) return;
    printf("%s: %.*s\n", who.name, (int)event->data_size, (const char *)event->data);
}

/* False: there is nothing left to do. */
static bool on_event(const kith_event *event, bool waiting)
{
    switch (event->kind) {
    case KITH_EVENT_INCOMING:
        printf("* %s is here\n", event->device.name);
        if (count < PEOPLE_MAX)
            people[count++] = event->transfer;
        else
            kith_cancel(node, event->transfer);
        break;
    case KITH_EVENT_CONNECTED: printf("* with %s over %s\n", event->device.name, event->path); break;
    case KITH_EVENT_WAITING: printf("* %s\n", event->message); break;
    case KITH_EVENT_MESSAGE: show(event); break;
    case KITH_EVENT_END:
        if (event->err) fail("ended", event->message);
        for (size_t i = 0; i < count; i++)
            if (people[i] == event->op) people[i] = people[--count];
        return waiting || count > 0;
    default: break;
    }
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    const char *password = getenv("KITH_PASSWORD");
    kith_problem problem;
    kith_device_info device;
    kith_op op;
    if (argc < 2 || !password) return fail("usage", "KITH_PASSWORD=... chat HOME [DEVICE]");
    kith_options options = {
        .size = sizeof options, .home = argv[1], .password = password, .password_size = strlen(password)};
    if (kith_open(&options, &node, &problem)) return fail("cannot open the home", problem.message);
    if (argc > 2) {
        kith_connect_options connect = {.size = sizeof connect, .topic = TOPIC};
        if (kith_find(argv[1], argv[2], &device, &problem)) return fail(argv[2], problem.message);
        if (kith_connect(node, device.id, &connect, &people[count++])) return fail("connect", "out of memory");
    } else if (kith_serve(node, TOPIC, NULL, &op)) {
        return fail("serve", "out of memory");
    }
    bool typing = true, waiting = argc == 2, going_on = true;
    while (going_on) {
        struct pollfd fds[2] = {{kith_fd(node), POLLIN, 0}, {typing ? STDIN_FILENO : -1, POLLIN, 0}};
        kith_event event;
        poll(fds, 2, -1);
        while (going_on && kith_next_event(node, &event)) going_on = on_event(&event, waiting && typing);
        if (!going_on || !fds[1].revents) continue;
        char line[4096]; /* a terminal gives whole lines */
        ssize_t size = read(STDIN_FILENO, line, sizeof line);
        if (size > 0) say(line, (size_t)size - (line[size - 1] == '\n'));
        typing = size > 0;
        for (size_t i = 0; !typing && i < count; i++) (void)!kith_finish(node, people[i]);
        going_on = typing || count > 0;
    }
    kith_close(node);
    return 0;
}
