/*
 * The functions of src/formats/byte-strings.ts, which says what each does. What they are given is checked here as if
 * somebody hostile had chosen it: a range that is not there, or a character that is no byte, is an exception.
 */
#include <string.h>

#include "runtime.h"

uint8_t *bytes_of(JSContext *ctx, JSValueConst value, size_t *size)
{
    size_t offset, unit, whole;
    JSValue buffer = JS_GetTypedArrayBuffer(ctx, value, &offset, size, &unit);
    if (JS_IsException(buffer))
        return NULL;
    uint8_t *start = JS_GetArrayBuffer(ctx, &whole, buffer);
    JS_FreeValue(ctx, buffer);
    return start ? start + offset : NULL;
}

JSValue bytes_from(JSContext *ctx, const void *data, size_t size)
{
    JSValue buffer = JS_NewArrayBufferCopy(ctx, data, size);
    if (JS_IsException(buffer))
        return buffer;
    /* Offset and length are read whatever the count says. */
    JSValueConst arguments[3] = { buffer, JS_UNDEFINED, JS_UNDEFINED };
    JSValue array = JS_NewTypedArray(ctx, 3, arguments, JS_TYPED_ARRAY_UINT8);
    JS_FreeValue(ctx, buffer);
    return array;
}

/*
 * The bytes of a value as a string, which becomes `text` and is freed by the caller in any case; NULL with a pending exception if
 * that is no byte string.
 */
static const uint8_t *string_bytes(JSContext *ctx, JSValueConst value, JSValue *text, size_t *size)
{
    /* In one piece. */
    *text = JS_ToString(ctx, value);
    if (JS_IsException(*text))
        return NULL;
    const uint8_t *bytes = JS_GetByteString(*text, size);
    if (!bytes)
        JS_ThrowRangeError(ctx, "not a byte string");
    return bytes;
}

/* The arguments (bytes, start, end), of which the last two may be missing. */
static const uint8_t *range_of(JSContext *ctx, JSValueConst *argv, size_t *size)
{
    size_t whole;
    const uint8_t *bytes = bytes_of(ctx, argv[0], &whole);
    if (!bytes)
        return NULL;
    uint64_t start = 0, end = whole;
    if (!JS_IsUndefined(argv[1]) && JS_ToIndex(ctx, &start, argv[1]))
        return NULL;
    if (!JS_IsUndefined(argv[2]) && JS_ToIndex(ctx, &end, argv[2]))
        return NULL;
    if (start > end || end > whole) {
        JS_ThrowRangeError(ctx, "no such bytes");
        return NULL;
    }
    *size = end - start;
    return bytes + start;
}

static JSValue js_to_byte_string(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t size;
    const uint8_t *bytes = range_of(ctx, argv, &size);
    return bytes ? JS_NewByteString(ctx, bytes, size) : JS_EXCEPTION;
}

static JSValue js_from_byte_string(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t size;
    JSValue text;
    const uint8_t *bytes = string_bytes(ctx, argv[0], &text, &size);
    JSValue array = bytes ? bytes_from(ctx, bytes, size) : JS_EXCEPTION;
    JS_FreeValue(ctx, text);
    return array;
}

static JSValue js_put_bytes(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t room, size;
    uint64_t at;
    JSValue text;
    if (JS_ToIndex(ctx, &at, argv[1]))
        return JS_EXCEPTION;
    const uint8_t *bytes = string_bytes(ctx, argv[2], &text, &size);
    uint8_t *out = bytes ? bytes_of(ctx, argv[0], &room) : NULL;
    JSValue result = JS_EXCEPTION;
    if (out && (at > room || size > room - at)) {
        JS_ThrowRangeError(ctx, "no room for a byte string");
    } else if (out) {
        memcpy(out + at, bytes, size);
        result = JS_UNDEFINED;
    }
    JS_FreeValue(ctx, text);
    return result;
}

static JSValue js_hex(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    static const char digits[16] = "0123456789abcdef";
    size_t size;
    uint8_t checksum[64];
    const uint8_t *bytes = range_of(ctx, argv, &size);
    if (!bytes)
        return JS_EXCEPTION;
    uint8_t *text = 2 * size <= sizeof checksum ? checksum : js_malloc(ctx, 2 * size);
    if (!text)
        return JS_EXCEPTION;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    JSValue string = JS_NewByteString(ctx, text, 2 * size);
    if (text != checksum)
        js_free(ctx, text);
    return string;
}

static int is_utf8(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        if (first < 0xc2 || first > 0xf4)
            return 0;
        int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if (end - at < more)
            return 0;
        if ((first == 0xe0 && *at < 0xa0) || (first == 0xed && *at > 0x9f) || (first == 0xf0 && *at < 0x90)
            || (first == 0xf4 && *at > 0x8f))
            return 0;
        for (; more > 0; more--)
            if ((*at++ & 0xc0) != 0x80)
                return 0;
    }
    return 1;
}

static JSValue js_utf8_string(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t size;
    const uint8_t *bytes = range_of(ctx, argv, &size);
    if (!bytes)
        return JS_EXCEPTION;
    return is_utf8(bytes, bytes + size) ? JS_NewByteString(ctx, bytes, size) : JS_UNDEFINED;
}

static JSValue js_is_plain(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t size = 0, at = 0;
    JSValue text = JS_ToString(ctx, argv[0]);
    if (JS_IsException(text))
        return text;
    const uint8_t *bytes = JS_GetByteString(text, &size);
    while (at < size && bytes[at] > 0x20 && bytes[at] < 0x7f && bytes[at] != '\\' && bytes[at] != '"')
        at++;
    JS_FreeValue(ctx, text);
    return JS_NewBool(ctx, bytes && at == size);
}

/* QuickJS fills up the arguments that are missing. */
const JSCFunctionListEntry byte_functions[BYTE_FUNCTIONS] = {
    JS_CFUNC_DEF("toByteString", 3, js_to_byte_string), JS_CFUNC_DEF("fromByteString", 1, js_from_byte_string),
    JS_CFUNC_DEF("putBytes", 3, js_put_bytes),          JS_CFUNC_DEF("hex", 3, js_hex),
    JS_CFUNC_DEF("utf8String", 3, js_utf8_string),      JS_CFUNC_DEF("isPlain", 1, js_is_plain),
};
