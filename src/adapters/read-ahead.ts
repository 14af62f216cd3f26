/**
 * Files read by threads besides the calling one. Hashing is most of what an image costs, and it is the one part that
 * other cores can take over. Jobs and results pass through a FileRing: a caller that is busy in synchronous code holds
 * nobody up, and one that has to wait reads files itself.
 */

import { availableParallelism } from 'node:os';
import type { ByteString } from '../formats/encoding.ts';
import { type Checksums, nthChecksum } from '../formats/ostree-tree-objects.ts';
import { FileRing, type FileRingOptions, NO_JOB, NO_METADATA, type ReadFile } from './file-ring.ts';

/** As many threads as there are cores, or as are asked for, besides the one that runs this. */
export function spareThreads(wanted = availableParallelism()): number {
  return Math.max(0, wanted - 1);
}

export interface ReadAheadOptions<File> extends FileRingOptions {
  readonly threads: number;
  /** What was read, as the caller wants it. */
  finished(name: ByteString, file: ReadFile): File;
  /** Of a file that has the stamp that is known, of which this is the entry. */
  unchanged?(entry: number): File;
  /** Reads a file that was not announced, or could not be read; throws when something is wrong. */
  read(name: ByteString): File;
  /** Where the library of the threads is, if not beside the program. */
  readonly library?: URL;
}

export class ReadAhead<File> {
  readonly #options: ReadAheadOptions<File>;
  /** None where there is no library, and after `close`. */
  #ring: FileRing | undefined;
  /** What was announced, where there is no ring. */
  readonly #announced = new Set<ByteString>();
  /** Of jobs before `#first` what was read: undefined if it could not be. */
  readonly #files: (File | undefined)[] = [];
  /** Jobs from `#first` to `#end`, which is not one yet, are in a slot. */
  #first = 0;
  #end = 0;

  constructor(options: ReadAheadOptions<File>) {
    this.#options = options;
    this.#ring = FileRing.open(options, options.library);
  }

  /** How many different files were announced. */
  get announced(): number {
    return this.#ring?.published ?? this.#announced.size;
  }

  /** Returns the numbers of the files' jobs, which `file` takes instead of looking for the name; NO_JOB for none. */
  announce(checksums: Checksums): readonly number[] {
    const { length } = checksums.places;
    const ring = this.#ring;
    const jobs: number[] = [];
    if (ring === undefined) {
      for (let i = 0; i < length; i++) {
        this.#announced.add(nthChecksum(checksums, i) as ByteString);
        jobs.push(NO_JOB);
      }
      return jobs;
    }
    if (this.#end === 0) ring.start(this.#options.threads);
    for (let from = 0; from < length; from += ring.atOnce) {
      const to = Math.min(from + ring.atOnce, length);
      while (this.#end - this.#first > ring.slots - (to - from)) this.#emptySlot(ring);
      ring.announce(checksums, from, to, jobs);
      this.#end = ring.published;
    }
    return jobs;
  }

  file(name: ByteString, given?: number): File {
    const ring = this.#ring;
    const job = given ?? ring?.jobOf(name) ?? NO_JOB;
    if (job === NO_JOB || ring === undefined) return this.#options.read(name);
    while (job >= this.#first) this.#emptySlot(ring);
    return this.#files[job] ?? this.#options.read(name);
  }

  /** See FileRing. */
  metadata(checksum: string, type: string): Uint8Array | undefined {
    return this.#ring?.metadata(checksum, type);
  }

  /** See FileRing. */
  usedMetadata(first: number): Uint8Array {
    return this.#ring?.usedMetadata(first) ?? NO_METADATA;
  }

  /** Ends the threads. What is asked for afterwards is read again. */
  close(): void {
    this.#ring?.close();
    this.#ring = undefined;
  }

  /** Takes the result of the oldest job; until it is there, works on others. */
  #emptySlot(ring: FileRing): void {
    const job = this.#first++;
    ring.finish(job);
    const file = ring.result(job);
    const { finished, unchanged } = this.#options;
    this.#files[job] =
      typeof file === 'number' ? unchanged?.(file) : file && finished(ring.checksumOf(job), file);
  }
}
