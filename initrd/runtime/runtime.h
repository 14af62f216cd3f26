/* The parts of the C runtime under sealroot-prepare-root. No policy lives here: see ../prepare-root.ts. */
#ifndef SEALROOT_RUNTIME_H
#define SEALROOT_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* The scripts (../bundle.ts), compiled, in a section of their own. The second may be empty. */
extern const uint8_t program_bytecode[];
extern const uint32_t program_bytecode_size;
extern const uint8_t seldom_bytecode[];
extern const uint32_t seldom_bytecode_size;
extern const uint8_t __start_scripts[], __stop_scripts[];

/* An allocator for one short-lived process: size classes over mmap, honouring JS_SetMemoryLimit. */
extern const JSMallocFunctions slab_functions;
/* Trades memory for time from now on. */
void slab_expect_much(void);

/* Defines the global object `sys` (sys.d.ts). Returns 0, or -1 with a pending exception. */
int sys_define(JSContext *ctx, int argc, char **argv);

/* The bytes of a Uint8Array; NULL with a pending exception for anything else. */
uint8_t *bytes_of(JSContext *ctx, JSValueConst value, size_t *size);
/* A Uint8Array with a copy. */
JSValue bytes_from(JSContext *ctx, const void *data, size_t size);

/*
 * Of shortcuts.h. The bytes of a string that is in one piece and has 8-bit characters only; NULL for any other. They are valid
 * as long as the string.
 */
const uint8_t *JS_GetByteString(JSValueConst string, size_t *size);
/* A string of those characters. */
JSValue JS_NewByteString(JSContext *ctx, const uint8_t *bytes, size_t size);

/* inspectObject() of sys.d.ts. */
#define OBJECT_FUNCTIONS 1
extern const JSCFunctionListEntry object_functions[OBJECT_FUNCTIONS];

/* Those of ../../src/formats/byte-strings.ts, for `sys`. */
#define BYTE_FUNCTIONS 6
extern const JSCFunctionListEntry byte_functions[BYTE_FUNCTIONS];

struct sha2_part {
    const uint8_t *data;
    size_t size;
};
/* FIPS 180-4 over the concatenation of the parts. */
void sha256(const struct sha2_part *parts, size_t count, uint8_t digest[32]);
void sha512(const struct sha2_part *parts, size_t count, uint8_t digest[64]);

#endif
