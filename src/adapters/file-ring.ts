/**
 * Threads of C that read files (native/file-reader.c), and the memory through which jobs go to them and results come
 * back: a ring of slots. This thread publishes jobs and takes results, every thread takes jobs, and this one, too, while it
 * waits.
 *
 * A job's number counts from 0 in the order of publishing; its slot is the number modulo the slots. Numbers are in the
 * byte order of the machine. The library stands beside the bundled command line; the sources run without it.
 */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { roundUp } from '../formats/bytes.ts';
import type { ByteString } from '../formats/encoding.ts';
import { merkleTreeBytes, VERITY_ALGORITHMS, type VerityAlgorithm } from '../formats/fsverity.ts';
import { type Library, loadLibrary, type Pointer } from './libc.ts';
import { cString } from './syscalls.ts';
import type { MerkleTree } from './verity.ts';

/** Of the head, in words. */
const HEAD = { PUBLISHED: 0, IDLE: 2, BYTES: 64 } as const;

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
  TREE_BYTES: 32,
  ATTRIBUTES_BYTES: 36,
  TARGET_BYTES: 38,
  DIGEST: 40,
  DIGEST_BYTES: 104,
  NAME: 108,
  /** Attributes, then the target of a link. */
  VARIABLE: 392,
  BYTES: 768,
} as const;

const STATES = { PENDING: 0, DONE: 1 } as const;
const FLAGS = { TARGET: 1, TREE: 2 } as const;
const TREE_UNIT = 32;
/** A root hash has the room of the longest one. */
const TREE_HEAD_BYTES = 64;

/** What a name may have, without the NUL behind it: a job with a longer one cannot be published. */
export const MAX_JOB_NAME_BYTES = SLOT.VARIABLE - SLOT.NAME - 1;

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
}

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
  readonly digest: Uint8Array | undefined;
  readonly tree: MerkleTree | undefined;
}

const LIBRARY = new URL('file-reader.so', import.meta.url);

const PROTOTYPES = {
  open: 'void *reader_open(const void *folder, uint32_t source, uint32_t digests, int algorithm, int keep_trees)',
  memory: 'void *reader_memory(void *reader, uint32_t slots, uint64_t tree_bytes)',
  start: 'void reader_start(void *reader, int threads)',
  wake: 'void reader_wake(void *reader)',
  finish: 'void reader_finish(void *reader, uint32_t job)',
  close: 'void reader_close(void *reader)',
} as const;

type Reader = Library<keyof typeof PROTOTYPES>;

/** undefined, too, for one that was built for another machine: everything works without, only slower. */
function open(library: URL): Reader | undefined {
  if (!existsSync(library)) return undefined;
  try {
    return loadLibrary(fileURLToPath(library), PROTOTYPES);
  } catch {
    return undefined;
  }
}

export class FileRing {
  readonly slots: number;
  readonly #reader: Reader;
  readonly #handle: Pointer;
  readonly #words: Int32Array;
  readonly #shorts: Uint16Array;
  readonly #longs: BigUint64Array;
  readonly #bytes: Buffer;
  /** The same: what is copied from a Buffer is a Buffer, which takes longer to make. */
  readonly #plain: Uint8Array;

  /** undefined where there is no library, or it cannot work here. */
  static open(options: FileRingOptions, library = LIBRARY): FileRing | undefined {
    const reader = open(library);
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
    const ring = reader.view(memory, HEAD.BYTES + slots * SLOT.BYTES + treeBytes);
    return new FileRing(reader, handle, slots, ring);
  }

  private constructor(reader: Reader, handle: Pointer, slots: number, memory: ArrayBuffer) {
    this.slots = slots;
    this.#reader = reader;
    this.#handle = handle;
    this.#words = new Int32Array(memory, 0, (HEAD.BYTES + slots * SLOT.BYTES) / 4);
    this.#shorts = new Uint16Array(memory, 0, this.#words.length * 2);
    this.#longs = new BigUint64Array(memory, 0, this.#words.length / 2);
    this.#bytes = Buffer.from(memory);
    this.#plain = new Uint8Array(memory);
  }

  /** Room for the tree of a file of this size. */
  static treeBytes(size: number): number {
    return roundUp(TREE_HEAD_BYTES + merkleTreeBytes(size), TREE_UNIT);
  }

  /** To be called once. Without threads, `finish` does all the work. */
  start(threads: number): void {
    this.#reader.functions.start(this.#handle, threads);
  }

  /** Returns the job's number. Its slot must be free: at most `slots` jobs are published and not yet taken by `result`. */
  publish(name: ByteString): number {
    const job = Atomics.load(this.#words, HEAD.PUBLISHED);
    const slot = this.#slot(job);
    this.#bytes.write(name, slot + SLOT.NAME, 'latin1');
    this.#bytes[slot + SLOT.NAME + name.length] = 0;
    Atomics.store(this.#words, slot / 4, STATES.PENDING);
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

  /** Of a job that is finished; undefined when it has failed. The slot is free afterwards. */
  result(job: number): ReadFile | undefined {
    const slot = this.#slot(job);
    if (Atomics.load(this.#words, slot / 4) !== STATES.DONE) return undefined;
    const word = (field: number) => (this.#words[(slot + field) / 4] as number) >>> 0;
    const short = (field: number) => this.#shorts[(slot + field) / 2] as number;
    const flags = word(SLOT.FLAGS);
    const attributesBytes = short(SLOT.ATTRIBUTES_BYTES);
    const digestBytes = short(SLOT.DIGEST_BYTES);
    const target = slot + SLOT.VARIABLE + attributesBytes;
    return {
      mode: word(SLOT.MODE),
      uid: word(SLOT.UID),
      gid: word(SLOT.GID),
      size: Number(this.#longs[(slot + SLOT.SIZE) / 8]),
      attributes: this.#text(slot + SLOT.VARIABLE, attributesBytes),
      target: flags & FLAGS.TARGET ? this.#text(target, short(SLOT.TARGET_BYTES)) : undefined,
      digest: digestBytes > 0 ? this.#copy(slot + SLOT.DIGEST, digestBytes) : undefined,
      tree: flags & FLAGS.TREE ? this.#tree(word(SLOT.TREE), word(SLOT.TREE_BYTES), digestBytes) : undefined,
    };
  }

  /** Ends the threads. The memory stays: trees are views of it. */
  close(): void {
    this.#reader.functions.close(this.#handle);
  }

  #slot(job: number): number {
    return HEAD.BYTES + (job % this.slots) * SLOT.BYTES;
  }

  #text(start: number, length: number): ByteString {
    return this.#bytes.toString('latin1', start, start + length) as ByteString;
  }

  #copy(start: number, length: number): Uint8Array {
    return this.#plain.slice(start, start + length);
  }

  /** Not copied: the memory of trees is never used twice. */
  #tree(unit: number, size: number, hashBytes: number): MerkleTree {
    const at = HEAD.BYTES + this.slots * SLOT.BYTES + unit * TREE_UNIT;
    const blocks = at + TREE_HEAD_BYTES;
    return {
      rootHash: this.#bytes.subarray(at, at + hashBytes),
      blocks: this.#bytes.subarray(blocks, blocks + size),
    };
  }
}
