#include "base/addr.h"
#include "testlib.h"

#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

/* As text says it, and as it is written; what it is. */
static const struct {
    const char *text, *written; /* NULL: refused */
    bool loopback, link_local, local, any;
} table[] = {
    {"192.0.2.1:443", "192.0.2.1:443", false, false, false, false},
    {"192.0.2.1", "192.0.2.1:0", false, false, false, false},
    {"127.1.2.3:1", "127.1.2.3:1", true, false, true, false},
    {"169.254.1.1:1", "169.254.1.1:1", false, true, true, false},
    {"10.255.0.1:1", "10.255.0.1:1", false, false, true, false},
    {"172.16.0.1", "172.16.0.1:0", false, false, true, false},
    {"172.31.0.1", "172.31.0.1:0", false, false, true, false},
    {"172.32.0.1", "172.32.0.1:0", false, false, false, false},
    {"192.168.0.1", "192.168.0.1:0", false, false, true, false},
    {"100.64.0.1", "100.64.0.1:0", false, false, true, false},
    {"100.128.0.1", "100.128.0.1:0", false, false, false, false},
    {"0.0.0.0:65535", "0.0.0.0:65535", false, false, false, true},
    {"[2001:db8::1]:443", "[2001:db8::1]:443", false, false, false, false},
    {"2001:DB8:0::1", "[2001:db8::1]:0", false, false, false, false},
    {"[2001:db8::1]", "[2001:db8::1]:0", false, false, false, false},
    {"[::1]:1", "[::1]:1", true, false, true, false},
    {"[::]:0", "[::]:0", false, false, false, true},
    {"[fe80::1%7]:2", "[fe80::1%7]:2", false, true, true, false},
    {"fd00::1", "[fd00::1]:0", false, false, true, false},
    {"fc00::1", "[fc00::1]:0", false, false, true, false},
    {"fec0::1", "[fec0::1]:0", false, false, false, false},
    {"[::ffff:192.0.2.1]:5", "192.0.2.1:5", false, false, false, false}, /* v4-mapped is IPv4 */
    {"", NULL, false, false, false, false},
    {"nowhere", NULL, false, false, false, false},
    {"192.0.2.1:", NULL, false, false, false, false},
    {"192.0.2.1:65536", NULL, false, false, false, false},
    {"192.0.2.1:-1", NULL, false, false, false, false},
    {"192.0.2.1:1x", NULL, false, false, false, false},
    {"192.0.2.256", NULL, false, false, false, false},
    {"192.0.2.1%1", NULL, false, false, false, false},
    {"[2001:db8::1", NULL, false, false, false, false},
    {"[2001:db8::1]x", NULL, false, false, false, false},
    {"[2001:db8::1]:", NULL, false, false, false, false},
    {"[fe80::1%no-such-interface]:2", NULL, false, false, false, false},
    {"[fe80::1%4294967296]:2", NULL, false, false, false, false},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333:4444:5555:6666:7777", NULL, false, false, false,
     false},
};

static void texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kith_addr a = {.port = 77}, untouched = a;
        char text[KITH_ADDR_TEXT_SIZE];
        if (!table[i].written) {
            if (kith_addr_parse(table[i].text, &a) != KITH_ERR_ARG) fail_msg("taken: %s", table[i].text);
            assert_memory_equal(&a, &untouched, sizeof a);
            continue;
        }
        if (kith_addr_parse(table[i].text, &a)) fail_msg("refused: %s", table[i].text);
        assert_string_equal(kith_addr_text(&a, text), table[i].written);
        if (kith_addr_is_loopback(&a) != table[i].loopback || kith_addr_is_link_local(&a) != table[i].link_local ||
            kith_addr_is_local(&a) != table[i].local || kith_addr_is_any(&a) != table[i].any)
            fail_msg("taken for another kind: %s", table[i].text);
        struct sockaddr_storage sa;
        for (int v6 = 0; v6 < 2; v6++) { /* and there and back through the system's form */
            unsigned size = kith_addr_to_sockaddr(&a, v6, &sa);
            bool is_v6 = v6 || a.family == KITH_FAMILY_IPV6;
            assert_int_equal(sa.ss_family, is_v6 ? AF_INET6 : AF_INET);
            assert_int_equal(size, is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
            kith_addr back = kith_addr_from_sockaddr((const struct sockaddr *)&sa);
            assert_true(kith_addr_equal(&a, &back));
        }
    }
}

static void equality(void **state)
{
    (void)state;
    kith_addr a, b;
    assert_ok(kith_addr_parse("192.0.2.1:5", &a));
    b = a;
    assert_true(kith_addr_equal(&a, &b));
    b.port = 6;
    assert_true(!kith_addr_equal(&a, &b) && kith_addr_same_ip(&a, &b));
    b = a;
    b.ip[3] = 2;
    assert_true(!kith_addr_equal(&a, &b) && !kith_addr_same_ip(&a, &b));
    b = a;
    b.family = KITH_FAMILY_IPV6;
    assert_false(kith_addr_same_ip(&a, &b));
    b = a;
    b.scope = 1;
    assert_false(kith_addr_same_ip(&a, &b));
}

static void others(void **state)
{
    (void)state;
    kith_addr none = {0}, a;
    char text[KITH_ADDR_TEXT_SIZE];
    assert_string_equal(kith_addr_text(&none, text), "none");
    assert_false(kith_addr_is_any(&none));
    struct sockaddr unix_one = {.sa_family = AF_UNIX};
    assert_int_equal(kith_addr_from_sockaddr(&unix_one).family, KITH_FAMILY_NONE);
    if (if_nametoindex("lo")) { /* a scope by name */
        assert_ok(kith_addr_parse("fe80::1%lo", &a));
        assert_int_equal(a.scope, if_nametoindex("lo"));
    }
    /* The scope counts for link-local addresses alone. */
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = 3};
    in6.sin6_addr.s6_addr[0] = 0x20;
    assert_int_equal(kith_addr_from_sockaddr((const struct sockaddr *)&in6).scope, 0);
    in6.sin6_addr.s6_addr[0] = 0xfe;
    in6.sin6_addr.s6_addr[1] = 0x80;
    assert_int_equal(kith_addr_from_sockaddr((const struct sockaddr *)&in6).scope, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(texts), TEST(equality), TEST(others)};
    return cmocka_run_group_tests_name("base/addr", tests, NULL, NULL);
}
