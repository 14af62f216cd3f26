/**
 * The file of a digest cache, little endian: head; entries sorted by checksum; their variable parts, xattrs and link
 * target, each different one once; the SHA-256 of all before. What has another version, is cut or damaged is no table.
 */

import { wholeNumber } from '../formats/bytes.ts';
import { type ByteString, toByteString } from '../formats/encoding.ts';
import type { KnownStamps } from './file-ring.ts';
import type { StoredFile } from './object-file.ts';
import { sha256OfBytes } from './sha256.ts';

const MAGIC = Buffer.from('sealroot digests\x02\0\0\0', 'latin1');
/** The number of entries follows the magic. */
const HEAD_BYTES = MAGIC.length + 4;
const TRAILER_BYTES = 32;

/** Of an entry, in bytes from its start. */
const ENTRY = {
  CHECKSUM: 0,
  /** Of the object's inode when it was read, see InodeStatus. */
  STAMP: 32,
  DIGEST: 80,
  MODE: 112,
  UID: 116,
  GID: 120,
  SIZE: 124,
  FLAGS: 132,
  /** The variable part: from the start of all of them, and its bytes. */
  PART: 136,
  PART_BYTES: 140,
  /** Number of the run that asked for it last. */
  RUN: 144,
  BYTES: 148,
} as const;

const FLAGS = { DIGEST: 1, TARGET: 2 } as const;
const CHECKSUM_BYTES = 32;
const DIGEST_BYTES = 32;

export interface AddedEntry {
  /** 64 hex digits. */
  readonly checksum: string;
  /** Of the object's inode when it was read, see InodeStatus. */
  readonly stamp: Uint8Array;
  readonly file: StoredFile;
}

export class DigestTable {
  readonly count: number;
  readonly #bytes: Buffer;
  /** The same memory: what is a part of a Buffer is one, which takes longer to make. */
  readonly #plain: Uint8Array;
  readonly #view: DataView;
  readonly #partsAt: number;
  readonly #parts = new Map<number, ReadonlyMap<ByteString, Uint8Array>>();

  /** An empty one. */
  static readonly NONE = new DigestTable(Buffer.alloc(HEAD_BYTES), 0);

  static parse(content: Uint8Array): DigestTable {
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
    const end = bytes.length - TRAILER_BYTES;
    if (end < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return DigestTable.NONE;
    if (!bytes.subarray(end).equals(sha256OfBytes(bytes.subarray(0, end)))) return DigestTable.NONE;
    const count = bytes.readUInt32LE(MAGIC.length);
    if (HEAD_BYTES + count * ENTRY.BYTES > end) return DigestTable.NONE;
    return new DigestTable(bytes.subarray(0, end), count);
  }

  private constructor(bytes: Buffer, count: number) {
    this.#bytes = bytes;
    this.#plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.count = count;
    this.#partsAt = HEAD_BYTES + count * ENTRY.BYTES;
  }

  /** The entry of an object. */
  #find(checksum: Buffer): number | undefined {
    const index = this.#before(checksum);
    return index < this.count && this.#compare(checksum, index) === 0 ? index : undefined;
  }

  /** How many entries stand before the place of this checksum. */
  #before(checksum: Buffer): number {
    let from = 0;
    let to = this.count;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#compare(checksum, middle) > 0) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** Above 0 when the entry comes before what begins with this checksum. */
  #compare(checksum: Buffer, index: number): number {
    const at = this.#entry(index);
    return checksum.compare(this.#bytes, at, at + CHECKSUM_BYTES, 0, CHECKSUM_BYTES);
  }

  /** Of all entries. */
  get stamps(): KnownStamps {
    const { count } = this;
    return {
      entries: this.#plain.subarray(HEAD_BYTES, this.#entry(count)),
      count,
      entryBytes: ENTRY.BYTES,
    };
  }

  fileAt(index: number): StoredFile {
    const at = this.#entry(index);
    const flags = this.#word(at + ENTRY.FLAGS);
    const part = this.#partsAt + this.#word(at + ENTRY.PART);
    const partEnd = part + this.#word(at + ENTRY.PART_BYTES);
    const digest = at + ENTRY.DIGEST;
    return {
      mode: this.#word(at + ENTRY.MODE),
      uid: this.#word(at + ENTRY.UID),
      gid: this.#word(at + ENTRY.GID),
      size: wholeNumber(this.#word(at + ENTRY.SIZE), this.#word(at + ENTRY.SIZE + 4)),
      xattrs: this.#xattrs(part),
      target: flags & FLAGS.TARGET ? this.#target(part, partEnd) : undefined,
      digest: flags & FLAGS.DIGEST ? toByteString(this.#plain, digest, digest + DIGEST_BYTES) : undefined,
      tree: undefined,
    };
  }

  #word(at: number): number {
    return this.#view.getUint32(at, true);
  }

  #entry(index: number): number {
    return HEAD_BYTES + index * ENTRY.BYTES;
  }

  /** Files whose parts are the same share one map. */
  #xattrs(part: number): ReadonlyMap<ByteString, Uint8Array> {
    let xattrs = this.#parts.get(part);
    if (xattrs === undefined) {
      xattrs = decodeXattrs(this.#bytes, part).xattrs;
      this.#parts.set(part, xattrs);
    }
    return xattrs;
  }

  #target(part: number, end: number): ByteString {
    return this.#bytes.toString('latin1', decodeXattrs(this.#bytes, part).end, end) as ByteString;
  }

  /**
   * The file with `added` beside the entries of this table, whose numbers `used` counts by. Of more than `max` those stay
   * that were asked for last; the used ones are of this run.
   */
  encode(added: readonly AddedEntry[], used: Uint8Array, max: number): Buffer {
    const run = this.#lastRun() + 1;
    const fresh = added.slice(0, max).sort((a, b) => (a.checksum < b.checksum ? -1 : 1));
    const kept = this.#kept(added, used, run, max - fresh.length);
    const count = kept.length + fresh.length;
    const entries = Buffer.alloc(HEAD_BYTES + count * ENTRY.BYTES);
    MAGIC.copy(entries);
    entries.writeUInt32LE(count, MAGIC.length);
    const parts = new Parts();
    const moved = new Map<number, number>();
    const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
    let at = HEAD_BYTES;
    let next = 0;
    // Most have the part of the one before.
    let [lastPart, lastPlace] = [-1, 0];
    const moveUpTo = (end: number) => {
      while (next < kept.length && (kept[next] as number) < end) {
        const first = next++;
        const index = kept[first] as number;
        while (next < kept.length && kept[next] === index + next - first && (kept[next] as number) < end)
          next++;
        this.#bytes.copy(entries, at, this.#entry(index), this.#entry(index + next - first));
        for (let i = first; i < next; i++, at += ENTRY.BYTES) {
          if (used[kept[i] as number]) view.setUint32(at + ENTRY.RUN, run, true);
          const part = view.getUint32(at + ENTRY.PART, true);
          if (part !== lastPart) {
            lastPlace =
              moved.get(part) ?? parts.place(this.#part(part, view.getUint32(at + ENTRY.PART_BYTES, true)));
            moved.set(part, lastPlace);
            lastPart = part;
          }
          view.setUint32(at + ENTRY.PART, lastPlace, true);
        }
      }
    };
    for (const entry of fresh) {
      const bytes = encodeEntry(entry, run, parts);
      moveUpTo(this.#before(bytes));
      bytes.copy(entries, at);
      at += ENTRY.BYTES;
    }
    moveUpTo(this.count);
    const out = Buffer.concat([entries, ...parts.all, Buffer.alloc(TRAILER_BYTES)]);
    const end = out.length - TRAILER_BYTES;
    out.set(sha256OfBytes(out.subarray(0, end)), end);
    return out;
  }

  /** The highest number of a run that asked for an entry. */
  #lastRun(): number {
    let last = 0;
    for (let index = 0; index < this.count; index++) last = Math.max(last, this.#runOf(index));
    return last;
  }

  #runOf(index: number): number {
    return this.#word(this.#entry(index) + ENTRY.RUN);
  }

  /** The entries of this table that stay, in order: none that is replaced, and of too many those that were used last. */
  #kept(added: readonly AddedEntry[], used: Uint8Array, run: number, room: number): number[] {
    const replaced = new Set(added.map(({ checksum }) => this.#find(Buffer.from(checksum, 'hex'))));
    const kept: number[] = [];
    for (let index = 0; index < this.count; index++) if (!replaced.has(index)) kept.push(index);
    if (kept.length <= room) return kept;
    const lastRun = (index: number) => (used[index] ? run : this.#runOf(index));
    const byRun = kept.sort((a, b) => lastRun(b) - lastRun(a)).slice(0, room);
    return byRun.sort((a, b) => a - b);
  }

  #part(start: number, length: number): Buffer {
    return this.#bytes.subarray(this.#partsAt + start, this.#partsAt + start + length);
  }
}

/** Where each part goes. */
class Parts {
  readonly all: Buffer[] = [];
  readonly #places = new Map<string, number>();
  #end = 0;

  place(part: Buffer): number {
    const text = part.toString('latin1');
    let place = this.#places.get(text);
    if (place === undefined) {
      place = this.#end;
      this.#places.set(text, place);
      this.all.push(part);
      this.#end += part.length;
    }
    return place;
  }
}

function encodeEntry({ checksum, stamp, file }: AddedEntry, run: number, parts: Parts): Buffer {
  const entry = Buffer.alloc(ENTRY.BYTES);
  const part = encodePart(file);
  entry.write(checksum, ENTRY.CHECKSUM, 'hex');
  entry.set(stamp, ENTRY.STAMP);
  if (file.digest !== undefined) entry.write(file.digest, ENTRY.DIGEST, 'latin1');
  entry.writeUInt32LE(file.mode, ENTRY.MODE);
  entry.writeUInt32LE(file.uid, ENTRY.UID);
  entry.writeUInt32LE(file.gid, ENTRY.GID);
  entry.writeBigUInt64LE(BigInt(file.size), ENTRY.SIZE);
  const flags =
    (file.digest === undefined ? 0 : FLAGS.DIGEST) | (file.target === undefined ? 0 : FLAGS.TARGET);
  entry.writeUInt32LE(flags, ENTRY.FLAGS);
  entry.writeUInt32LE(parts.place(part), ENTRY.PART);
  entry.writeUInt32LE(part.length, ENTRY.PART_BYTES);
  entry.writeUInt32LE(run, ENTRY.RUN);
  return entry;
}

/** Number of xattrs; of each the lengths of name and value, and both; then the link's target up to the part's end. */
function encodePart({ xattrs, target }: StoredFile): Buffer {
  const out: Buffer[] = [lengths(xattrs.size, 0)];
  for (const [name, value] of xattrs) {
    out.push(lengths(name.length, value.length), Buffer.from(name, 'latin1'), Buffer.from(value));
  }
  if (target !== undefined) out.push(Buffer.from(target, 'latin1'));
  return Buffer.concat(out);
}

function lengths(first: number, second: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32LE(first, 0);
  out.writeUInt32LE(second, 4);
  return out;
}

/** `end`: of the xattrs, where the target begins. */
function decodeXattrs(
  bytes: Buffer,
  part: number,
): { xattrs: ReadonlyMap<ByteString, Uint8Array>; end: number } {
  const xattrs = new Map<ByteString, Uint8Array>();
  let at = part + 8;
  for (let left = bytes.readUInt32LE(part); left > 0; left--) {
    const name = at + 8;
    const value = name + bytes.readUInt32LE(at);
    at = value + bytes.readUInt32LE(name - 4);
    xattrs.set(bytes.toString('latin1', name, value) as ByteString, bytes.subarray(value, at));
  }
  return { xattrs, end: at };
}
