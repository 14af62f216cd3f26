/**
 * File objects read by threads besides the calling one. Hashing is most of what an image costs, and it is the one part
 * that other cores can take over. Jobs and results pass through a JobRing, and nothing else between the threads: a
 * caller that is busy in synchronous code holds nobody up, and one that has to wait reads objects itself.
 */

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { JobRing } from './job-ring.ts';
import type { Digests, StoredFile } from './object-file.ts';

/** Fewer objects are read sooner than a thread starts. */
const WORTH_A_THREAD = 128;
/** With more of them the disk is what everybody waits for. */
const MAX_THREADS = 8;

/** What a thread is started with. */
export interface ReaderTask {
  readonly repo: string;
  readonly digests: Digests;
  readonly keepTrees: boolean;
  readonly slots: number;
  readonly treeBytes: number;
  readonly memory: SharedArrayBuffer;
}

export interface ReadAheadOptions extends Omit<ReaderTask, 'memory'> {
  readonly threads: number;
}

/** Stands beside the bundled command line. The sources run without: node could not read it, and callers do the work. */
const PROGRAM = new URL('object-reader.js', import.meta.url);

/** As many threads as there are cores besides the one that runs this. */
export function spareThreads(): number {
  return existsSync(PROGRAM) ? Math.min(MAX_THREADS, availableParallelism() - 1) : 0;
}

export class ReadAhead {
  readonly #options: ReadAheadOptions;
  readonly #read: (checksum: string) => StoredFile;
  readonly #ring: JobRing;
  /** Of every object that was announced its job, as long as it has a slot, and then its result: undefined if it failed. */
  readonly #results = new Map<string, StoredFile | number | undefined>();
  /** Jobs from `#first` to `#end`, which is not one yet, are in a slot. */
  #first = 0;
  #end = 0;

  /** `read` is what the calling thread reads an object with, and what throws when something is wrong with it. */
  constructor(options: ReadAheadOptions, read: (checksum: string) => StoredFile) {
    this.#options = options;
    this.#read = read;
    this.#ring = new JobRing(options.slots, options.treeBytes);
  }

  announce(checksum: string): void {
    if (this.#results.has(checksum)) return;
    if (this.#end - this.#first === this.#ring.slots) this.#emptySlot();
    const job = this.#ring.publish(checksum);
    this.#results.set(checksum, job);
    this.#end = job + 1;
    if (this.#end === WORTH_A_THREAD) this.#startThreads();
  }

  file(checksum: string): StoredFile {
    for (;;) {
      const result = this.#results.get(checksum);
      if (typeof result !== 'number') return result ?? this.#read(checksum);
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
    this.#results.set(this.#ring.checksum(job), this.#ring.result(job));
    this.#first++;
  }

  #startThreads(): void {
    const { threads, ...shared } = this.#options;
    const task: ReaderTask = { ...shared, memory: this.#ring.memory };
    for (let i = 0; i < threads; i++) new Worker(PROGRAM, { workerData: task }).unref();
  }
}
