/*
 * Starts QuickJS, runs the embedded bytecode, and refuses when the program does not end by itself: it leaves
 * through sys.syscall(exit_group), so that coming back here, in whatever way, is a fault and exits 1.
 *
 * The context is raw: no eval, regular expressions, JSON, Date, Promise or Proxy. The linker drops them, the
 * parser included.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "runtime.h"

/* A commit and its detached metadata are read whole, 16 MiB each, and may be held twice while they are parsed. */
#define MEMORY_LIMIT (96u << 20)
#define STACK_LIMIT (512u << 10)

static const char fault[] =
    "sealroot-prepare-root: error: internal: cannot go on: the program failed or ran out of memory; "
    "boot another deployment and report this\n";

static int refuse(void)
{
    /* Nothing is left to do when even this fails; the exit status still refuses. */
    if (write(STDERR_FILENO, fault, sizeof fault - 1) < 0)
        return 1;
    return 1;
}

/*
 * What was read lies on the heap now. And the kernel maps pages around each that is touched: the second script, which
 * few boots read, was resident for that reason only. It comes back when it is read. 112 of 1,008 KiB.
 */
static void release_scripts(void)
{
    uintptr_t page = getpagesize();
    uintptr_t first = ((uintptr_t)__start_scripts + page - 1) & -page, end = (uintptr_t)__stop_scripts & -page;
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

int main(int argc, char **argv)
{
    JSRuntime *runtime = JS_NewRuntime2(&slab_functions, NULL);
    if (!runtime)
        return refuse();
    JS_SetMemoryLimit(runtime, MEMORY_LIMIT);
    JS_SetMaxStackSize(runtime, STACK_LIMIT);
    /* Reference counting frees what matters; looking for cycles would only cost time. */
    JS_SetGCThreshold(runtime, (size_t)-1);

    JSContext *ctx = JS_NewContextRaw(runtime);
    if (!ctx)
        return refuse();
    JS_AddIntrinsicBaseObjects(ctx);
    JS_AddIntrinsicMapSet(ctx);
    JS_AddIntrinsicTypedArrays(ctx);
    if (sys_define(ctx, argc, argv) < 0)
        return refuse();

    JSValue program = JS_ReadObject(ctx, program_bytecode, program_bytecode_size, JS_READ_OBJ_BYTECODE);
    release_scripts();
    if (!JS_IsException(program))
        JS_EvalFunction(ctx, program);
    return refuse();
}
