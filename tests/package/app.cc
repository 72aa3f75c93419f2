// app.c as a C++17 program writes it.
#include <kith/kith.h>

#include <iostream>
#include <memory>
#include <string>

int main(int argc, char **argv)
{
    const std::string password = "secret";
    if (argc != 2) return 2;
    kith_device_info self{};
    bool created = false;
    kith_problem problem{};
    kith_node *opened = nullptr;
    kith_options options{};
    options.size = sizeof options;
    options.home = argv[1];
    options.password = password.data();
    options.password_size = password.size();
    options.no_lan = true;
    if (kith_init(argv[1], "app", password.data(), password.size(), &self, &created, &problem) != KITH_OK ||
        kith_open(&options, &opened, &problem) != KITH_OK) {
        std::cerr << kith_err_text(problem.err) << ": " << problem.message << '\n';
        return 1;
    }
    const std::unique_ptr<kith_node, decltype(&kith_close)> node(opened, kith_close);
    std::cout << kith_version() << ' ' << self.name << '\n';
}
