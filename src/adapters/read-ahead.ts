/**
 * Files read by threads besides the calling one. Hashing is most of what an image costs, and it is the one part that
 * other cores can take over. Jobs and results pass through a JobRing, and nothing else between the threads: a
 * caller that is busy in synchronous code holds nobody up, and one that has to wait reads files itself.
 */

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ByteString } from '../formats/encoding.ts';
import type { VerityAlgorithm } from '../formats/fsverity.ts';
import { JobRing, MAX_JOB_NAME_BYTES } from './job-ring.ts';
import type { Digests, StoredFile } from './object-file.ts';

/** Fewer files are read sooner than a thread starts. */
const WORTH_A_THREAD = 128;
/** With more of them the disk is what everybody waits for. */
const MAX_THREADS = 8;

/** What the names of jobs mean: objects of a repository by checksum, or files of a directory (namedFile). */
export type ReadTask =
  | {
      readonly kind: 'objects';
      readonly repo: string;
      readonly digests: Digests;
      readonly keepTrees: boolean;
      readonly algorithm: VerityAlgorithm;
    }
  | { readonly kind: 'files'; readonly algorithm: VerityAlgorithm };

export interface RingSize {
  readonly slots: number;
  /** Room for Merkle trees, see JobRing. */
  readonly treeBytes: number;
}

/** What a thread is started with. */
export interface ReaderTask extends RingSize {
  readonly task: ReadTask;
  readonly memory: SharedArrayBuffer;
}

export interface ReadAheadOptions extends RingSize {
  readonly task: ReadTask;
  readonly threads: number;
}

/** Stands beside the bundled command line. The sources run without: node could not read it, and callers do the work. */
const PROGRAM = new URL('file-reader.js', import.meta.url);

/** As many threads as there are cores, or as are asked for, besides the one that runs this. */
export function spareThreads(wanted = availableParallelism()): number {
  return existsSync(PROGRAM) ? Math.min(MAX_THREADS, wanted - 1) : 0;
}

export class ReadAhead {
  readonly #options: ReadAheadOptions;
  readonly #read: (name: ByteString) => StoredFile;
  readonly #ring: JobRing;
  /** Of everything that was announced its job, as long as it has a slot, and then its result: undefined if it failed. */
  readonly #results = new Map<ByteString, StoredFile | number | undefined>();
  /** Jobs from `#first` to `#end`, which is not one yet, are in a slot. */
  #first = 0;
  #end = 0;

  /** `read` is what the calling thread reads with, and what throws when something is wrong. */
  constructor(options: ReadAheadOptions, read: (name: ByteString) => StoredFile) {
    this.#options = options;
    this.#read = read;
    this.#ring = new JobRing(options.slots, options.treeBytes);
  }

  announce(name: ByteString): void {
    if (this.#results.has(name) || name.length > MAX_JOB_NAME_BYTES) return;
    if (this.#end - this.#first === this.#ring.slots) this.#emptySlot();
    const job = this.#ring.publish(name);
    this.#results.set(name, job);
    this.#end = job + 1;
    if (this.#end === WORTH_A_THREAD) this.#startThreads();
  }

  file(name: ByteString): StoredFile {
    for (;;) {
      const result = this.#results.get(name);
      if (typeof result !== 'number') return result ?? this.#read(name);
      this.#emptySlot();
    }
  }

  /** Ends the threads. */
  close(): void {
    this.#ring.close();
  }

  /** Takes the result of the oldest job; until it is there, works on others. */
  #emptySlot(): void {
    const job = this.#first;
    while (!this.#ring.isDone(job)) {
      const mine = this.#ring.take();
      if (mine === undefined) this.#ring.waitUntilDone(job);
      else this.#ring.work(mine, this.#read);
    }
    this.#results.set(this.#ring.name(job), this.#ring.result(job));
    this.#first++;
  }

  #startThreads(): void {
    const { threads, task, slots, treeBytes } = this.#options;
    const workerData: ReaderTask = { task, slots, treeBytes, memory: this.#ring.memory };
    for (let i = 0; i < threads; i++) new Worker(PROGRAM, { workerData }).unref();
  }
}
