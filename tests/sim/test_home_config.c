/* config.json on a real disk: set and taken back, what is refused and how that is said, and what a backup has of it.
 * (Faults of the disk are in test_store_faults.c.) */
#include "base/mem.h"
#include "io/io.h"
#include "store/home.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kith_io *io;
static char base[128], folder[160];
static kith_home *home;
static kith_problem problem;

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "%s/kith-config-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(base)) return -1;
    snprintf(folder, sizeof folder, "%s/share/kith", base);
    return kith_home_open(kith_io_env(io), folder, &home);
}

static int tear_down(void **state)
{
    (void)state;
    char command[300];
    kith_home_close(home);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static char *path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *out = paths[next++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", folder, name);
    return out;
}

static void spew(const char *where, const void *data, size_t size)
{
    FILE *f = fopen(where, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
    assert_ok(chmod(where, 0600));
}

static void says(const char *what)
{
    if (!strstr(problem.message, what)) fail_msg("\"%s\" does not say \"%s\"", problem.message, what);
}

static void is(kith_config_key key, const char *want)
{
    kith_config config;
    assert_ok(kith_home_load_config(home, &config, &problem));
    assert_string_equal(kith_config_text(&config, key), want);
    kith_config_done(&config);
}

static void set_and_taken_back(void **state)
{
    (void)state;
    struct stat st;
    is(KITH_CONFIG_RELAY, "none");
    assert_ok(kith_home_set_config(home, KITH_CONFIG_RELAY, NULL, &problem));
    assert_int_equal(access(folder, F_OK), -1); /* neither makes anything */
    assert_ok(kith_home_set_config(home, KITH_CONFIG_RELAY, "ws://a, ws://b", &problem));
    assert_ok(stat(path("config.json"), &st));
    assert_int_equal(st.st_mode & 07777, 0600);
    is(KITH_CONFIG_RELAY, "ws://a ws://b");
    assert_ok(kith_home_set_config(home, KITH_CONFIG_LAN, "no", &problem));
    ino_t inode = st.st_ino;
    assert_ok(stat(path("config.json"), &st));
    assert_int_not_equal(st.st_ino, inode); /* replaced, not written into */
    inode = st.st_ino;
    assert_ok(kith_home_set_config(home, KITH_CONFIG_LAN, "no", &problem));
    assert_ok(stat(path("config.json"), &st));
    assert_int_equal(st.st_ino, inode); /* it says so already */
    assert_int_equal(kith_home_set_config(home, KITH_CONFIG_LAN, "perhaps", &problem), KITH_ERR_ARG);
    says("\"perhaps\" is no good for lan: give yes or no");
    is(KITH_CONFIG_LAN, "no");
    assert_ok(kith_home_set_config(home, KITH_CONFIG_LAN, NULL, &problem));
    is(KITH_CONFIG_LAN, "yes");
    is(KITH_CONFIG_RELAY, "ws://a ws://b");
}

static void what_cannot_be_used_stays(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        mode_t mode;
        kith_err err;
    } cases[] = {
        {"{\"version\": 1, \"lan\": \"no\"}", "(lan: not true or false)", 0600, KITH_ERR_DAMAGED},
        {"{\"version\": 1, \"rel", "line 1", 0600, KITH_ERR_DAMAGED},
        {"", "kith config", 0600, KITH_ERR_DAMAGED},
        {"{\"version\": 9}", "newer version", 0600, KITH_ERR_VERSION},
        {"{\"version\": 1}", "chmod 600", 0644, KITH_ERR_EXPOSED},
        {"{\"version\": 1}", "chmod 600", 0620, KITH_ERR_EXPOSED},
    };
    kith_config config;
    assert_ok(kith_home_set_config(home, KITH_CONFIG_ACCEPT, "own", &problem));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stat before, after;
        spew(path("config.json"), cases[i].text, strlen(cases[i].text));
        assert_ok(chmod(path("config.json"), cases[i].mode));
        assert_ok(stat(path("config.json"), &before));
        for (int change = 0; change < 2; change++) {
            assert_int_equal(change ? kith_home_set_config(home, KITH_CONFIG_DIR, "/in", &problem)
                                    : kith_home_load_config(home, &config, &problem),
                             cases[i].err);
            says("config.json");
            says(cases[i].says);
            assert_int_equal(kith_err_exit(problem.err), 7);
        }
        assert_ok(stat(path("config.json"), &after));
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    }
    assert_ok(remove(path("config.json")));
    assert_ok(mkdir(path("config.json"), 0700));
    assert_int_equal(kith_home_load_config(home, &config, &problem), KITH_ERR_DAMAGED);
    assert_ok(rmdir(path("config.json")));
    char *large = calloc(1, KITH_CONFIG_FILE_MAX + 1);
    memset(large, ' ', KITH_CONFIG_FILE_MAX + 1);
    memcpy(large, "{\"version\": 1}", 14);
    spew(path("config.json"), large, KITH_CONFIG_FILE_MAX);
    is(KITH_CONFIG_ACCEPT, "own");
    spew(path("config.json"), large, KITH_CONFIG_FILE_MAX + 1);
    assert_int_equal(kith_home_load_config(home, &config, &problem), KITH_ERR_DAMAGED);
    free(large);
}

static kith_err token_of(const char *data, size_t size, char **out)
{
    kith_config config;
    char place[256];
    snprintf(place, sizeof place, "%s/token", base);
    if (data) spew(place, data, size);
    assert_ok(kith_home_set_config(home, KITH_CONFIG_RELAY_TOKEN_FILE, place, &problem));
    assert_ok(kith_home_load_config(home, &config, &problem));
    kith_err err = kith_home_relay_token(home, &config, out, &problem);
    kith_config_done(&config);
    return err;
}

static void the_token(void **state)
{
    (void)state;
    char *token = NULL, longest[258];
    kith_config none = {{NULL}};
    assert_ok(kith_home_relay_token(home, &none, &token, &problem));
    assert_null(token);
    assert_int_equal(token_of(NULL, 0, &token), KITH_ERR_NO_FILE);
    says("relay-token-file in");
    says(base);
    assert_ok(token_of("secret\r\nmore\n", 13, &token));
    assert_string_equal(token, "secret");
    kith_free(token);
    memset(longest, 't', sizeof longest);
    assert_ok(token_of(longest, 256, &token));
    assert_int_equal(strlen(token), 256);
    kith_free(token);
    static const char bad[] = {'a', 0, 'b'};
    assert_int_equal(token_of(longest, 257, &token), KITH_ERR_DAMAGED);
    says("1 to 256 bytes");
    assert_int_equal(token_of("\nx", 2, &token), KITH_ERR_DAMAGED);
    assert_int_equal(token_of("", 0, &token), KITH_ERR_DAMAGED);
    assert_int_equal(token_of(bad, sizeof bad, &token), KITH_ERR_DAMAGED);
}

/* A restored device has its settings; one that is damaged is said before there is a backup to rely on. */
static void in_a_backup(void **state)
{
    (void)state;
    static const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};
    static const kith_bytes password = {"pw", 2};
    uint8_t seed[KITH_RNG_SEED_SIZE] = {1};
    kith_rng rng;
    kith_home_self self;
    bool created;
    char file[256], other[256];
    snprintf(file, sizeof file, "%s/backup", base);
    snprintf(other, sizeof other, "%s/other", base);
    kith_rng_init(&rng, seed);
    const kith_home_init_options made = {
        .name = "laptop", .os = "", .hardware_model = "", .password = password, .kdf = cheap, .rng = &rng, .now_ms = 1};
    assert_ok(kith_home_set_config(home, KITH_CONFIG_RELAY, "ws://a", &problem)); /* before there is an identity */
    assert_ok(kith_home_init(home, &made, &self, &created, &problem));
    assert_true(created);
    assert_ok(kith_home_backup(home, file, password, cheap, &rng, 1, &problem));
    const kith_home_restore_options how = {.path = file, .password = password, .rng = &rng};
    kith_home *restored;
    kith_config config;
    assert_ok(kith_home_open(kith_io_env(io), other, &restored));
    assert_ok(kith_home_restore(restored, &how, &self, &problem));
    assert_ok(kith_home_load_config(restored, &config, &problem));
    assert_string_equal(config.values[KITH_CONFIG_RELAY], "ws://a");
    kith_config_done(&config);
    kith_home_close(restored);
    spew(path("config.json"), "{}", 2);
    snprintf(file, sizeof file, "%s/backup2", base);
    assert_int_equal(kith_home_backup(home, file, password, cheap, &rng, 1, &problem), KITH_ERR_DAMAGED);
    says("config.json");
    assert_int_equal(access(file, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(set_and_taken_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_used_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_a_backup, set_up, tear_down),
    };
    if (kith_io_new(&io) || kith_crypto_init()) return 1;
    int failed = cmocka_run_group_tests_name("store/config", tests, NULL, NULL);
    kith_io_free(io);
    return failed;
}
