/*
 * In the place of main.c. The program comes back here, and everything is given back: what has not been by then is a leak, and
 * what has been twice is a fault.
 */
#include "../../initrd/runtime/runtime.h"

int main(int argc, char **argv)
{
    JSRuntime *runtime = JS_NewRuntime2(&slab_functions, NULL);
    JSContext *ctx = runtime ? JS_NewContextRaw(runtime) : NULL;
    if (!ctx)
        return 1;
    JS_SetGCThreshold(runtime, (size_t)-1);
    JS_AddIntrinsicBaseObjects(ctx);
    JS_AddIntrinsicMapSet(ctx);
    JS_AddIntrinsicTypedArrays(ctx);
    if (sys_define(ctx, argc, argv) < 0)
        return 1;
    JSValue program = JS_ReadObject(ctx, program_bytecode, program_bytecode_size, JS_READ_OBJ_BYTECODE);
    JSValue result = JS_IsException(program) ? program : JS_EvalFunction(ctx, program);
    int failed = JS_IsException(result);
    JS_FreeValue(ctx, result);
    JS_FreeContext(ctx);
    JS_FreeRuntime(runtime);
    return failed;
}
