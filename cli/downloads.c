#include "downloads.h"

#include "options.h"
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY "XDG_DOWNLOAD_DIR=\""

/* A line of user-dirs.dirs: KEY"$HOME/..." or KEY"/...", with backslashes before some characters. */
static bool take_line(const char *line, const char *home, char *out, size_t size)
{
    size_t n = 0;
    line += strspn(line, " \t");
    if (strncmp(line, KEY, sizeof KEY - 1) != 0) return false;
    line += sizeof KEY - 1;
    if (!strncmp(line, "$HOME", 5)) {
        n = (size_t)snprintf(out, size, "%s", home);
        line += 5;
    }
    if (*line != '/' && *line != '"') return false;
    for (; *line && *line != '"' && *line != '\n' && n + 1 < size; line++) {
        if (*line == '\\' && line[1]) line++;
        out[n++] = *line;
    }
    if (*line != '"' || n == 0) return false;
    out[n] = 0;
    return true;
}

static bool from_settings(const char *home, char *out, size_t size)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    char path[4096], line[4096];
    bool found = false;
    int n = config && *config == '/' ? snprintf(path, sizeof path, "%s/user-dirs.dirs", config)
                                     : snprintf(path, sizeof path, "%s/.config/user-dirs.dirs", home);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (!f) return false;
    while (fgets(line, sizeof line, f)) found = take_line(line, home, out, size) || found;
    fclose(f);
    return found;
}

int downloads_folder(char *out, size_t size)
{
    const char *home = getenv("HOME");
    char shown[OUT_NAME];
    if (!home || *home != '/' || strlen(home) + sizeof "/Downloads" > size)
        return out_error(EXIT_USAGE, "where downloads go cannot be told: name the folder with --dir DIR");
    if (!from_settings(home, out, size)) snprintf(out, size, "%s/Downloads", home);
    if (!mkdir(out, 0755) || errno == EEXIST) return 0;
    return out_error(kith_err_exit(errno == EACCES ? KITH_ERR_PERMISSION : KITH_ERR_IO),
                     "the folder %s cannot be made: %s; name another with --dir DIR",
                     out_name(out, shown, sizeof shown), strerror(errno));
}
