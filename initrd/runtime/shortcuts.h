/*
 * The usual cases of what the interpreter does most, without a call: included into quickjs.c by quickjs.patch, in front of
 * JS_CallInternal. Each either does all of it, or says no and has done nothing; then QuickJS does it its own way. Building an
 * image again takes a tenth less of the time.
 *
 * Behind them what bytes.c needs: byte strings are QuickJS's strings of 8-bit characters, which its interface takes and
 * gives as UTF-8 only.
 */

/* A data property of the object itself. */
static force_inline BOOL own_property(JSContext *ctx, JSValueConst object, JSAtom name, JSValue *value)
{
    JSProperty *property;
    if (JS_VALUE_GET_TAG(object) != JS_TAG_OBJECT)
        return FALSE;
    const JSShapeProperty *found = find_own_property(&property, JS_VALUE_GET_OBJ(object), name);
    if (!found || found->flags & JS_PROP_TMASK)
        return FALSE;
    *value = JS_DupValue(ctx, property->u.value);
    return TRUE;
}

/* The same, or the length of a string. */
static force_inline BOOL own_length(JSContext *ctx, JSValueConst of, JSValue *length)
{
    if (JS_VALUE_GET_TAG(of) != JS_TAG_STRING)
        return own_property(ctx, of, JS_ATOM_length, length);
    *length = JS_NewInt32(ctx, JS_VALUE_GET_STRING(of)->len);
    return TRUE;
}

/* An element that is there, of an array or of the typed arrays that occur most. */
static force_inline BOOL present_element(JSContext *ctx, JSValueConst array, JSValueConst index, JSValue *value)
{
    if (JS_VALUE_GET_TAG(array) != JS_TAG_OBJECT || JS_VALUE_GET_TAG(index) != JS_TAG_INT)
        return FALSE;
    const JSObject *object = JS_VALUE_GET_OBJ(array);
    uint32_t at = JS_VALUE_GET_INT(index);
    if (at >= object->u.array.count)
        return FALSE;
    switch (object->class_id) {
    case JS_CLASS_ARRAY:
        *value = JS_DupValue(ctx, object->u.array.u.values[at]);
        return TRUE;
    case JS_CLASS_UINT8_ARRAY:
        *value = JS_NewInt32(ctx, object->u.array.u.uint8_ptr[at]);
        return TRUE;
    case JS_CLASS_UINT16_ARRAY:
        *value = JS_NewInt32(ctx, object->u.array.u.uint16_ptr[at]);
        return TRUE;
    case JS_CLASS_INT32_ARRAY:
        *value = JS_NewInt32(ctx, object->u.array.u.int32_ptr[at]);
        return TRUE;
    case JS_CLASS_UINT32_ARRAY:
        *value = JS_NewUint32(ctx, object->u.array.u.uint32_ptr[at]);
        return TRUE;
    default:
        return FALSE;
    }
}

/* A small number for an element that is there, of those typed arrays. */
static force_inline BOOL put_present_element(JSValueConst array, JSValueConst index, JSValueConst number)
{
    if (JS_VALUE_GET_TAG(array) != JS_TAG_OBJECT || JS_VALUE_GET_TAG(index) != JS_TAG_INT
        || JS_VALUE_GET_TAG(number) != JS_TAG_INT)
        return FALSE;
    const JSObject *object = JS_VALUE_GET_OBJ(array);
    uint32_t at = JS_VALUE_GET_INT(index);
    if (at >= object->u.array.count)
        return FALSE;
    switch (object->class_id) {
    case JS_CLASS_UINT8_ARRAY:
        object->u.array.u.uint8_ptr[at] = JS_VALUE_GET_INT(number);
        return TRUE;
    case JS_CLASS_UINT16_ARRAY:
        object->u.array.u.uint16_ptr[at] = JS_VALUE_GET_INT(number);
        return TRUE;
    case JS_CLASS_INT32_ARRAY:
    case JS_CLASS_UINT32_ARRAY:
        object->u.array.u.int32_ptr[at] = JS_VALUE_GET_INT(number);
        return TRUE;
    default:
        return FALSE;
    }
}

/* A new property of a plain object, as of an object literal; takes the value over. -1 when there is no memory. */
static force_inline int define_new_property(JSContext *ctx, JSValueConst of, JSAtom name, JSValue value)
{
    JSObject *object = JS_VALUE_GET_OBJ(of);
    if (JS_VALUE_GET_TAG(of) != JS_TAG_OBJECT || object->class_id != JS_CLASS_OBJECT || !object->extensible
        || find_own_property1(object, name))
        return FALSE;
    JSProperty *property = add_property(ctx, object, name, JS_PROP_C_W_E);
    if (!property) {
        JS_FreeValue(ctx, value);
        return -1;
    }
    property->u.value = value;
    return TRUE;
}

static force_inline BOOL own_private_field(JSContext *ctx, JSValueConst object, JSValueConst name, JSValue *value)
{
    if (JS_VALUE_GET_TAG(name) != JS_TAG_SYMBOL)
        return FALSE;
    const JSAtomStruct *symbol = JS_VALUE_GET_PTR(name);
    /* Where a symbol keeps the number of its atom. */
    return symbol->atom_type == JS_ATOM_TYPE_SYMBOL && own_property(ctx, object, symbol->hash_next, value);
}

/* A writable data property of the object itself; takes the value over. */
static force_inline BOOL put_own_property(JSContext *ctx, JSValueConst object, JSAtom name, JSValue value)
{
    JSProperty *property;
    if (JS_VALUE_GET_TAG(object) != JS_TAG_OBJECT)
        return FALSE;
    const JSShapeProperty *found = find_own_property(&property, JS_VALUE_GET_OBJ(object), name);
    if (!found || (found->flags & (JS_PROP_TMASK | JS_PROP_WRITABLE | JS_PROP_LENGTH)) != JS_PROP_WRITABLE)
        return FALSE;
    set_value(ctx, &property->u.value, value);
    return TRUE;
}

/*
 * As js_strict_eq_slow(), which compares the two uppermost values. For undefined, null, objects and small big integers that needs no
 * look at anything else.
 */
static force_inline int compare_strictly(JSContext *ctx, JSValue *sp, BOOL is_negated)
{
    const JSValue one = sp[-2], other = sp[-1];
    const int tag = JS_VALUE_GET_TAG(one), other_tag = JS_VALUE_GET_TAG(other);
    BOOL same;
    if (tag == JS_TAG_UNDEFINED || tag == JS_TAG_NULL || other_tag == JS_TAG_UNDEFINED || other_tag == JS_TAG_NULL)
        same = tag == other_tag;
    else if (tag == JS_TAG_OBJECT && other_tag == JS_TAG_OBJECT)
        same = JS_VALUE_GET_PTR(one) == JS_VALUE_GET_PTR(other);
    else if (tag == JS_TAG_SHORT_BIG_INT && other_tag == JS_TAG_SHORT_BIG_INT)
        same = JS_VALUE_GET_SHORT_BIG_INT(one) == JS_VALUE_GET_SHORT_BIG_INT(other);
    else
        return js_strict_eq_slow(ctx, sp, is_negated);
    JS_FreeValue(ctx, one);
    JS_FreeValue(ctx, other);
    sp[-2] = JS_NewBool(ctx, same ^ is_negated);
    return 0;
}

JSValue JS_NewByteString(JSContext *ctx, const uint8_t *bytes, size_t size)
{
    if (size > JS_STRING_LEN_MAX)
        return JS_ThrowRangeError(ctx, "too long for a string");
    return js_new_string8_len(ctx, (const char *)bytes, size);
}

const uint8_t *JS_GetByteString(JSValueConst value, size_t *size)
{
    if (JS_VALUE_GET_TAG(value) != JS_TAG_STRING)
        return NULL;
    const JSString *string = JS_VALUE_GET_STRING(value);
    if (string->is_wide_char)
        return NULL;
    *size = string->len;
    return string->u.str8;
}
