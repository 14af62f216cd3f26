/** Stands in the place of src/formats/byte-strings.ts (bundle.ts): the same functions, from the C runtime. */

/// <reference path="./runtime/sys.d.ts" />
import type * as Portable from '../src/formats/byte-strings.ts';

export const { fromByteString, hex, isPlain, isUtf8, putBytes, toByteString }: typeof Portable = sys;
