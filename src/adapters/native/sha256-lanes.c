/*
 * SHA-256 (FIPS 180-4) of sixteen blocks of a file at once, one in each lane of a vector register: twice as fast as one
 * after the other with the processor's instructions for it, which have to wait for each other. Where there are no such
 * registers, OpenSSL hashes all blocks.
 */
#include "sha256-lanes.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

#define IN_LANES __attribute__((target("avx512f,avx512bw")))
#define ROUNDS 64
#define WORDS 16
#define PART_BYTES 64

/* A number of 32 bits of each block. */
typedef uint32_t lanes __attribute__((vector_size(4 * SHA256_LANES)));

/* FIPS 180-4 section 4.2.2 */
static const uint32_t K[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

/* Section 5.3.3 */
static const uint32_t INITIAL[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};

/* What follows a block of 4096 bytes (section 5.1.1): a bit, and the number of bits before it. */
static const uint8_t PADDING[PART_BYTES] = { [0] = 0x80, [PART_BYTES - 2] = 4096 * 8 >> 8 };

#define ROTATED(x, bits) ((x) >> (bits) | (x) << (32 - (bits)))
/* A function of three bits, which `table` has the values of. */
#define OF_BITS(a, b, c, table) \
    ((lanes)_mm512_ternarylogic_epi32((__m512i)(a), (__m512i)(b), (__m512i)(c), (table)))
#define XOR(a, b, c) OF_BITS(a, b, c, 0x96)
#define CHOICE(a, b, c) OF_BITS(a, b, c, 0xca)
#define MAJORITY(a, b, c) OF_BITS(a, b, c, 0xe8)

bool sha256_has_lanes(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

/* A row of four times four words of each of four blocks to a row of one word of each, in three steps; see below. */
IN_LANES static inline void transpose_quarters(__m512i rows[WORDS])
{
    __m512i pairs[WORDS];
    for (int i = 0; i < WORDS; i += 2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < WORDS; i += 4) {
        rows[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
}

/* The next sixteen words of each block, which are big endian there, to one vector for each word. */
IN_LANES static inline void load(lanes out[WORDS], const uint8_t *const blocks[SHA256_LANES], size_t at)
{
    const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
    __m512i rows[WORDS], halves[WORDS];
    for (int i = 0; i < SHA256_LANES; i++)
        rows[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[i] + at), swap);
    transpose_quarters(rows);
    for (int i = 0; i < 4; i++) {
        halves[i] = _mm512_shuffle_i32x4(rows[i], rows[4 + i], 0x88);
        halves[4 + i] = _mm512_shuffle_i32x4(rows[i], rows[4 + i], 0xdd);
        halves[8 + i] = _mm512_shuffle_i32x4(rows[8 + i], rows[12 + i], 0x88);
        halves[12 + i] = _mm512_shuffle_i32x4(rows[8 + i], rows[12 + i], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        out[i] = (lanes)_mm512_shuffle_i32x4(halves[i], halves[8 + i], 0x88);
        out[4 + i] = (lanes)_mm512_shuffle_i32x4(halves[4 + i], halves[12 + i], 0x88);
        out[8 + i] = (lanes)_mm512_shuffle_i32x4(halves[i], halves[8 + i], 0xdd);
        out[12 + i] = (lanes)_mm512_shuffle_i32x4(halves[4 + i], halves[12 + i], 0xdd);
    }
}

/* Section 6.2.2 */
IN_LANES static void compress(lanes state[8], const uint8_t *const blocks[SHA256_LANES], size_t at)
{
    lanes w[WORDS];
    load(w, blocks, at);
    lanes a = state[0], b = state[1], c = state[2], d = state[3];
    lanes e = state[4], f = state[5], g = state[6], h = state[7];
#pragma GCC unroll 64
    for (int i = 0; i < ROUNDS; i++) {
        if (i >= WORDS) {
            lanes early = w[(i + 1) % WORDS], late = w[(i + 14) % WORDS];
            w[i % WORDS] += XOR(ROTATED(early, 7), ROTATED(early, 18), early >> 3) + w[(i + 9) % WORDS] +
                            XOR(ROTATED(late, 17), ROTATED(late, 19), late >> 10);
        }
        lanes first = h + XOR(ROTATED(e, 6), ROTATED(e, 11), ROTATED(e, 25)) + CHOICE(e, f, g) + K[i] + w[i % WORDS];
        lanes second = XOR(ROTATED(a, 2), ROTATED(a, 13), ROTATED(a, 22)) + MAJORITY(a, b, c);
        h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

IN_LANES void sha256_in_lanes(const uint8_t *bytes, size_t count, uint8_t *digests)
{
    const uint8_t *blocks[SHA256_LANES], *paddings[SHA256_LANES];
    lanes state[8];
    for (int i = 0; i < 8; i++)
        state[i] = INITIAL[i] - (lanes){ 0 };
    for (size_t i = 0; i < SHA256_LANES; i++) {
        /* Lanes without a block of their own do the first one again. */
        blocks[i] = bytes + (i < count ? i : 0) * SHA256_LANE_BYTES;
        paddings[i] = PADDING;
    }
    for (size_t at = 0; at < SHA256_LANE_BYTES; at += PART_BYTES)
        compress(state, blocks, at);
    compress(state, paddings, 0);
    for (size_t i = 0; i < count && i < SHA256_LANES; i++) {
        for (int word = 0; word < 8; word++, digests += 4) {
            uint32_t value = __builtin_bswap32(state[word][i]);
            memcpy(digests, &value, 4);
        }
    }
}

#else

bool sha256_has_lanes(void)
{
    return false;
}

void sha256_in_lanes(const uint8_t *bytes, size_t count, uint8_t *digests)
{
    (void)bytes, (void)count, (void)digests;
}

#endif
