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

/* QuickJS takes and gives text as UTF-8: a character of two bytes for each byte that is not ASCII. */
static JSValue byte_string(JSContext *ctx, const uint8_t *bytes, size_t size)
{
    size_t ascii = 0;
    while (ascii < size && bytes[ascii] < 0x80)
        ascii++;
    if (ascii == size)
        return JS_NewStringLen(ctx, (const char *)bytes, size);
    char *text = js_malloc(ctx, 2 * size);
    if (!text)
        return JS_EXCEPTION;
    char *end = text;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] >= 0x80)
            *end++ = 0xc0 | bytes[i] >> 6;
        *end++ = bytes[i] < 0x80 ? bytes[i] : 0x80 | (bytes[i] & 0x3f);
    }
    JSValue string = JS_NewStringLen(ctx, text, end - text);
    js_free(ctx, text);
    return string;
}

/* How many bytes a byte string has; throws and returns -1 if it is none. */
static ptrdiff_t count_bytes(JSContext *ctx, const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++, count++) {
        uint8_t byte = text[i];
        if (byte >= 0x80 && ((byte & 0xfc) != 0xc0 || ++i == size)) {
            JS_ThrowRangeError(ctx, "not a byte string");
            return -1;
        }
    }
    return count;
}

/* Those bytes, of a text that has been counted. */
static void unpack(const char *text, size_t size, uint8_t *out, size_t count)
{
    if (count == size) {
        memcpy(out, text, size);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = text[i];
        *out++ = byte < 0x80 ? byte : byte << 6 | (text[++i] & 0x3f);
    }
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
    return bytes ? byte_string(ctx, bytes, size) : JS_EXCEPTION;
}

static JSValue js_from_byte_string(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t size;
    const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
    if (!text)
        return JS_EXCEPTION;
    ptrdiff_t count = count_bytes(ctx, text, size);
    JSValue array = count < 0 ? JS_EXCEPTION : bytes_from(ctx, text, count);
    if (!JS_IsException(array)) {
        size_t room;
        unpack(text, size, bytes_of(ctx, array, &room), count);
    }
    JS_FreeCString(ctx, text);
    return array;
}

static JSValue js_put_bytes(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t room, size;
    uint64_t at;
    if (JS_ToIndex(ctx, &at, argv[1]))
        return JS_EXCEPTION;
    const char *text = JS_ToCStringLen(ctx, &size, argv[2]);
    if (!text)
        return JS_EXCEPTION;
    uint8_t *out = bytes_of(ctx, argv[0], &room);
    ptrdiff_t count = out ? count_bytes(ctx, text, size) : -1;
    if (count >= 0 && (at > room || (size_t)count > room - at)) {
        JS_ThrowRangeError(ctx, "no room for a byte string");
        count = -1;
    }
    if (count >= 0)
        unpack(text, size, out + at, count);
    JS_FreeCString(ctx, text);
    return count < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

static JSValue js_hex(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    static const char digits[16] = "0123456789abcdef";
    size_t size;
    char checksum[64];
    const uint8_t *bytes = range_of(ctx, argv, &size);
    if (!bytes)
        return JS_EXCEPTION;
    char *text = 2 * size <= sizeof checksum ? checksum : js_malloc(ctx, 2 * size);
    if (!text)
        return JS_EXCEPTION;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    JSValue string = JS_NewStringLen(ctx, text, 2 * size);
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
    return is_utf8(bytes, bytes + size) ? byte_string(ctx, bytes, size) : JS_UNDEFINED;
}

static JSValue js_is_plain(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    size_t size, at = 0;
    const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
    if (!text)
        return JS_EXCEPTION;
    /* What is not ASCII stands here in bytes above it. */
    for (; at < size; at++) {
        uint8_t byte = text[at];
        if (byte <= 0x20 || byte >= 0x7f || byte == '\\' || byte == '"')
            break;
    }
    JS_FreeCString(ctx, text);
    return JS_NewBool(ctx, at == size);
}

/* QuickJS fills up the arguments that are missing. */
const JSCFunctionListEntry byte_functions[BYTE_FUNCTIONS] = {
    JS_CFUNC_DEF("toByteString", 3, js_to_byte_string), JS_CFUNC_DEF("fromByteString", 1, js_from_byte_string),
    JS_CFUNC_DEF("putBytes", 3, js_put_bytes),          JS_CFUNC_DEF("hex", 3, js_hex),
    JS_CFUNC_DEF("utf8String", 3, js_utf8_string),      JS_CFUNC_DEF("isPlain", 1, js_is_plain),
};
