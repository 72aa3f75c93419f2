/* The least an application does: an identity in a new home (its argument), a node, and the node's end. */
#include <kith/kith.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static const char password[] = "secret";
    if (argc != 2) return 2;
    kith_init_options making = {
        .size = sizeof making, .name = "app", .password = password, .password_size = sizeof password - 1};
    kith_init_result made = {.size = sizeof made};
    kith_problem problem;
    kith_node *node;
    kith_options options = {.size = sizeof options,
                            .home = argv[1],
                            .password = password,
                            .password_size = sizeof password - 1,
                            .no_lan = true};
    if (kith_init(argv[1], &making, &made, &problem) != KITH_OK || kith_open(&options, &node, &problem) != KITH_OK) {
        fprintf(stderr, "%s: %s\n", kith_err_text(problem.err), problem.message);
        return 1;
    }
    kith_close(node);
    printf("%s %s\n", kith_version(), made.self.name);
    return 0;
}
