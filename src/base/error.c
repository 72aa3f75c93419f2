#include <kith/error.h>

#include <stddef.h>

static const struct entry {
    kith_err err;
    int exit_status;
    const char *name, *text;
} errors[] = {{KITH_OK, 0, "OK", "done"},
#define KITH_X(name, value, exit_status, sentence) {KITH_ERR_##name, exit_status, #name, sentence},
              KITH_ERRORS(KITH_X)
#undef KITH_X
};

static const struct entry *find(kith_err err)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].err == err) return &errors[i];
    return find(KITH_ERR_INTERNAL);
}

const char *kith_err_name(kith_err err) { return find(err)->name; }
const char *kith_err_text(kith_err err) { return find(err)->text; }
int kith_err_exit(kith_err err) { return find(err)->exit_status; }
