/* SHA-256 and SHA-512 of FIPS 180-4. In JavaScript they would be the largest cost of a boot: 1 to 3 ms a KiB. */
#include <string.h>

#include "runtime.h"

/* Section 4.2.3. Those of SHA-256 (4.2.2) are the upper halves of the first 64. */
static const uint64_t K[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
    0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
    0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
    0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
    0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
    0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
    0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
    0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
    0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static uint32_t rotate32(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint64_t rotate64(uint64_t x, int n)
{
    return x >> n | x << (64 - n);
}

static uint64_t load_be(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static void store_be(uint8_t *at, int size, uint64_t value)
{
    for (int i = size - 1; i >= 0; i--, value >>= 8)
        at[i] = value;
}

/*
 * Section 6.2.2. Eight rounds in a row, after which every variable has its own name again: moving them round by round takes
 * half of the time. An image that is rebuilt is hashed whole, with the metadata that it is made of.
 */
#define ROUND(a, b, c, d, e, f, g, h, t) \
    do { \
        uint32_t t1 = h + rotate32(e ^ rotate32(e ^ rotate32(e, 14), 5), 6) + (g ^ (e & (f ^ g))) \
                    + (uint32_t)(K[t] >> 32) + w[t]; \
        d += t1; \
        h = t1 + rotate32(a ^ rotate32(a ^ rotate32(a, 9), 11), 2) + ((a & b) ^ (c & (a ^ b))); \
    } while (0)

static void sha256_block(uint64_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    for (int t = 0; t < 16; t++) {
        memcpy(&w[t], block + 4 * t, 4);
        w[t] = __builtin_bswap32(w[t]);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t a = w[t - 15], b = w[t - 2];
        w[t] = (rotate32(b ^ rotate32(b, 2), 17) ^ b >> 10) + w[t - 7] + (rotate32(a ^ rotate32(a, 11), 7) ^ a >> 3)
             + w[t - 16];
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t += 8) {
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1);
        ROUND(g, h, a, b, c, d, e, f, t + 2);
        ROUND(f, g, h, a, b, c, d, e, t + 3);
        ROUND(e, f, g, h, a, b, c, d, t + 4);
        ROUND(d, e, f, g, h, a, b, c, t + 5);
        ROUND(c, d, e, f, g, h, a, b, t + 6);
        ROUND(b, c, d, e, f, g, h, a, t + 7);
    }
    const uint32_t s[8] = { a, b, c, d, e, f, g, h };
    for (int i = 0; i < 8; i++)
        state[i] = (uint32_t)(state[i] + s[i]);
}

/* Section 6.4.2. */
static void sha512_block(uint64_t state[8], const uint8_t *block)
{
    uint64_t w[80], s[8];
    for (int t = 0; t < 16; t++)
        w[t] = load_be(block + 8 * t, 8);
    for (int t = 16; t < 80; t++) {
        uint64_t a = w[t - 15], b = w[t - 2];
        w[t] = (rotate64(b, 19) ^ rotate64(b, 61) ^ b >> 6) + w[t - 7]
             + (rotate64(a, 1) ^ rotate64(a, 8) ^ a >> 7) + w[t - 16];
    }
    memcpy(s, state, sizeof s);
    for (int t = 0; t < 80; t++) {
        uint64_t t1 = s[7] + (rotate64(s[4], 14) ^ rotate64(s[4], 18) ^ rotate64(s[4], 41))
                    + ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[t] + w[t];
        uint64_t t2 = (rotate64(s[0], 28) ^ rotate64(s[0], 34) ^ rotate64(s[0], 39))
                    + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

/* Padding is section 5.1; the length field is twice the word size and its upper half is always zero here. */
static void hash(const struct sha2_part *parts, size_t count, uint64_t state[8], size_t block_size,
                 void (*process)(uint64_t *, const uint8_t *))
{
    uint8_t block[128];
    size_t used = 0;
    uint64_t total = 0;
    for (size_t p = 0; p < count; p++) {
        const uint8_t *data = parts[p].data;
        size_t left = parts[p].size;
        total += left;
        while (left > 0) {
            if (used == 0 && left >= block_size) {
                process(state, data);
                data += block_size;
                left -= block_size;
                continue;
            }
            size_t step = block_size - used < left ? block_size - used : left;
            memcpy(block + used, data, step);
            used += step;
            data += step;
            left -= step;
            if (used == block_size) {
                process(state, block);
                used = 0;
            }
        }
    }
    block[used++] = 0x80;
    if (used > block_size - block_size / 8) {
        memset(block + used, 0, block_size - used);
        process(state, block);
        used = 0;
    }
    memset(block + used, 0, block_size - used);
    store_be(block + block_size - 8, 8, total << 3);
    process(state, block);
}

/* Initial values: section 5.3.3. */
void sha256(const struct sha2_part *parts, size_t count, uint8_t digest[32])
{
    uint64_t state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    hash(parts, count, state, 64, sha256_block);
    for (int i = 0; i < 8; i++)
        store_be(digest + 4 * i, 4, state[i]);
}

/* Initial values: section 5.3.5. */
void sha512(const struct sha2_part *parts, size_t count, uint8_t digest[64])
{
    uint64_t state[8] = { 0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                          0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179 };
    hash(parts, count, state, 128, sha512_block);
    for (int i = 0; i < 8; i++)
        store_be(digest + 8 * i, 8, state[i]);
}
