/**
 * The file of a digest cache, little endian: head; entries sorted by checksum; their variable parts, xattrs and link
 * target, each different one once; the SHA-256 of all before. What has another version, is cut or damaged is no table.
 */

import { wholeNumber } from '../formats/bytes.ts';
import { type ByteString, toByteString } from '../formats/encoding.ts';
import type { KnownStamps } from './file-ring.ts';
import { nodeHasher } from './hasher.ts';
import type { StoredFile } from './object-file.ts';

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
const CHECKSUM_WORDS = CHECKSUM_BYTES / 4;
const DIGEST_BYTES = 32;
/** Entries are found by the first two bytes of their checksums, which are as good as random. */
const BUCKETS = 0x10000;

function bucketOf(checksum: Uint8Array, at = 0): number {
  return ((checksum[at] as number) << 8) | (checksum[at + 1] as number);
}

export interface AddedEntry {
  /** 64 hex digits. */
  readonly checksum: string;
  /** Of the object's inode when it was read, see InodeStatus. */
  readonly stamp: Uint8Array;
  readonly file: StoredFile;
}

export class DigestTable {
  readonly count: number;
  /** The highest number of a run that wrote an entry. */
  readonly lastRun: number;
  readonly #bytes: Buffer;
  /** The same memory: what is a part of a Buffer is one, which takes longer to make. */
  readonly #plain: Uint8Array;
  readonly #view: DataView;
  readonly #partsAt: number;
  /** Where the entries of each bucket begin, and at the end their number. */
  readonly #buckets: Uint32Array;
  readonly #parts = new Map<number, ReadonlyMap<ByteString, Uint8Array>>();
  /** For comparing: in the order of the processor's bytes. */
  readonly #words: Uint32Array;
  readonly #scratch = Buffer.alloc(CHECKSUM_BYTES);
  readonly #scratchWords = new Uint32Array(this.#scratch.buffer, this.#scratch.byteOffset, CHECKSUM_WORDS);

  /** An empty one. */
  static readonly NONE = new DigestTable(Buffer.alloc(HEAD_BYTES), 0);

  static parse(content: Uint8Array): DigestTable {
    const aligned = content.byteOffset % 4 === 0 ? content : content.slice();
    const bytes = Buffer.from(aligned.buffer, aligned.byteOffset, aligned.length);
    const end = bytes.length - TRAILER_BYTES;
    if (end < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return DigestTable.NONE;
    if (!bytes.subarray(end).equals(nodeHasher.sha256(bytes.subarray(0, end)))) return DigestTable.NONE;
    return new DigestTable(bytes.subarray(0, end), bytes.readUInt32LE(MAGIC.length));
  }

  /** The bytes begin at a multiple of four. */
  private constructor(bytes: Buffer, count: number) {
    this.#bytes = bytes;
    this.#plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.count = count;
    this.#partsAt = HEAD_BYTES + count * ENTRY.BYTES;
    this.#buckets = new Uint32Array(count === 0 ? 0 : BUCKETS + 1);
    let lastRun = 0;
    for (let index = 0, at = HEAD_BYTES; index < count; index++, at += ENTRY.BYTES) {
      this.#buckets[bucketOf(bytes, at) + 1] = index + 1;
      lastRun = Math.max(lastRun, this.#view.getUint32(at + ENTRY.RUN, true));
    }
    // An empty bucket ends where the one before it does.
    for (let bucket = 1; bucket < this.#buckets.length; bucket++) {
      this.#buckets[bucket] = Math.max(this.#buckets[bucket] as number, this.#buckets[bucket - 1] as number);
    }
    this.lastRun = lastRun;
  }

  /** The entry of an object. */
  find(checksum: string): number | undefined {
    const scratch = this.#scratch;
    scratch.write(checksum, 'hex');
    const bucket = bucketOf(scratch);
    const end = this.#buckets[bucket + 1] ?? 0;
    for (let index = this.#buckets[bucket] as number; index < end; index++) {
      if (this.#isScratch(index)) return index;
    }
    return undefined;
  }

  /** Word by word: to have Node.js compare them takes longer than all else of finding one. */
  #isScratch(index: number): boolean {
    const at = this.#entry(index) / 4;
    for (let word = 0; word < CHECKSUM_WORDS; word++) {
      if (this.#words[at + word] !== this.#scratchWords[word]) return false;
    }
    return true;
  }

  /** How many entries stand before the place of this checksum. */
  #before(checksum: Buffer): number {
    const bucket = bucketOf(checksum);
    const end = this.#buckets[bucket + 1] ?? 0;
    let index = this.#buckets[bucket] ?? 0;
    for (; index < end; index++) {
      const at = this.#entry(index);
      if (checksum.compare(this.#bytes, at, at + CHECKSUM_BYTES, 0, CHECKSUM_BYTES) < 0) break;
    }
    return index;
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
    const word = (place: number) => this.#view.getUint32(place, true);
    const flags = word(at + ENTRY.FLAGS);
    const part = this.#partsAt + word(at + ENTRY.PART);
    const partEnd = part + word(at + ENTRY.PART_BYTES);
    const digest = at + ENTRY.DIGEST;
    return {
      mode: word(at + ENTRY.MODE),
      uid: word(at + ENTRY.UID),
      gid: word(at + ENTRY.GID),
      size: wholeNumber(word(at + ENTRY.SIZE), word(at + ENTRY.SIZE + 4)),
      xattrs: this.#xattrs(part),
      target: flags & FLAGS.TARGET ? this.#target(part, partEnd) : undefined,
      digest: flags & FLAGS.DIGEST ? toByteString(this.#plain, digest, digest + DIGEST_BYTES) : undefined,
      tree: undefined,
    };
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
    const run = this.lastRun + 1;
    const fresh = added.slice(0, max).sort((a, b) => (a.checksum < b.checksum ? -1 : 1));
    const kept = this.#kept(added, used, max - fresh.length);
    const count = kept.length + fresh.length;
    const entries = Buffer.alloc(HEAD_BYTES + count * ENTRY.BYTES);
    MAGIC.copy(entries);
    entries.writeUInt32LE(count, MAGIC.length);
    const parts = new Parts();
    const moved = new Map<number, number>();
    const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
    let at = HEAD_BYTES;
    let next = 0;
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
          let place = moved.get(part);
          if (place === undefined) {
            place = parts.place(this.#part(part, view.getUint32(at + ENTRY.PART_BYTES, true)));
            moved.set(part, place);
          }
          view.setUint32(at + ENTRY.PART, place, true);
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
    const body = Buffer.concat([entries, ...parts.all]);
    return Buffer.concat([body, nodeHasher.sha256(body)]);
  }

  /** The entries of this table that stay, in order: none that is replaced, and of too many those that were used last. */
  #kept(added: readonly AddedEntry[], used: Uint8Array, room: number): number[] {
    const replaced = new Set(added.map(({ checksum }) => this.find(checksum)));
    const kept: number[] = [];
    for (let index = 0; index < this.count; index++) if (!replaced.has(index)) kept.push(index);
    if (kept.length <= room) return kept;
    const lastRun = (index: number) =>
      used[index] ? this.lastRun + 1 : this.#bytes.readUInt32LE(this.#entry(index) + ENTRY.RUN);
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
