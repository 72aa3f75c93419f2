#include "store/file_name.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define EXTENSION_MAX 32 /* with its dot; a longer one is not what a person calls an extension */

/* Where the extension begins, or the end: ".profile", "name." and "Dr. No" have none. */
static const char *extension_of(const char *name, size_t size)
{
    for (size_t length = 2; length < size && length <= EXTENSION_MAX && name[size - length] != ' '; length++)
        if (name[size - length] == '.') return name + size - length;
    return name + size;
}

/* stem[0..size) || middle || extension, with as many of the stem's characters as fit. */
static void join(const char *stem, size_t size, const char *middle, const char *extension, size_t extension_size,
                 char out[static KITH_FILE_NAME_SIZE])
{
    size_t middle_size = strlen(middle), room = KITH_FILE_NAME_SIZE - 1 - middle_size - extension_size;
    if (size > room)
        for (size = room; size > 0 && ((unsigned char)stem[size] & 0xc0) == 0x80;) size--;
    char *at = out;
    memcpy(at, stem, size);
    at += size;
    memcpy(at, middle, middle_size);
    at += middle_size;
    memcpy(at, extension, extension_size);
    at[extension_size] = '\0';
}

kith_err kith_file_name_clean(const char *text, size_t size, char out[static KITH_FILE_NAME_SIZE])
{
    static const char own[] = KITH_FILE_NAME_OWN;
    if (size == 0 || !kith_utf8_valid(text, size) || memchr(text, '/', size)) return KITH_ERR_NOT_ALLOWED;
    if (text[0] == '.' && (size == 1 || (size == 2 && text[1] == '.'))) return KITH_ERR_NOT_ALLOWED;
    /* In any case: some file systems do not tell cases apart. */
    if (size >= sizeof own - 1 && strncasecmp(text, own, sizeof own - 1) == 0) return KITH_ERR_NOT_ALLOWED;
    const char *end = text + size, *extension = size < KITH_FILE_NAME_SIZE ? end : extension_of(text, size);
    join(text, (size_t)(extension - text), "", extension, (size_t)(end - extension), out);
    return KITH_OK;
}

void kith_file_name_numbered(const char *name, unsigned number, char out[static KITH_FILE_NAME_SIZE])
{
    char middle[16];
    size_t size = strlen(name);
    const char *extension = extension_of(name, size);
    snprintf(middle, sizeof middle, " (%u)", number);
    join(name, (size_t)(extension - name), middle, extension, (size_t)(name + size - extension), out);
}
