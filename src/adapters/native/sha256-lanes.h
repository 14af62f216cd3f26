#ifndef SEALROOT_SHA256_LANES_H
#define SEALROOT_SHA256_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_LANES 16
#define SHA256_LANE_BYTES 4096

/* Whether this processor has what it takes. */
bool sha256_has_lanes(void);

/* The digests of up to SHA256_LANES blocks of SHA256_LANE_BYTES, one after the other. It takes as long for one as for all. */
void sha256_in_lanes(const uint8_t *blocks, size_t count, uint8_t *digests);

#endif
