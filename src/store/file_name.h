/* A name that a stranger chose, for a file in a folder of ours.  Names are data: any UTF-8 is kept byte for byte, with
 * leading dashes and dots, blanks, newlines and backslashes (it is escaped only where it is printed).  Refused is what
 * can only be meant to leave the folder or to meet our own partial files; what merely does not fit is cut. */
#ifndef KITH_STORE_FILE_NAME_H
#define KITH_STORE_FILE_NAME_H

#include <kith/error.h>
#include <stddef.h>

#define KITH_FILE_NAME_SIZE 256 /* 255 bytes, what Linux' file systems hold, and a NUL */

/* The beginning of the names of files we keep in a folder for ourselves. */
#define KITH_FILE_NAME_OWN ".kith-"

/* A name for `text` in out.  NOT_ALLOWED: it is empty, ".", "..", has a '/' or a NUL, is not UTF-8, or begins with
 * KITH_FILE_NAME_OWN in any case.  A name of more than 255 bytes is cut before its extension, between characters. */
KITH_MUST_CHECK kith_err kith_file_name_clean(const char *text, size_t size, char out[static KITH_FILE_NAME_SIZE]);

/* "name.ext" -> "name (2).ext", for the number-th file of this name (2, 3, ...).  `name` is a clean one. */
void kith_file_name_numbered(const char *name, unsigned number, char out[static KITH_FILE_NAME_SIZE]);

#endif
