#include "service/wire_error.h"

uint64_t kith_wire_error_of(kith_err err)
{
    switch (err) {
    case KITH_OK: return KITH_WIRE_OK;
#define KITH_X(name, number, ours)                                                                                     \
    case ours: return number;
        KITH_WIRE_ERRORS(KITH_X)
#undef KITH_X
    case KITH_ERR_IO:
    case KITH_ERR_NO_SPACE:
    case KITH_ERR_PERMISSION:
    case KITH_ERR_EXISTS:
    case KITH_ERR_NO_FILE:
    case KITH_ERR_DAMAGED:
    case KITH_ERR_EXPOSED:
    case KITH_ERR_LOCKED: return KITH_WIRE_STORAGE;
    default: return KITH_WIRE_INTERNAL;
    }
}

kith_err kith_wire_error_read(uint64_t number)
{
    switch (number) {
    case KITH_WIRE_OK: return KITH_OK;
#define KITH_X(name, value, ours)                                                                                      \
    case value: return ours;
        KITH_WIRE_ERRORS(KITH_X)
#undef KITH_X
    default: return KITH_ERR_PROTOCOL;
    }
}
