/**
 * The file of a digest cache, little endian: head; entries sorted by checksum; their variable parts, xattrs and link
 * target, each different one once; the SHA-256 of all before. What has another version, is cut or damaged is no table.
 */

import type { ByteString } from '../formats/encoding.ts';
import { nodeHasher } from './hasher.ts';
import { STAMP_BYTES } from './inode-status.ts';
import type { StoredFile } from './object-file.ts';

const MAGIC = Buffer.from('sealroot digests\x01\0\0\0', 'latin1');
/** The number of entries follows the magic. */
const HEAD_BYTES = MAGIC.length + 4;
const TRAILER_BYTES = 32;

/** Of an entry, in bytes from its start. */
const ENTRY = {
  CHECKSUM: 0,
  /** Of the object's inode when it was read, see inodeStamp. */
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
/** Entries are found by the first two bytes of their checksums, which are as good as random. */
const BUCKETS = 0x10000;

export interface AddedEntry {
  /** 64 hex digits. */
  readonly checksum: string;
  readonly stamp: Buffer;
  readonly file: StoredFile;
}

export class DigestTable {
  readonly count: number;
  /** The highest number of a run that wrote an entry. */
  readonly lastRun: number;
  readonly #bytes: Buffer;
  readonly #partsAt: number;
  /** Where the entries of each bucket begin, and at the end their number. */
  readonly #buckets: Uint32Array;
  readonly #parts = new Map<number, ReadonlyMap<ByteString, Uint8Array>>();
  readonly #scratch = Buffer.alloc(CHECKSUM_BYTES);

  /** An empty one. */
  static readonly NONE = new DigestTable(Buffer.alloc(HEAD_BYTES), 0);

  static parse(bytes: Buffer): DigestTable {
    const end = bytes.length - TRAILER_BYTES;
    if (end < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return DigestTable.NONE;
    if (!bytes.subarray(end).equals(nodeHasher.sha256(bytes.subarray(0, end)))) return DigestTable.NONE;
    return new DigestTable(bytes.subarray(0, end), bytes.readUInt32LE(MAGIC.length));
  }

  private constructor(bytes: Buffer, count: number) {
    this.#bytes = bytes;
    this.count = count;
    this.#partsAt = HEAD_BYTES + count * ENTRY.BYTES;
    this.#buckets = new Uint32Array(BUCKETS + 1);
    let lastRun = 0;
    for (let index = 0, at = HEAD_BYTES; index < count; index++, at += ENTRY.BYTES) {
      const bucket = bytes.readUInt16BE(at) + 1;
      this.#buckets[bucket] = index + 1;
      lastRun = Math.max(lastRun, bytes.readUInt32LE(at + ENTRY.RUN));
    }
    // An empty bucket ends where the one before it does.
    for (let bucket = 1; bucket <= BUCKETS; bucket++) {
      this.#buckets[bucket] = Math.max(this.#buckets[bucket] as number, this.#buckets[bucket - 1] as number);
    }
    this.lastRun = lastRun;
  }

  /** The entry of an object whose inode is still what it was. */
  find(checksum: string, stamp: Buffer): number | undefined {
    this.#scratch.write(checksum, 'hex');
    const bucket = this.#scratch.readUInt16BE(0);
    const end = this.#buckets[bucket + 1] as number;
    for (let index = this.#buckets[bucket] as number; index < end; index++) {
      const at = this.#entry(index);
      if (this.#bytes.compare(this.#scratch, 0, CHECKSUM_BYTES, at, at + CHECKSUM_BYTES) !== 0) continue;
      const same = this.#bytes.compare(
        stamp,
        0,
        STAMP_BYTES,
        at + ENTRY.STAMP,
        at + ENTRY.STAMP + STAMP_BYTES,
      );
      return same === 0 ? index : undefined;
    }
    return undefined;
  }

  fileAt(index: number): StoredFile {
    const at = this.#entry(index);
    const flags = this.#bytes.readUInt32LE(at + ENTRY.FLAGS);
    const part = this.#partsAt + this.#bytes.readUInt32LE(at + ENTRY.PART);
    const partEnd = part + this.#bytes.readUInt32LE(at + ENTRY.PART_BYTES);
    const digest = at + ENTRY.DIGEST;
    return {
      mode: this.#bytes.readUInt32LE(at + ENTRY.MODE),
      uid: this.#bytes.readUInt32LE(at + ENTRY.UID),
      gid: this.#bytes.readUInt32LE(at + ENTRY.GID),
      size: this.#bytes.readDoubleLE(at + ENTRY.SIZE),
      xattrs: this.#xattrs(part),
      ...(flags & FLAGS.TARGET && { target: this.#target(part, partEnd) }),
      ...(flags & FLAGS.DIGEST && { digest: this.#bytes.subarray(digest, digest + DIGEST_BYTES) }),
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
   * The file with `added` beside the entries of this table. Of more than `max` those stay that were asked for last; the
   * `used` ones are of this run.
   */
  encode(added: readonly AddedEntry[], used: ReadonlySet<number>, max: number): Buffer {
    const run = this.lastRun + 1;
    const replaced = new Set(added.map(({ checksum }) => checksum));
    const old: { at: number; run: number }[] = [];
    for (let index = 0; index < this.count; index++) {
      const at = this.#entry(index);
      if (replaced.has(this.#bytes.toString('hex', at, at + CHECKSUM_BYTES))) continue;
      old.push({ at, run: used.has(index) ? run : this.#bytes.readUInt32LE(at + ENTRY.RUN) });
    }
    const room = Math.max(0, max - added.length);
    const kept = old.length <= room ? old : old.sort((a, b) => b.run - a.run).slice(0, room);
    const parts = new Parts();
    const entries = [
      ...kept.map(({ at, run: last }) => this.#moved(at, last, parts)),
      ...added.slice(0, max).map((entry) => encodeEntry(entry, run, parts)),
    ].sort(Buffer.compare);
    const head = Buffer.alloc(HEAD_BYTES);
    MAGIC.copy(head);
    head.writeUInt32LE(entries.length, MAGIC.length);
    const body = Buffer.concat([head, ...entries, ...parts.all]);
    return Buffer.concat([body, nodeHasher.sha256(body)]);
  }

  #moved(at: number, run: number, parts: Parts): Buffer {
    const entry = Buffer.from(this.#bytes.subarray(at, at + ENTRY.BYTES));
    const part = this.#partsAt + entry.readUInt32LE(ENTRY.PART);
    const end = part + entry.readUInt32LE(ENTRY.PART_BYTES);
    entry.writeUInt32LE(parts.place(this.#bytes.subarray(part, end)), ENTRY.PART);
    entry.writeUInt32LE(run, ENTRY.RUN);
    return entry;
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
  stamp.copy(entry, ENTRY.STAMP);
  if (file.digest !== undefined) entry.set(file.digest, ENTRY.DIGEST);
  entry.writeUInt32LE(file.mode, ENTRY.MODE);
  entry.writeUInt32LE(file.uid, ENTRY.UID);
  entry.writeUInt32LE(file.gid, ENTRY.GID);
  entry.writeDoubleLE(file.size, ENTRY.SIZE);
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
