#ifndef CCRC32C_H
#define CCRC32C_H
#include <stddef.h>
#include <stdint.h>

/// Extends `crc`, the CRC32C (Castagnoli) of the bytes before, by `length` bytes; start with 0.
uint32_t cairn_crc32c(uint32_t crc, const void *bytes, size_t length);

#endif
