/*
 * The global object `sys` (sys.d.ts): one raw system call, the call numbers, the arguments, two hashes, the second script,
 * and what bytes.c and objects.c have.
 * What each call means, which buffers it needs and what its errors lead to is decided in ../sys.ts.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "runtime.h"

#define MAX_PARTS 8
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * A raw instruction instead of syscall(3): no errno, no detour, the kernel's own answer. Arguments are numbers,
 * Uint8Arrays (passed as pointers) or null. The result is the kernel's: negative error numbers included.
 */
static long raw_syscall(long number, const long *a)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a[0];
    register long x1 __asm__("x1") = a[1];
    register long x2 __asm__("x2") = a[2];
    register long x3 __asm__("x3") = a[3];
    register long x4 __asm__("x4") = a[4];
    register long x5 __asm__("x5") = a[5];
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "teach raw_syscall() this architecture"
#endif
}

static JSValue js_syscall(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    long args[7] = { 0 };
    if (argc < 1 || argc > 7)
        return JS_ThrowTypeError(ctx, "syscall takes one to seven arguments");
    for (int i = 0; i < argc; i++) {
        if (JS_IsNumber(argv[i])) {
            int64_t number;
            if (JS_ToInt64(ctx, &number, argv[i]))
                return JS_EXCEPTION;
            args[i] = number;
        } else if (!JS_IsNull(argv[i])) {
            size_t size;
            uint8_t *bytes = bytes_of(ctx, argv[i], &size);
            if (!bytes)
                return JS_EXCEPTION;
            args[i] = (long)bytes;
        }
    }
    return JS_NewInt64(ctx, raw_syscall(args[0], args + 1));
}

/* magic: 256 or 512. Hashes the concatenation of its arguments. */
static JSValue js_sha2(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv, int magic)
{
    struct sha2_part parts[MAX_PARTS];
    uint8_t digest[64];
    if (argc > MAX_PARTS)
        return JS_ThrowRangeError(ctx, "more than %d parts to hash", MAX_PARTS);
    for (int i = 0; i < argc; i++) {
        parts[i].data = bytes_of(ctx, argv[i], &parts[i].size);
        if (!parts[i].data)
            return JS_EXCEPTION;
    }
    if (magic == 256)
        sha256(parts, argc, digest);
    else
        sha512(parts, argc, digest);
    return bytes_from(ctx, digest, magic / 8);
}

/* Runs the second script. Its bytecode is part of this binary: nothing checks what is in it. */
static JSValue js_seldom(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    if (seldom_bytecode_size == 0)
        return JS_UNDEFINED;
    JSValue script = JS_ReadObject(ctx, seldom_bytecode, seldom_bytecode_size, JS_READ_OBJ_BYTECODE);
    return JS_IsException(script) ? script : JS_EvalFunction(ctx, script);
}

static JSValue js_limit_memory(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int64_t bytes;
    if (argc < 1 || JS_ToInt64(ctx, &bytes, argv[0]))
        return JS_EXCEPTION;
    JS_SetMemoryLimit(JS_GetRuntime(ctx), bytes);
    slab_expect_much();
    return JS_UNDEFINED;
}

#define NUMBER(name) JS_PROP_INT32_DEF(#name, SYS_##name, JS_PROP_ENUMERABLE)
static const JSCFunctionListEntry call_numbers[] = {
    NUMBER(clock_gettime), NUMBER(close),       NUMBER(exit_group), NUMBER(fgetxattr), NUMBER(flistxattr), NUMBER(fsconfig),      NUMBER(fsmount),    NUMBER(fsopen),
    NUMBER(getdents64), NUMBER(getxattr),  NUMBER(ioctl), NUMBER(listxattr),       NUMBER(mkdirat),    NUMBER(mount), NUMBER(mount_setattr), NUMBER(move_mount), NUMBER(open_tree),
    NUMBER(openat),      NUMBER(openat2),    NUMBER(read),          NUMBER(readlinkat), NUMBER(sendto),
    NUMBER(socket),      NUMBER(statfs),        NUMBER(statx),      NUMBER(symlinkat),     NUMBER(umount2),    NUMBER(uname),
    NUMBER(write),
};

/* The two open flags whose values differ between architectures. */
static const JSCFunctionListEntry open_flags[] = {
    JS_PROP_INT32_DEF("O_DIRECTORY", O_DIRECTORY, JS_PROP_ENUMERABLE),
    JS_PROP_INT32_DEF("O_NOFOLLOW", O_NOFOLLOW, JS_PROP_ENUMERABLE),
};

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("syscall", 7, js_syscall),
    JS_CFUNC_MAGIC_DEF("sha256", MAX_PARTS, js_sha2, 256),
    JS_CFUNC_MAGIC_DEF("sha512", MAX_PARTS, js_sha2, 512),
    JS_CFUNC_DEF("seldom", 0, js_seldom),
    JS_CFUNC_DEF("limitMemory", 1, js_limit_memory),
    JS_OBJECT_DEF("nr", call_numbers, COUNT(call_numbers), JS_PROP_ENUMERABLE),
    JS_OBJECT_DEF("flag", open_flags, COUNT(open_flags), JS_PROP_ENUMERABLE),
};

int sys_define(JSContext *ctx, int argc, char **argv)
{
    JSValue sys = JS_NewObject(ctx);
    JSValue arguments = JS_NewArray(ctx);
    JSValue global = JS_GetGlobalObject(ctx);
    int failed = JS_IsException(sys) || JS_IsException(arguments);
    if (!failed) {
        JS_SetPropertyFunctionList(ctx, sys, functions, COUNT(functions));
        JS_SetPropertyFunctionList(ctx, sys, byte_functions, BYTE_FUNCTIONS);
        JS_SetPropertyFunctionList(ctx, sys, object_functions, OBJECT_FUNCTIONS);
        for (int i = 0; i < argc && !failed; i++)
            failed = JS_SetPropertyUint32(ctx, arguments, i, bytes_from(ctx, argv[i], strlen(argv[i]))) < 0;
        failed = failed || JS_SetPropertyStr(ctx, sys, "argv", arguments) < 0
              || JS_SetPropertyStr(ctx, global, "sys", sys) < 0;
    }
    JS_FreeValue(ctx, global);
    return failed ? -1 : 0;
}
