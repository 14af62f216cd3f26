/**
 * Threads of C that read files (native/file-reader.c), and the memory through which jobs go to them and results come
 * back: a ring of slots. This thread publishes jobs and takes results, every thread takes jobs, and this one, too, while it
 * waits.
 *
 * A job's number counts from 0 in the order of publishing; its slot is the number modulo the slots. Numbers are in the
 * byte order of the machine.
 */

import { type ByteString, hex, putBytes, toByteString } from '../formats/byte-strings.ts';
import { roundUp, wholeNumber } from '../formats/bytes.ts';
import { merkleTreeBytes, VERITY_ALGORITHMS, type VerityAlgorithm } from '../formats/fsverity.ts';
import { CHECKSUM_BYTES } from '../formats/ostree-objects.ts';
import type { Checksums } from '../formats/ostree-tree-objects.ts';
import { STAMP_BYTES } from './inode-status.ts';
import { HIGH_WORD, type Library, LOW_WORD, openLibrary, type Pointer } from './libc.ts';
import { cString } from './syscalls.ts';
import type { MerkleTree } from './verity.ts';

/** Of the head, in words; then the metadata object that was read last, what is announced, and the slots. */
const HEAD = { PUBLISHED: 0, IDLE: 2 } as const;
const METADATA_AT = 64;
const METADATA_BYTES = 64 * 1024;
/** Where checksums begin, in words, then their jobs. */
const ANNOUNCED_AT = METADATA_AT + METADATA_BYTES;
/** So many objects can be announced by one call. */
const MAX_ANNOUNCED = 256;
const ANNOUNCED_JOBS_AT = ANNOUNCED_AT + 4 * MAX_ANNOUNCED;
const SLOTS_AT = ANNOUNCED_JOBS_AT + 4 * MAX_ANNOUNCED;

/** Of a slot, in bytes from its start. */
const SLOT = {
  STATE: 0,
  MODE: 4,
  UID: 8,
  GID: 12,
  SIZE: 16,
  FLAGS: 24,
  /** Where root hash and blocks of the tree are, in units of TREE_UNIT. */
  TREE: 28,
  /** In its place, of an object that is unchanged: which of all known stamps it has. */
  ENTRY: 28,
  TREE_BYTES: 32,
  ATTRIBUTES_BYTES: 36,
  TARGET_BYTES: 38,
  DIGEST: 40,
  DIGEST_BYTES: 104,
  STAMP: 108,
  /** Of an object, its checksum. */
  NAME: 156,
  /** Attributes, then the target of a link; of a path the content, if it is short, and xattrs. */
  VARIABLE: 648,
  BYTES: 1024,
} as const;

const STATES = { PENDING: 0, DONE: 1 } as const;
const FLAGS = { TARGET: 1, TREE: 2, STAMP: 4, UNCHANGED: 8, XATTRS: 16 } as const;
const TREE_UNIT = 32;
/** A root hash has the room of the longest one. */
const TREE_HEAD_BYTES = 64;

const JOBS_PER_WAKE = 16;

/**
 * What the names of jobs are: checksums of file objects in a repository of that mode (`bare-no-xattrs` is a bare one that
 * ignores xattrs), or paths of files with the stamp of the inode before them.
 */
const FILE_SOURCES = {
  bare: 0,
  'bare-user': 1,
  'bare-user-only': 2,
  'bare-no-xattrs': 3,
  archive: 4,
  stamped: 5,
  'stamped-with-xattrs': 6,
} as const;

/** See object-file.ts. */
const DIGEST_WAYS = { none: 0, compute: 1, 'measure-first': 2 } as const;

export interface FileRingOptions {
  readonly source: keyof typeof FILE_SOURCES;
  /** That of the repository's objects; empty for paths. */
  readonly folder: ByteString;
  readonly digests: keyof typeof DIGEST_WAYS;
  readonly algorithm: VerityAlgorithm;
  /** So many jobs can be published before the first has to be taken. */
  readonly slots: number;
  /** Files come with their Merkle trees. */
  readonly keepTrees: boolean;
  /** Room for them, `treeBytes()` of each: a file for whose tree there is none is left to the caller. */
  readonly treeBytes: number;
  /**
   * Objects come with their stamps, and are not read when they have the stamp that is known. At most two: what a run has
   * left, and what was added since; of an object that is in both the second counts.
   */
  readonly known?: readonly KnownObjects[] | undefined;
}

/** What an earlier run has read. */
export interface KnownObjects {
  /** Of `count` files, in the order of their checksums: the 32 bytes of the checksum, and the stamp, see InodeStatus. */
  readonly stamps: Uint8Array;
  readonly count: number;
  /** Dirtrees and dirmetas, in the form of native/metadata-table.h; what is taken from it has its checksum. */
  readonly metadata: Uint8Array;
}

/** The form of none. */
export const NO_METADATA: Uint8Array = new Uint8Array(4);

/** Of what cannot be one. */
export const NO_JOB = -1;

/** As the inode says, of a regular file or a link. */
export interface ReadFile {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /**
   * bare-user: the value of `user.ostreemeta`. bare: of each xattr two u16 for the lengths of name and value, both.
   * archive: all before the deflated content; owner, size and target stand there.
   */
  readonly attributes: ByteString;
  readonly target: ByteString | undefined;
  readonly digest: ByteString | undefined;
  readonly tree: MerkleTree | undefined;
  /** Of an object, where stamps are known, unless it has changed while it was read. */
  readonly stamp: Uint8Array | undefined;
}

/** What was read of a path. */
export interface ReadPath {
  /** Of a file that MAX_INLINE_BYTES are enough for its content, of another its digest. */
  readonly content: ByteString;
  /** In the form that SharedXattrs takes; undefined when they were not asked for, or have to be read by the caller. */
  readonly xattrs: ByteString | undefined;
}

const PROTOTYPES = {
  open: 'void *reader_open(const void *folder, uint32_t source, uint32_t digests, int algorithm, int keep_trees)',
  memory: 'void *reader_memory(void *reader, uint32_t slots, uint64_t tree_bytes)',
  expect:
    'bool reader_expect(void *reader, const void *stamps, uint32_t count, const void *metadata, uint64_t metadata_bytes)',
  announce: 'void reader_announce(void *reader, const void *bytes, uint32_t count)',
  job: 'int32_t reader_job(void *reader, const char *checksum)',
  start: 'void reader_start(void *reader, int threads)',
  wake: 'void reader_wake(void *reader)',
  finish: 'void reader_finish(void *reader, uint32_t job)',
  usedMetadata:
    'uint32_t reader_used_metadata(void *reader, uint32_t first, _Out_ void *file, uint32_t room)',
  metadata: 'int32_t reader_metadata(void *reader, const char *checksum, const char *type)',
  close: 'void reader_close(void *reader)',
} as const;

type Reader = Library<keyof typeof PROTOTYPES>;

export class FileRing {
  readonly slots: number;
  /** So many objects can be announced by one call. */
  readonly atOnce: number;
  /** What the job of a path may have, its stamp included: a longer one cannot be published. A NUL is behind it. */
  readonly maxJobBytes = SLOT.VARIABLE - SLOT.STAMP - 1;
  /** The library looks at it as long as the ring is there: memory that nobody else has is collected. */
  readonly known: readonly KnownObjects[] | undefined;
  readonly #reader: Reader;
  readonly #handle: Pointer;
  readonly #words: Int32Array;
  readonly #shorts: Uint16Array;
  /** No Buffer: what is copied from one is one, which takes longer to make. */
  readonly #bytes: Uint8Array;
  #published = 0;

  /** undefined where there is no library, or it cannot work here. */
  static open(options: FileRingOptions, library?: URL): FileRing | undefined {
    const reader = openLibrary(PROTOTYPES, library);
    if (reader === undefined) return undefined;
    const { folder, source, digests, algorithm, slots, keepTrees, treeBytes } = options;
    const handle = reader.functions.open(
      cString(folder),
      FILE_SOURCES[source],
      DIGEST_WAYS[digests],
      VERITY_ALGORITHMS[algorithm].id,
      keepTrees ? 1 : 0,
    ) as Pointer;
    const memory = handle === null ? null : (reader.functions.memory(handle, slots, treeBytes) as Pointer);
    if (handle === null || memory === null) return undefined;
    const { known } = options;
    for (const { stamps, count, metadata } of known ?? []) {
      if (!reader.functions.expect(handle, stamps, count, metadata, metadata.length)) return undefined;
    }
    const view = reader.view(memory, SLOTS_AT + slots * SLOT.BYTES + treeBytes);
    return new FileRing(reader, handle, slots, view, known);
  }

  private constructor(
    reader: Reader,
    handle: Pointer,
    slots: number,
    memory: ArrayBuffer,
    known: readonly KnownObjects[] | undefined,
  ) {
    this.known = known;
    this.slots = slots;
    this.atOnce = Math.min(slots, MAX_ANNOUNCED);
    this.#reader = reader;
    this.#handle = handle;
    this.#words = new Int32Array(memory, 0, (SLOTS_AT + slots * SLOT.BYTES) / 4);
    this.#shorts = new Uint16Array(memory, 0, this.#words.length * 2);
    this.#bytes = new Uint8Array(memory);
  }

  /** Room for the tree of a file of this size. */
  static treeBytes(size: number): number {
    return roundUp(TREE_HEAD_BYTES + merkleTreeBytes(size), TREE_UNIT);
  }

  /** To be called once. Without threads, `finish` does all the work. */
  start(threads: number): void {
    this.#reader.functions.start(this.#handle, threads);
  }

  /**
   * Publishes those of at most `atOnce` objects that were not published before, and adds the jobs of all to `jobs`: one for
   * each checksum from `from` up to `to`, NO_JOB without memory. As many slots must be free. In one call: a call, a look into
   * a map and a word to the threads for each object would take as long as reading it.
   */
  announce({ bytes, places }: Checksums, from: number, to: number, jobs: number[]): void {
    const words = this.#words;
    for (let i = from; i < to; i++) {
      const place = places[i] as number;
      if (place + CHECKSUM_BYTES > bytes.length)
        throw new RangeError(`a checksum ends behind ${bytes.length}`);
      words[ANNOUNCED_AT / 4 + i - from] = place;
    }
    this.#reader.functions.announce(this.#handle, bytes, to - from);
    for (let i = from; i < to; i++) jobs.push(words[ANNOUNCED_JOBS_AT / 4 + i - from] as number);
  }

  /** Of an object that was announced; NO_JOB for another. */
  jobOf(checksum: ByteString): number {
    return this.#reader.functions.job(this.#handle, checksum) as number;
  }

  /** The checksum of the object of a job whose slot is not free yet. */
  checksumOf(job: number): ByteString {
    const at = this.#slot(job) + SLOT.NAME;
    return hex(this.#bytes, at, at + CHECKSUM_BYTES) as ByteString;
  }

  /** How many jobs there are. */
  get published(): number {
    return Atomics.load(this.#words, HEAD.PUBLISHED);
  }

  /**
   * Publishes a path behind its stamp and returns the job's number. Its slot must be free: at most `slots` jobs are
   * published and not yet taken by `path`.
   */
  publish(job: ByteString): number {
    const slot = this.#slot(this.#published);
    const at = slot + SLOT.STAMP;
    putBytes(this.#bytes, at, job);
    this.#bytes[at + job.length] = 0;
    return this.#publishSlot(slot);
  }

  /** The same for a job that stands elsewhere with its NUL, `bytes` without: from that word on. */
  publishWords(from: Int32Array, at: number, bytes: number): number {
    const words = this.#words;
    const slot = this.#slot(this.#published);
    const start = (slot + SLOT.STAMP) / 4;
    // With the NUL.
    const count = bytes / 4 + 1;
    // A call that copies takes longer to check what it is given.
    for (let i = 0; i < count; i++) words[start + i] = from[at + i] as number;
    return this.#publishSlot(slot);
  }

  #publishSlot(slot: number): number {
    const job = this.#published++;
    this.#words[slot / 4] = STATES.PENDING;
    // Nobody looks at the slot before.
    Atomics.store(this.#words, HEAD.PUBLISHED, job + 1);
    // To wake a thread takes as long as a small file; `finish` wakes them for the last ones.
    if (job % JOBS_PER_WAKE === 0 && Atomics.load(this.#words, HEAD.IDLE) > 0) {
      this.#reader.functions.wake(this.#handle);
    }
    return job;
  }

  /** Returns when the job is done; works on it and on others meanwhile. */
  finish(job: number): void {
    if (Atomics.load(this.#words, this.#slot(job) / 4) === STATES.PENDING) {
      this.#reader.functions.finish(this.#handle, job);
    }
  }

  /**
   * Of a job that is finished: for an object that has the stamp that is known the number of its entry, undefined when the
   * job has failed. The slot is free afterwards.
   */
  result(job: number): ReadFile | number | undefined {
    const slot = this.#slot(job);
    if (Atomics.load(this.#words, slot / 4) !== STATES.DONE) return undefined;
    const flags = this.#word(slot + SLOT.FLAGS);
    if (flags & FLAGS.UNCHANGED) return this.#word(slot + SLOT.ENTRY);
    const attributesBytes = this.#short(slot + SLOT.ATTRIBUTES_BYTES);
    const digestBytes = this.#short(slot + SLOT.DIGEST_BYTES);
    const target = slot + SLOT.VARIABLE + attributesBytes;
    return {
      mode: this.#word(slot + SLOT.MODE),
      uid: this.#word(slot + SLOT.UID),
      gid: this.#word(slot + SLOT.GID),
      size: wholeNumber(this.#word(slot + SLOT.SIZE + LOW_WORD), this.#word(slot + SLOT.SIZE + HIGH_WORD)),
      attributes: this.#text(slot + SLOT.VARIABLE, attributesBytes),
      target: flags & FLAGS.TARGET ? this.#text(target, this.#short(slot + SLOT.TARGET_BYTES)) : undefined,
      digest: digestBytes > 0 ? this.#text(slot + SLOT.DIGEST, digestBytes) : undefined,
      tree: flags & FLAGS.TREE ? this.#tree(slot, digestBytes) : undefined,
      stamp: flags & FLAGS.STAMP ? this.#copy(slot + SLOT.STAMP, STAMP_BYTES) : undefined,
    };
  }

  /** Of a job of a path that is finished: undefined when it has failed. The slot is free afterwards. */
  path(job: number): ReadPath | undefined {
    const slot = this.#slot(job);
    if (Atomics.load(this.#words, slot / 4) !== STATES.DONE) return undefined;
    const digestBytes = this.#short(slot + SLOT.DIGEST_BYTES);
    const contentBytes = this.#short(slot + SLOT.ATTRIBUTES_BYTES);
    const xattrs = slot + SLOT.VARIABLE + contentBytes;
    const hasXattrs = (this.#word(slot + SLOT.FLAGS) & FLAGS.XATTRS) !== 0;
    return {
      content:
        digestBytes > 0
          ? this.#text(slot + SLOT.DIGEST, digestBytes)
          : this.#text(slot + SLOT.VARIABLE, contentBytes),
      xattrs: hasXattrs ? this.#text(xattrs, this.#short(slot + SLOT.TARGET_BYTES)) : undefined,
    };
  }

  /**
   * A metadata object of the folder, `dirtree` or `dirmeta`, whose SHA-256 is that checksum; undefined for one that the
   * caller has to look at himself. Read by the calling thread: a third of what the calls one by one take.
   */
  metadata(checksum: string, type: string): Uint8Array | undefined {
    const size = this.#reader.functions.metadata(this.#handle, checksum, type) as number;
    return size < 0 ? undefined : this.#copy(METADATA_AT, size);
  }

  /**
   * Those that were asked for and are not in one of the first so many of `known`, in its form, for the next run to know.
   * Nothing is noted where `known` was not given.
   */
  usedMetadata(first: number): Uint8Array {
    const { usedMetadata } = this.#reader.functions;
    const file = new Uint8Array(usedMetadata(this.#handle, first, null, 0) as number);
    usedMetadata(this.#handle, first, file, file.length);
    return file;
  }

  /** Ends the threads. The memory stays: trees are views of it. */
  close(): void {
    this.#reader.functions.close(this.#handle);
  }

  #slot(job: number): number {
    return SLOTS_AT + (job % this.slots) * SLOT.BYTES;
  }

  #text(start: number, length: number): ByteString {
    return length === 0 ? ('' as ByteString) : toByteString(this.#bytes, start, start + length);
  }

  #copy(start: number, length: number): Uint8Array {
    return this.#bytes.slice(start, start + length);
  }

  /** Not copied: the memory of trees is never used twice. */
  #tree(slot: number, hashBytes: number): MerkleTree {
    const at = SLOTS_AT + this.slots * SLOT.BYTES + this.#word(slot + SLOT.TREE) * TREE_UNIT;
    const blocks = at + TREE_HEAD_BYTES;
    return {
      rootHash: this.#bytes.subarray(at, at + hashBytes),
      blocks: this.#bytes.subarray(blocks, blocks + this.#word(slot + SLOT.TREE_BYTES)),
    };
  }

  #word(at: number): number {
    return (this.#words[at / 4] as number) >>> 0;
  }

  #short(at: number): number {
    return this.#shorts[at / 2] as number;
  }
}
