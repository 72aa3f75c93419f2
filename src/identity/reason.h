/* Why a file of ours cannot be used, for the person who has to repair it. */
#ifndef KITH_IDENTITY_REASON_H
#define KITH_IDENTITY_REASON_H

#define KITH_REASON_SIZE 192

/* What a decoder puts there when it fails with DAMAGED or VERSION: where and what, without the file's name or a full
 * stop, e.g. "line 3, column 14: '}' expected near end of file", "format 2, this version of Kith knows up to 1".
 * Printable. */
typedef struct kith_reason {
    char text[KITH_REASON_SIZE];
} kith_reason;

#endif
