/** A file as one value, whatever kind of file it is: scripts pass pipes where a path is asked for. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { concatBytes } from '../formats/bytes.ts';
import type { ByteString } from '../formats/encoding.ts';
import { badInput } from '../formats/errors.ts';
import { pathBuffer, reading } from './directory-source.ts';
import { whenReady } from './non-blocking.ts';

/** What an image or a dump may have: those of a system with a million files have some 300 MiB. */
const MAX_BYTES = 512 * 1024 * 1024;

/** Standard input for a descriptor of 0. Throws SourceError. */
export function readWhole(fd: number, name: ByteString): Uint8Array {
  return reading(name, () => {
    const { size } = fstatSync(fd);
    let out = Buffer.allocUnsafe(size + 4096);
    for (let length = 0; ; ) {
      const count = whenReady(() => readSync(fd, out, length, out.length - length, null));
      if (count === 0) return out.subarray(0, length);
      length += count;
      requireRoom(length);
      if (length === out.length) out = Buffer.concat([out, Buffer.allocUnsafe(2 * length)]);
    }
  });
}

function requireRoom(bytes: number): void {
  if (bytes > MAX_BYTES) throw badInput('file-too-large', `cannot read input: more than ${MAX_BYTES} bytes`);
}

/** As much as a cache of the processor holds. */
const PIECE_BYTES = 256 * 1024;

/**
 * The bytes of a file, of any size, piece by piece: `use` returns how many it has used up, and gets the others again
 * with as many behind them. Throws SourceError, and `file-too-large` when it uses none of what readWhole() would refuse.
 */
export function readPieces(
  fd: number,
  name: ByteString,
  use: (bytes: Uint8Array, isLast: boolean) => number,
): void {
  let buffer: Uint8Array = new Uint8Array(PIECE_BYTES);
  for (let length = 0, count = -1; count !== 0; ) {
    count = reading(name, () => whenReady(() => readSync(fd, buffer, length, buffer.length - length, null)));
    length += count;
    requireRoom(length);
    // A pipe gives little at a time, and all of it would be looked at each time.
    if (count !== 0 && length < buffer.length) continue;
    const used = use(buffer.subarray(0, length), count === 0);
    buffer.copyWithin(0, used, length);
    length -= used;
    if (length === buffer.length) buffer = concatBytes([buffer, new Uint8Array(length)]);
  }
}

/** Opens for reading, as open(2) does it: links are followed, pipes waited for. Throws SourceError. */
export function openForReading(path: ByteString): number {
  return reading(path, () => openSync(pathBuffer(path), 'r'));
}

/** Opens, reads and closes. */
export function withFile<T>(path: ByteString, use: (fd: number) => T): T {
  const fd = openForReading(path);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
