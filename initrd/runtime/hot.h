/*
 * Included in front of quickjs.c, which is compiled for size. The functions that verifying a signature spends its
 * time in are compiled for speed: 5 of 62 million instructions less for 12 KB, where -O2 for all of QuickJS saves 7
 * and costs 97 KB. A prototype that does not match the definition stops the build.
 *
 * Types that quickjs.c defines itself are written as what they are compatible with: js_limb_t, enumerations.
 */
#include "quickjs.h"

#define HOT __attribute__((optimize("O2,no-align-functions,no-align-jumps,no-align-loops,no-align-labels")))

struct JSBigInt;

/* The interpreter. */
HOT static JSValue JS_CallInternal(JSContext *caller, JSValueConst function, JSValueConst this_value,
                                   JSValueConst new_target, int argc, JSValue *argv, int flags);
HOT JSValue JS_GetPropertyInternal(JSContext *ctx, JSValueConst object, JSAtom property, JSValueConst this_value,
                                   int throws);
HOT static JSValue JS_ToPrimitiveFree(JSContext *ctx, JSValue value, int hint);
HOT static JSValue JS_ToNumberHintFree(JSContext *ctx, JSValue value, unsigned int hint);
HOT static int js_binary_arith_slow(JSContext *ctx, JSValue *stack, unsigned int operation);
HOT static int js_unary_arith_slow(JSContext *ctx, JSValue *stack, unsigned int operation);
HOT static int js_relational_slow(JSContext *ctx, JSValue *stack, unsigned int operation);
HOT static int js_compare_bigint(JSContext *ctx, unsigned int operation, JSValue a, JSValue b);

/* BigInt. */
HOT static struct JSBigInt *js_bigint_new(JSContext *ctx, int length);
HOT static struct JSBigInt *js_bigint_normalize1(JSContext *ctx, struct JSBigInt *a, int length);
HOT static struct JSBigInt *js_bigint_normalize(JSContext *ctx, struct JSBigInt *a);
HOT static struct JSBigInt *js_bigint_add(JSContext *ctx, const struct JSBigInt *a, const struct JSBigInt *b,
                                          int negates_b);
HOT static struct JSBigInt *js_bigint_mul(JSContext *ctx, const struct JSBigInt *a, const struct JSBigInt *b);
HOT static struct JSBigInt *js_bigint_divrem(JSContext *ctx, const struct JSBigInt *a, const struct JSBigInt *b,
                                             int wants_remainder);
HOT static int js_bigint_cmp(JSContext *ctx, const struct JSBigInt *a, const struct JSBigInt *b);
HOT static void mp_mul_basecase(uint64_t *result, const uint64_t *a, uint64_t a_length, const uint64_t *b,
                                uint64_t b_length);
HOT static uint64_t mp_sub_mul1(uint64_t *result, const uint64_t *a, uint64_t length, uint64_t b);
HOT static void mp_divnorm(uint64_t *quotient, uint64_t *a, uint64_t a_length, const uint64_t *b, uint64_t b_length);
HOT static uint64_t mp_shl(uint64_t *result, const uint64_t *a, int length, int shift);
HOT static uint64_t mp_shr(uint64_t *result, const uint64_t *a, int length, int shift, uint64_t high);

struct JSObject;
struct JSShape;
struct JSString;
struct JSMapState;

/* Objects, arrays and maps, of which building an image makes thousands: 2 % of its instructions for 4 KB. */
HOT int JS_DefineProperty(JSContext *ctx, JSValueConst object, JSAtom property, JSValueConst value, JSValueConst getter,
                          JSValueConst setter, int flags);
HOT static int JS_CreateProperty(JSContext *ctx, struct JSObject *object, JSAtom property, JSValueConst value,
                                 JSValueConst getter, JSValueConst setter, int flags);
HOT static struct JSProperty *add_property(JSContext *ctx, struct JSObject *object, JSAtom property, int flags);
HOT static int add_shape_property(JSContext *ctx, struct JSShape **shape, struct JSObject *object, JSAtom property,
                                  int flags);
HOT static int JS_SetPropertyValue(JSContext *ctx, JSValueConst object, JSValue property, JSValue value, int flags);
HOT static JSValue JS_GetPropertyValue(JSContext *ctx, JSValueConst object, JSValue property);
HOT static int add_fast_array_element(JSContext *ctx, struct JSObject *object, JSValue value, int flags);
HOT static JSValue js_call_c_function(JSContext *ctx, JSValueConst function, JSValueConst this_value, int argc,
                                      JSValueConst *argv, int flags);
HOT static struct JSMapRecord *map_find_record(JSContext *ctx, struct JSMapState *map, JSValueConst key);
HOT static uint32_t map_hash_key(JSValueConst key, int bits);
HOT static uint32_t hash_string(const struct JSString *string, uint32_t hash);
HOT static int js_string_memcmp(const struct JSString *one, int from, const struct JSString *other, int other_from,
                                int length);
HOT static int string_cmp(struct JSString *one, struct JSString *other, int from, int other_from, int length);
HOT static JSValue js_string_includes(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int magic);
HOT void __JS_FreeValueRT(JSRuntime *runtime, JSValue value);
