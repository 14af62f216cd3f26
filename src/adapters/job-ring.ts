/**
 * Memory that threads share to read files: a ring of slots, each with the name of a job and, later, with what was read.
 * What a name says is between those who publish and who work. One thread publishes jobs and empties their slots, every
 * thread takes jobs.
 *
 * A job's number counts from 0 in the order of publishing; its slot is the number modulo the slots. The words that
 * threads wait for are in the byte order of the machine, all other numbers little endian; the memory never leaves the
 * process.
 */

import { roundUp } from '../formats/bytes.ts';
import type { ByteString } from '../formats/encoding.ts';
import { merkleTreeBytes } from '../formats/fsverity.ts';
import type { StoredFile } from './object-file.ts';
import type { MerkleTree } from './verity.ts';

/** Words of the head. The end of the trees is in units of TREE_UNIT. */
const HEAD = { PUBLISHED: 0, TAKEN: 1, CLOSED: 2, TREES_END: 3, BYTES: 64 } as const;

/** Of a slot, in bytes from its start. */
const SLOT = {
  STATE: 0,
  MODE: 4,
  UID: 8,
  GID: 12,
  SIZE: 16,
  FLAGS: 24,
  /** Where the tree is, in units of TREE_UNIT. */
  TREE: 28,
  TREE_BYTES: 32,
  TARGET_BYTES: 36,
  XATTRS: 38,
  DIGEST: 40,
  DIGEST_BYTES: 104,
  NAME_BYTES: 106,
  NAME: 108,
  /** Per xattr two bytes for the length of its name, two for that of its value, both; then the link's target. */
  VARIABLE: 392,
  BYTES: 640,
} as const;

const STATES = { PENDING: 0, DONE: 1, FAILED: 2 } as const;
const FLAGS = { TARGET: 1, TREE: 2 } as const;

/** Of a root hash: trees are kept for SHA-256 only. */
const HASH_BYTES = 32;
/** What a name may have: a job with a longer one cannot be published. */
export const MAX_JOB_NAME_BYTES = SLOT.VARIABLE - SLOT.NAME;
const TREE_UNIT = 32;

export class JobRing {
  readonly memory: SharedArrayBuffer;
  readonly slots: number;
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #bytes: Buffer;

  /**
   * `treeBytes` are for Merkle trees, as many as `treeBytes()` says for each. `memory` is that of another
   * ring of the same numbers, to share its jobs.
   */
  constructor(slots: number, treeBytes: number, memory?: SharedArrayBuffer) {
    this.slots = slots;
    this.memory = memory ?? new SharedArrayBuffer(HEAD.BYTES + slots * SLOT.BYTES + treeBytes);
    this.#words = new Int32Array(this.memory, 0, (HEAD.BYTES + slots * SLOT.BYTES) / 4);
    this.#view = new DataView(this.memory);
    this.#bytes = Buffer.from(this.memory);
  }

  /** Room for the tree of a file of this size. */
  static treeBytes(size: number): number {
    return HASH_BYTES + merkleTreeBytes(size);
  }

  /** Returns the job's number. Its slot must be free: at most `slots` jobs are published and not yet read by `result`. */
  publish(name: ByteString): number {
    const job = Atomics.load(this.#words, HEAD.PUBLISHED);
    const slot = this.#slot(job);
    this.#view.setUint16(slot + SLOT.NAME_BYTES, name.length, true);
    this.#bytes.write(name, slot + SLOT.NAME, MAX_JOB_NAME_BYTES, 'latin1');
    Atomics.store(this.#words, slot / 4, STATES.PENDING);
    Atomics.store(this.#words, HEAD.PUBLISHED, job + 1);
    Atomics.notify(this.#words, HEAD.PUBLISHED, 1);
    return job;
  }

  /** The next job that nobody has; undefined when there is none now. */
  take(): number | undefined {
    for (;;) {
      const job = Atomics.load(this.#words, HEAD.TAKEN);
      if (job >= Atomics.load(this.#words, HEAD.PUBLISHED)) return undefined;
      if (Atomics.compareExchange(this.#words, HEAD.TAKEN, job, job + 1) === job) return job;
    }
  }

  /** Waits for a job; undefined when the ring is closed. */
  waitForJob(): number | undefined {
    for (;;) {
      const published = Atomics.load(this.#words, HEAD.PUBLISHED);
      if (Atomics.load(this.#words, HEAD.CLOSED) !== 0) return undefined;
      const job = this.take();
      if (job !== undefined) return job;
      Atomics.wait(this.#words, HEAD.PUBLISHED, published);
    }
  }

  /** Nobody waits for a job from now on. */
  close(): void {
    Atomics.store(this.#words, HEAD.CLOSED, 1);
    // Whoever is about to wait for another job compares this number first.
    Atomics.add(this.#words, HEAD.PUBLISHED, 1);
    Atomics.notify(this.#words, HEAD.PUBLISHED);
  }

  name(job: number): ByteString {
    const slot = this.#slot(job);
    const at = slot + SLOT.NAME;
    return this.#text(at, at + this.#view.getUint16(slot + SLOT.NAME_BYTES, true));
  }

  /** Does a taken job: what `read` throws, or returns and does not fit the slot, leaves a job that has failed. */
  work(job: number, read: (name: ByteString) => StoredFile): void {
    const slot = this.#slot(job);
    let done = false;
    try {
      done = this.#store(slot, read(this.name(job)));
    } catch {
      // Who asks for it reads it again, and gets the error.
    }
    Atomics.store(this.#words, slot / 4, done ? STATES.DONE : STATES.FAILED);
    Atomics.notify(this.#words, slot / 4);
  }

  isDone(job: number): boolean {
    return Atomics.load(this.#words, this.#slot(job) / 4) !== STATES.PENDING;
  }

  waitUntilDone(job: number): void {
    Atomics.wait(this.#words, this.#slot(job) / 4, STATES.PENDING);
  }

  /** Of a job that is done; undefined when it has failed. The slot is free afterwards. */
  result(job: number): StoredFile | undefined {
    const slot = this.#slot(job);
    if (Atomics.load(this.#words, slot / 4) === STATES.FAILED) return undefined;
    const flags = this.#view.getUint32(slot + SLOT.FLAGS, true);
    let at = slot + SLOT.VARIABLE;
    const xattrs = new Map<ByteString, Uint8Array>();
    for (let left = this.#view.getUint16(slot + SLOT.XATTRS, true); left > 0; left--) {
      const name = at + 4;
      const value = name + this.#view.getUint16(at, true);
      const end = value + this.#view.getUint16(at + 2, true);
      xattrs.set(this.#text(name, value), this.#copy(value, end));
      at = end;
    }
    const targetEnd = at + this.#view.getUint16(slot + SLOT.TARGET_BYTES, true);
    const digest = slot + SLOT.DIGEST;
    const digestBytes = this.#view.getUint16(slot + SLOT.DIGEST_BYTES, true);
    return {
      mode: this.#view.getUint32(slot + SLOT.MODE, true),
      uid: this.#view.getUint32(slot + SLOT.UID, true),
      gid: this.#view.getUint32(slot + SLOT.GID, true),
      size: this.#view.getFloat64(slot + SLOT.SIZE, true),
      xattrs,
      ...(digestBytes > 0 && { digest: this.#copy(digest, digest + digestBytes) }),
      ...(flags & FLAGS.TARGET && { target: this.#text(at, targetEnd) }),
      ...(flags & FLAGS.TREE && { tree: this.#tree(slot) }),
    };
  }

  #slot(job: number): number {
    return HEAD.BYTES + (job % this.slots) * SLOT.BYTES;
  }

  #text(start: number, end: number): ByteString {
    return this.#bytes.toString('latin1', start, end) as ByteString;
  }

  #copy(start: number, end: number): Uint8Array {
    return Uint8Array.from(this.#bytes.subarray(start, end));
  }

  /** False when something does not fit. */
  #store(slot: number, file: StoredFile): boolean {
    const end = slot + SLOT.BYTES;
    let at = slot + SLOT.VARIABLE;
    for (const [name, value] of file.xattrs) {
      if (at + 4 + name.length + value.length > end) return false;
      this.#view.setUint16(at, name.length, true);
      this.#view.setUint16(at + 2, value.length, true);
      at += 4 + this.#bytes.write(name, at + 4, 'latin1');
      this.#bytes.set(value, at);
      at += value.length;
    }
    const { target, digest, tree } = file;
    if (at + (target?.length ?? 0) > end) return false;
    if (target !== undefined) this.#bytes.write(target, at, 'latin1');
    if (digest !== undefined) this.#bytes.set(digest, slot + SLOT.DIGEST);
    this.#view.setUint16(slot + SLOT.DIGEST_BYTES, digest?.length ?? 0, true);
    if (tree !== undefined && !this.#storeTree(slot, tree)) return false;
    this.#view.setUint32(slot + SLOT.MODE, file.mode, true);
    this.#view.setUint32(slot + SLOT.UID, file.uid, true);
    this.#view.setUint32(slot + SLOT.GID, file.gid, true);
    this.#view.setFloat64(slot + SLOT.SIZE, file.size, true);
    this.#view.setUint16(slot + SLOT.TARGET_BYTES, target?.length ?? 0, true);
    this.#view.setUint16(slot + SLOT.XATTRS, file.xattrs.size, true);
    const flags = (target === undefined ? 0 : FLAGS.TARGET) | (tree === undefined ? 0 : FLAGS.TREE);
    this.#view.setUint32(slot + SLOT.FLAGS, flags, true);
    return true;
  }

  /** False when there is no room for it. */
  #storeTree(slot: number, { rootHash, blocks }: MerkleTree): boolean {
    const units = roundUp(HASH_BYTES + blocks.length, TREE_UNIT) / TREE_UNIT;
    const unit = Atomics.add(this.#words, HEAD.TREES_END, units);
    const at = this.#treeAt(unit);
    if (at + units * TREE_UNIT > this.#bytes.length) return false;
    this.#bytes.set(rootHash, at);
    this.#bytes.set(blocks, at + HASH_BYTES);
    this.#view.setUint32(slot + SLOT.TREE, unit, true);
    this.#view.setUint32(slot + SLOT.TREE_BYTES, blocks.length, true);
    return true;
  }

  /** Not copied: the memory of trees is never used twice. */
  #tree(slot: number): MerkleTree {
    const at = this.#treeAt(this.#view.getUint32(slot + SLOT.TREE, true));
    const blocks = at + HASH_BYTES;
    const end = blocks + this.#view.getUint32(slot + SLOT.TREE_BYTES, true);
    return { rootHash: this.#bytes.subarray(at, blocks), blocks: this.#bytes.subarray(blocks, end) };
  }

  #treeAt(unit: number): number {
    return HEAD.BYTES + this.slots * SLOT.BYTES + unit * TREE_UNIT;
  }
}
