/**
 * The file of a digest cache, little endian: head; columns, in each of which the entries have the order of their checksums;
 * their variable parts, xattrs and link target, each different one once; metadata objects; the SHA-256 of all but these, which
 * have their checksums. What has another version, is cut or damaged is no table.
 */

import { type ByteString, hex, putBytes, toByteString } from '../formats/byte-strings.ts';
import { wholeNumber } from '../formats/bytes.ts';
import { CHECKSUM_BYTES } from '../formats/ostree-objects.ts';
import { NO_XATTRS } from '../formats/tree.ts';
import type { KnownObjects } from './file-ring.ts';
import { STAMP_BYTES } from './inode-status.ts';
import type { StoredFile } from './object-file.ts';
import { sha256OfBytes } from './sha256.ts';

const MAGIC = Buffer.from('sealroot digests\x04\0\0\0', 'latin1');
/** Behind the magic, in words: the number of entries, and of the run that wrote them; the bytes of all metadata objects. */
const COUNT_AT = MAGIC.length;
const RUN_AT = COUNT_AT + 4;
const METADATA_BYTES_AT = RUN_AT + 4;
const HEAD_BYTES = METADATA_BYTES_AT + 4;
const TRAILER_BYTES = 32;

/**
 * The columns: checksum, and stamp of the object's inode when it was read, see InodeStatus; digest; facts, and the number
 * of the run that asked for it last, in words.
 */
const STAMPED_BYTES = CHECKSUM_BYTES + STAMP_BYTES;
const DIGEST_BYTES = 32;
const FACTS = {
  MODE: 0,
  UID: 1,
  GID: 2,
  SIZE: 3,
  SIZE_HIGH: 4,
  FLAGS: 5,
  /** The variable part: from the start of all of them, and its bytes. */
  PART: 6,
  PART_BYTES: 7,
  WORDS: 8,
} as const;
const FACTS_BYTES = 4 * FACTS.WORDS;
const COLUMNS = [STAMPED_BYTES, DIGEST_BYTES, FACTS_BYTES, 4] as const;
/** Of one entry in the file, but for its variable part. */
export const ENTRY_BYTES = STAMPED_BYTES + DIGEST_BYTES + FACTS_BYTES + 4;

const FLAGS = { DIGEST: 1, TARGET: 2 } as const;

export interface AddedEntry {
  /** 64 hex digits. */
  readonly checksum: string;
  /** Of the object's inode when it was read, see InodeStatus. */
  readonly stamp: Uint8Array;
  readonly file: StoredFile;
}

export class DigestTable {
  readonly count: number;
  /** Of the file, in bytes; 0 for none. */
  readonly size: number;
  readonly #bytes: Buffer;
  /** The same memory: what is a part of a Buffer is one, which takes longer to make. */
  readonly #plain: Uint8Array;
  readonly #facts: Int32Array;
  readonly #runs: Int32Array;
  readonly #digestsAt: number;
  readonly #partsAt: number;
  /** In the form of KnownObjects. */
  readonly #metadata: Uint8Array;
  /** Of all entries; made when the first is asked for. */
  #digests: ByteString | undefined;
  readonly #parts = new Map<number, Part>();

  /** An empty one. */
  static readonly NONE = new DigestTable(new Uint8Array(HEAD_BYTES), 0, 0);

  /** `content` begins where its memory does. */
  static parse(content: Uint8Array): DigestTable {
    const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
    const end = bytes.length - TRAILER_BYTES;
    if (end < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return DigestTable.NONE;
    const count = bytes.readUInt32LE(COUNT_AT);
    const metadataBytes = bytes.readUInt32LE(METADATA_BYTES_AT);
    const partsEnd = end - metadataBytes;
    if (HEAD_BYTES + count * ENTRY_BYTES > partsEnd) return DigestTable.NONE;
    if (!bytes.subarray(end).equals(sha256OfBytes(bytes.subarray(0, partsEnd)))) return DigestTable.NONE;
    return new DigestTable(content.subarray(0, end), count, content.length);
  }

  private constructor(bytes: Uint8Array, count: number, size: number) {
    this.size = size;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#plain = bytes;
    this.#metadata = bytes.subarray(bytes.length - this.#bytes.readUInt32LE(METADATA_BYTES_AT));
    this.count = count;
    this.#digestsAt = HEAD_BYTES + count * STAMPED_BYTES;
    const factsAt = this.#digestsAt + count * DIGEST_BYTES;
    const runsAt = factsAt + count * FACTS_BYTES;
    this.#facts = new Int32Array(bytes.buffer, bytes.byteOffset + factsAt, count * FACTS.WORDS);
    this.#runs = new Int32Array(bytes.buffer, bytes.byteOffset + runsAt, count);
    this.#partsAt = HEAD_BYTES + count * ENTRY_BYTES;
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

  /** Above 0 when the entry comes before this checksum. Mostly the first bytes say it. */
  #compare(checksum: Buffer, index: number): number {
    const bytes = this.#plain;
    const at = HEAD_BYTES + index * STAMPED_BYTES;
    for (let i = 0; i < CHECKSUM_BYTES; i++) {
      const difference = (checksum[i] as number) - (bytes[at + i] as number);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  get known(): KnownObjects {
    return {
      stamps: this.#plain.subarray(HEAD_BYTES, this.#digestsAt),
      count: this.count,
      metadata: this.#metadata,
    };
  }

  /** In the order of their checksums. */
  entries(): AddedEntry[] {
    return Array.from({ length: this.count }, (_, index) => this.#entryAt(index));
  }

  #entryAt(index: number): AddedEntry {
    const at = HEAD_BYTES + index * STAMPED_BYTES;
    const checksum = hex(this.#plain, at, at + CHECKSUM_BYTES);
    const stamp = this.#plain.subarray(at + CHECKSUM_BYTES, at + STAMPED_BYTES);
    return { checksum, stamp, file: this.fileAt(index) };
  }

  fileAt(index: number): StoredFile {
    const facts = this.#facts;
    const at = index * FACTS.WORDS;
    const flags = facts[at + FACTS.FLAGS] as number;
    const part = facts[at + FACTS.PART] as number;
    const partEnd = this.#partsAt + part + (facts[at + FACTS.PART_BYTES] as number);
    const { xattrs, end } = this.#part(part);
    // Parts of one text: of a text each, the collector would have as much work as all else here.
    this.#digests ??= toByteString(this.#plain, this.#digestsAt, this.#digestsAt + this.count * DIGEST_BYTES);
    const digest = index * DIGEST_BYTES;
    return {
      mode: facts[at + FACTS.MODE] as number,
      uid: (facts[at + FACTS.UID] as number) >>> 0,
      gid: (facts[at + FACTS.GID] as number) >>> 0,
      size: wholeNumber((facts[at + FACTS.SIZE] as number) >>> 0, facts[at + FACTS.SIZE_HIGH] as number),
      xattrs,
      target: flags & FLAGS.TARGET ? toByteString(this.#plain, end, partEnd) : undefined,
      digest:
        flags & FLAGS.DIGEST ? (this.#digests.slice(digest, digest + DIGEST_BYTES) as ByteString) : undefined,
      tree: undefined,
    };
  }

  /** Files whose parts are the same share one map. */
  #part(place: number): Part {
    let part = this.#parts.get(place);
    if (part === undefined) {
      part = decodePart(this.#bytes, this.#partsAt + place);
      this.#parts.set(place, part);
    }
    return part;
  }

  /**
   * The file with `added` beside the entries of this table, and with `metadata`. Of more than `max` entries those stay that
   * were asked for last: in this run, but for the numbers of which `used` says 0.
   */
  encode(added: readonly AddedEntry[], used: Uint8Array, metadata: Uint8Array, max: number): Buffer {
    const run = this.#bytes.readUInt32LE(RUN_AT) + 1;
    const fresh = added.slice(0, max).map((entry) => freshEntry(entry, run));
    const places = this.#places(fresh);
    if (this.#countWith(places) <= max) return this.#encode(places, used, metadata, run);
    const stay = [...fresh, ...this.#usedLast(places, used, run, max - fresh.length)];
    return DigestTable.NONE.#encode(DigestTable.NONE.#places(stay), new Uint8Array(0), metadata, run);
  }

  #countWith(places: readonly Place[]): number {
    return this.count + places.filter(({ isThere }) => !isThere).length;
  }

  /** In the order of their checksums. */
  #places(fresh: readonly FreshEntry[]): Place[] {
    const sorted = fresh.toSorted((a, b) => (a.checksum < b.checksum ? -1 : 1));
    return sorted.map((entry) => {
      const before = this.#before(entry.sum);
      return { entry, before, isThere: before < this.count && this.#compare(entry.sum, before) === 0 };
    });
  }

  /** Of the entries that are not replaced, so many. */
  #usedLast(places: readonly Place[], used: Uint8Array, run: number, room: number): FreshEntry[] {
    const replaced = new Set(places.map(({ before, isThere }) => (isThere ? before : -1)));
    const runs = Array.from(this.#runs, (last, index) => (used[index] === 0 ? last : run));
    const kept = [...runs.keys()].filter((index) => !replaced.has(index));
    kept.sort((a, b) => (runs[b] as number) - (runs[a] as number));
    return kept.slice(0, room).map((index) => freshEntry(this.#entryAt(index), runs[index] as number));
  }

  /** What stands together stays together: an entry by itself is only looked at when it is new, or was not asked for. */
  #encode(places: readonly Place[], used: Uint8Array, metadata: Uint8Array, run: number): Buffer {
    const count = this.#countWith(places);
    const parts = new Parts(this.#bytes.subarray(this.#partsAt, this.#bytes.length - this.#metadata.length));
    const encoded = places.map(({ entry, before, isThere }) => {
      // An object that is known by another inode is what it was.
      const stood = isThere ? (this.#facts[before * FACTS.WORDS + FACTS.PART] as number) : undefined;
      return encodeEntry(entry, parts.add(entry.file, stood));
    });
    const partsAt = HEAD_BYTES + count * ENTRY_BYTES;
    const out = Buffer.allocUnsafeSlow(partsAt + parts.bytes + metadata.length + TRAILER_BYTES);
    MAGIC.copy(out);
    out.writeUInt32LE(count, COUNT_AT);
    out.writeUInt32LE(run, RUN_AT);
    out.writeUInt32LE(metadata.length, METADATA_BYTES_AT);
    const runs = this.#runs.slice().fill(run);
    for (let index = 0; index < this.count; index++) {
      if (used[index] === 0) runs[index] = this.#runs[index] as number;
    }
    const columns = this.#columns(count, runs);
    let [next, at] = [0, 0];
    const copyUpTo = (end: number) => {
      if (end === next) return;
      for (const { old, newAt, bytes } of columns)
        out.set(old.subarray(next * bytes, end * bytes), newAt + at * bytes);
      at += end - next;
      next = end;
    };
    for (const [i, { before, isThere }] of places.entries()) {
      copyUpTo(before);
      const entry = encoded[i] as Uint8Array;
      for (const { newAt, bytes, from } of columns)
        out.set(entry.subarray(from, from + bytes), newAt + at * bytes);
      at++;
      if (isThere) next++;
    }
    copyUpTo(this.count);
    let end = partsAt;
    for (const part of parts.all) {
      out.set(part, end);
      end += part.length;
    }
    out.set(metadata, end);
    out.set(sha256OfBytes(out.subarray(0, end)), end + metadata.length);
    return out;
  }

  /** Of each column: what stands in it, where it begins among `count` entries, the bytes of an entry, and where in one. */
  #columns(count: number, runs: Int32Array) {
    let from = 0;
    return COLUMNS.map((bytes) => {
      const at = HEAD_BYTES + this.count * from;
      // The runs are the last one.
      const isRuns = from + bytes === ENTRY_BYTES;
      const old = isRuns ? new Uint8Array(runs.buffer) : this.#plain.subarray(at, at + this.count * bytes);
      const column = { old, newAt: HEAD_BYTES + count * from, bytes, from };
      from += bytes;
      return column;
    });
  }
}

interface FreshEntry extends AddedEntry {
  readonly sum: Buffer;
  readonly run: number;
}

function freshEntry(entry: AddedEntry, run: number): FreshEntry {
  return { ...entry, sum: Buffer.from(entry.checksum, 'hex'), run };
}

/** Where an entry goes. */
interface Place {
  readonly entry: FreshEntry;
  /** How many entries of the table stand before it. */
  readonly before: number;
  /** Whether the next one is to be replaced by it. */
  readonly isThere: boolean;
}

/** From the start of all parts. */
interface PartPlace {
  readonly place: number;
  readonly bytes: number;
}

/** Those of a table, and new ones behind them. */
class Parts {
  readonly all: Buffer[];
  /** Of all. */
  bytes: number;
  readonly #places = new Map<string, number>();
  /** Of files, by their xattrs: most share them. */
  readonly #ofFiles = new Map<StoredFile['xattrs'], PartPlace>();

  constructor(old: Buffer) {
    this.all = [old];
    this.bytes = old.length;
  }

  /** Where that of this file is, from now on; perhaps it stood at that place. */
  add(file: StoredFile, stood: number | undefined): PartPlace {
    const isLink = file.target !== undefined;
    const known = isLink ? undefined : this.#ofFiles.get(file.xattrs);
    if (known !== undefined) return known;
    const part = encodePart(file);
    const added = { place: this.#place(part, stood, isLink), bytes: part.length };
    if (!isLink) this.#ofFiles.set(file.xattrs, added);
    return added;
  }

  /** Of links, most parts are different. */
  #place(part: Buffer, stood: number | undefined, isLink: boolean): number {
    const [old] = this.all as [Buffer];
    if (stood !== undefined && old.subarray(stood, stood + part.length).equals(part)) return stood;
    const text = part.toString('latin1');
    let place = this.#places.get(text);
    if (place !== undefined) return place;
    // Be it a piece of some other: a part says itself where it ends.
    place = isLink ? -1 : old.indexOf(part);
    if (place < 0) {
      place = this.bytes;
      this.all.push(part);
      this.bytes += part.length;
    }
    this.#places.set(text, place);
    return place;
  }
}

/** One column behind the other. */
function encodeEntry({ sum, stamp, run, file }: FreshEntry, { place, bytes }: PartPlace): Uint8Array {
  const { mode, uid, gid, size, digest, target } = file;
  const flags = (digest === undefined ? 0 : FLAGS.DIGEST) | (target === undefined ? 0 : FLAGS.TARGET);
  const high = Math.floor(size / 2 ** 32);
  const numbers = Uint32Array.of(mode, uid, gid, size % 2 ** 32, high, flags, place, bytes, run);
  const entry = new Uint8Array(ENTRY_BYTES);
  entry.set(sum);
  entry.set(stamp, CHECKSUM_BYTES);
  if (digest !== undefined) putBytes(entry, STAMPED_BYTES, digest);
  entry.set(new Uint8Array(numbers.buffer), STAMPED_BYTES + DIGEST_BYTES);
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

interface Part {
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
  /** Of them; where the target begins. */
  readonly end: number;
}

function decodePart(bytes: Buffer, place: number): Part {
  let at = place + 8;
  let left = bytes.readUInt32LE(place);
  if (left === 0) return { xattrs: NO_XATTRS, end: at };
  const xattrs = new Map<ByteString, Uint8Array>();
  for (; left > 0; left--) {
    const name = at + 8;
    const value = name + bytes.readUInt32LE(at);
    at = value + bytes.readUInt32LE(name - 4);
    xattrs.set(bytes.toString('latin1', name, value) as ByteString, bytes.subarray(value, at));
  }
  return { xattrs, end: at };
}
