/* One file, to a place of its own.     receive_as HOME PATH [SIZE_MAX]
 * The first file that an own device offers, and that is not larger, becomes PATH, whatever its sender calls it; what
 * was there is replaced.  All others are declined.  The home's password is in $KITH_PASSWORD. */
#include <kith/kith.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "receive_as: %s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    const char *password = getenv("KITH_PASSWORD");
    kith_node *node;
    kith_problem problem;
    kith_event event;
    kith_op op, taken = 0; /* the transfer that was */
    if (argc < 3 || !password) return fail("usage", "KITH_PASSWORD=... receive_as HOME PATH [SIZE_MAX]");
    unsigned long long size_max = argc > 3 ? strtoull(argv[3], NULL, 10) : 1ULL << 30;
    kith_options options = {
        .size = sizeof options, .home = argv[1], .password = password, .password_size = strlen(password)};
    if (kith_open(&options, &node, &problem)) return fail("cannot open the home", problem.message);
    kith_receive_options receive = {.size = sizeof receive, .ask = true};
    kith_err err = kith_receive(node, &receive, &op);
    if (err) return fail("cannot begin", kith_err_text(err));
    while (!err && kith_wait_event(node, -1, &event) && event.kind != KITH_EVENT_END) {
        char name[256];
        kith_printable_name(event.name, name, sizeof name); /* what a sender calls a file is data */
        if (event.kind == KITH_EVENT_OFFER) {
            bool take = !taken && event.device.trust == KITH_RELATION_OWN && event.bytes_total <= size_max;
            printf("%s %s from %s\n", take ? "taking" : "declining", name, event.device.name);
            err = take ? kith_receive_file(node, event.transfer, argv[2], KITH_CONFLICT_OVERWRITE)
                       : kith_answer(node, event.transfer, false);
            if (take) taken = event.transfer;
        } else if (event.kind == KITH_EVENT_FAILED && event.transfer == taken) {
            printf("failed: %s\n", event.message); /* it may be offered again: what arrived is kept */
            taken = 0;
        } else if (event.kind == KITH_EVENT_FILE) {
            printf("%s is here: BLAKE3 %s\n", event.path_name, event.hash);
            kith_cancel(node, op); /* one is enough */
        }
        fflush(stdout);
    }
    kith_close(node);
    if (err) return fail("cannot answer", kith_err_text(err));
    return event.err == KITH_ERR_CANCELLED ? 0 : fail("ended", event.message);
}
