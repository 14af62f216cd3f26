/** Extended attributes as native/xattrs.h reads them, of each the lengths of name and value in two bytes, name, value. */

import { endianness } from 'node:os';
import { type ByteString, fromByteString, toByteString } from '../formats/encoding.ts';
import { NO_XATTRS, type TreeNode } from '../formats/tree.ts';

const IS_LITTLE_ENDIAN = endianness() === 'LE';

/** Of many files, most of which have the same as some other: those have one map. */
export class SharedXattrs {
  readonly #prefix: string;
  readonly #known = new Map<ByteString, TreeNode['xattrs']>();

  /** Only those whose names begin with `prefix`. */
  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  of(text: ByteString): TreeNode['xattrs'] {
    if (text === '') return NO_XATTRS;
    let xattrs = this.#known.get(text);
    if (xattrs === undefined) {
      xattrs = this.#parse(fromByteString(text));
      this.#known.set(text, xattrs);
    }
    return xattrs;
  }

  #parse(bytes: Uint8Array): TreeNode['xattrs'] {
    const xattrs = new Map<ByteString, Uint8Array>();
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < bytes.length; ) {
      const value = at + 4 + view.getUint16(at, IS_LITTLE_ENDIAN);
      const end = value + view.getUint16(at + 2, IS_LITTLE_ENDIAN);
      const name = toByteString(bytes, at + 4, value);
      if (name.startsWith(this.#prefix)) xattrs.set(name, bytes.subarray(value, end));
      at = end;
    }
    return xattrs.size === 0 ? NO_XATTRS : xattrs;
  }
}
