/*
 * Runs on the build machine, with a name: script on standard input -> C source of its stripped bytecode, NAME_bytecode, on
 * standard output. No script, no bytecode. All bytecode lies together (runtime.h).
 * It must be made from the same QuickJS sources as the runtime, since the format has no stable version.
 */
#include <stdio.h>
#include <stdlib.h>

#include "quickjs.h"

static char *read_all(FILE *file, size_t *size)
{
    size_t room = 1 << 20;
    char *text = malloc(room);
    *size = 0;
    while (text) {
        size_t got = fread(text + *size, 1, room - *size - 1, file);
        if (got == 0)
            break;
        *size += got;
        if (*size + 1 == room)
            text = realloc(text, room *= 2);
    }
    if (text)
        text[*size] = 0;
    return text;
}

int main(int argc, char **argv)
{
    size_t size;
    char *script = read_all(stdin, &size);
    JSRuntime *runtime = JS_NewRuntime();
    JSContext *ctx = runtime ? JS_NewContext(runtime) : NULL;
    if (argc != 2 || !script || !ctx)
        return 1;
    const char *name = argv[1];
    JS_SetStripInfo(runtime, JS_STRIP_SOURCE | JS_STRIP_DEBUG);
    JSValue function = JS_Eval(ctx, script, size, name, JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(function)) {
        const char *reason = JS_ToCString(ctx, JS_GetException(ctx));
        fprintf(stderr, "cannot compile the script: %s\n", reason ? reason : "unknown error");
        return 1;
    }
    size_t length;
    uint8_t *bytecode = JS_WriteObject(ctx, &length, function, JS_WRITE_OBJ_BYTECODE);
    if (!bytecode)
        return 1;
    if (size == 0)
        length = 0;
    printf("#include <stdint.h>\nconst uint32_t %s_bytecode_size = %zu;\n", name, length);
    printf("__attribute__((section(\"scripts\"))) ");
    printf("const uint8_t %s_bytecode[%zu] = {", name, length ? length : 1);
    for (size_t i = 0; i < length; i++)
        printf("%s%u,", i % 24 ? "" : "\n", bytecode[i]);
    printf("\n};\n");
    return fflush(stdout) ? 1 : 0;
}
