/* A folder for what one's own devices send.     file_drop HOME FOLDER           take files, until one has come
 *                                                file_drop HOME DEVICE FILE      send one
 * The home's password is in $KITH_PASSWORD. */
#include <kith/kith.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "file_drop: %s: %s\n", what, why);
    return 1;
}

static void show(const kith_event *event)
{
    char name[256];
    kith_printable_name(event->name, name, sizeof name); /* what a sender calls a file is data */
    switch (event->kind) {
    case KITH_EVENT_START: printf("%s, %llu bytes\n", name, (unsigned long long)event->bytes_total); break;
    case KITH_EVENT_PROGRESS:
        printf("%llu of %llu\n", (unsigned long long)event->bytes, (unsigned long long)event->bytes_total);
        break;
    case KITH_EVENT_FILE: printf("%s is here, from %s: BLAKE3 %s\n", name, event->device.name, event->hash); break;
    case KITH_EVENT_SENT: printf("%s has it: BLAKE3 %s\n", event->device.name, event->hash); break;
    case KITH_EVENT_WAITING: printf("%s\n", event->message); break;
    case KITH_EVENT_FAILED: printf("failed: %s\n", event->message); break;
    default: break;
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *password = getenv("KITH_PASSWORD");
    kith_node *node;
    kith_problem problem;
    kith_event event;
    kith_op op;
    if (argc < 3 || !password) return fail("usage", "KITH_PASSWORD=... file_drop HOME FOLDER | HOME DEVICE FILE");
    kith_options options = {
        .size = sizeof options, .home = argv[1], .password = password, .password_size = strlen(password)};
    if (kith_open(&options, &node, &problem)) return fail("cannot open the home", problem.message);
    kith_err err;
    if (argc > 3) {
        kith_device_info device;
        if (kith_find(argv[1], argv[2], &device, &problem)) return fail(argv[2], problem.message);
        err = kith_send_file(node, device.id, argv[3], NULL, &op);
    } else {
        kith_receive_options receive = {.size = sizeof receive, .folder = argv[2], .once = true};
        err = kith_receive(node, &receive, &op);
    }
    if (err) return fail("cannot begin", kith_err_text(err));
    do {
        if (kith_wait_event(node, -1, &event)) show(&event);
    } while (event.kind != KITH_EVENT_END);
    kith_close(node);
    return event.err ? fail("ended", event.message) : 0;
}
