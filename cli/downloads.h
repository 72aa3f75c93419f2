/* Where a desktop puts what is downloaded. */
#ifndef KITH_CLI_DOWNLOADS_H
#define KITH_CLI_DOWNLOADS_H

#include <stddef.h>

/* XDG_DOWNLOAD_DIR of user-dirs.dirs, else ~/Downloads, which is made if missing; 0, or the exit status, said. */
int downloads_folder(char *out, size_t size);

#endif
