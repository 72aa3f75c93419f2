/* quick-home HOME PASSWORD: seal this home's keys anew, so that opening them takes no time.  Argon2id as people have it
 * costs 0.2 s of CPU, and tests of whole programs open homes a thousand times. */
#include "io/io.h"
#include "store/home.h"

#include <stdio.h>
#include <string.h>

static int quicken(kith_env *env, const char *folder, kith_bytes password)
{
    static const kith_kdf_params quick = {.memory_kib = KITH_KDF_MEMORY_MIN_KIB, .passes = 1, .lanes = 1};
    uint8_t seed[KITH_RNG_SEED_SIZE];
    kith_problem problem = {.err = KITH_OK};
    kith_home *home = NULL;
    kith_rng rng;
    env->base->random(env, seed, sizeof seed);
    kith_rng_init(&rng, seed);
    kith_err err = kith_home_open(env, folder, &home);
    if (!err) err = kith_home_change_password(home, password, password, quick, &rng, &problem);
    if (err) fprintf(stderr, "quick-home: %s\n", *problem.message ? problem.message : kith_err_text(err));
    kith_home_close(home);
    kith_rng_done(&rng);
    return err ? 1 : 0;
}

int main(int argc, char **argv)
{
    kith_io *io = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: quick-home HOME PASSWORD\n");
        return 2;
    }
    if (kith_crypto_init() || kith_io_new(&io)) return 1;
    int status = quicken(kith_io_env(io), argv[1], (kith_bytes){argv[2], strlen(argv[2])});
    kith_io_free(io);
    return status;
}
