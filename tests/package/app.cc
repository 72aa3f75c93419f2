// app.c as a C++17 program writes it.
#include <kith/kith.h>

#include <iostream>
#include <memory>
#include <string>

int main(int argc, char **argv)
{
    const std::string password = "secret";
    if (argc != 2) return 2;
    kith_init_options making{};
    making.size = sizeof making;
    making.name = "app";
    making.password = password.data();
    making.password_size = password.size();
    kith_init_result made{};
    made.size = sizeof made;
    kith_problem problem{};
    kith_node *opened = nullptr;
    kith_options options{};
    options.size = sizeof options;
    options.home = argv[1];
    options.password = password.data();
    options.password_size = password.size();
    options.no_lan = true;
    if (kith_init(argv[1], &making, &made, &problem) != KITH_OK ||
        kith_open(&options, &opened, &problem) != KITH_OK) {
        std::cerr << kith_err_text(problem.err) << ": " << problem.message << '\n';
        return 1;
    }
    const std::unique_ptr<kith_node, decltype(&kith_close)> node(opened, kith_close);
    std::cout << kith_version() << ' ' << made.self.name << '\n';
}
