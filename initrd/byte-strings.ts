/** Stands in the place of src/formats/byte-strings.ts (bundle.ts): the same functions, from the C runtime. */

/// <reference path="./runtime/sys.d.ts" />
import type * as Portable from '../src/formats/byte-strings.ts';

export const { fromByteString, hex, isPlain, putBytes, toByteString, utf8String }: typeof Portable = sys;
