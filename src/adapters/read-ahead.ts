/**
 * Files read by threads besides the calling one. Hashing is most of what an image costs, and it is the one part that
 * other cores can take over. Jobs and results pass through a FileRing: a caller that is busy in synchronous code holds
 * nobody up, and one that has to wait reads files itself.
 */

import { availableParallelism } from 'node:os';
import type { ByteString } from '../formats/encoding.ts';
import { FileRing, type FileRingOptions, type ObjectStamp, type ReadFile } from './file-ring.ts';

/** As many threads as there are cores, or as are asked for, besides the one that runs this. */
export function spareThreads(wanted = availableParallelism()): number {
  return Math.max(0, wanted - 1);
}

export interface ReadAheadOptions<File> extends FileRingOptions {
  readonly threads: number;
  /** What was read, as the caller wants it. */
  finished(name: ByteString, file: ReadFile): File;
  /** Of a file that was announced with the stamp that it still has. */
  unchanged?(name: ByteString): File;
  /** Reads a file that was not announced, or could not be read; throws when something is wrong. */
  read(name: ByteString): File;
  /** Where the library of the threads is, if not beside the program. */
  readonly library?: URL;
}

export class ReadAhead<File> {
  readonly #options: ReadAheadOptions<File>;
  /** None where there is no library, and after `close`. */
  #ring: FileRing | undefined;
  /** Of what was announced its job; undefined for what no job can be. */
  readonly #jobs = new Map<ByteString, number | undefined>();
  /** Of jobs before `#first` what was read: undefined if it could not be. */
  readonly #files: (File | undefined)[] = [];
  /** Of jobs from `#first` on, by slot. */
  readonly #names: ByteString[] = [];
  /** Jobs from `#first` to `#end`, which is not one yet, are in a slot. */
  #first = 0;
  #end = 0;

  constructor(options: ReadAheadOptions<File>) {
    this.#options = options;
    this.#ring = FileRing.open(options, options.library);
  }

  /** How many different files were announced. */
  get announced(): number {
    return this.#jobs.size;
  }

  /** Returns the number of the file's job, which `file` takes instead of looking for the name; undefined for none. */
  announce(name: ByteString, stamp?: ObjectStamp): number | undefined {
    const ring = this.#ring;
    const known = this.#jobs.get(name);
    if (known !== undefined) return known;
    if (ring === undefined || name.length > ring.maxJobBytes) {
      this.#jobs.set(name, undefined);
      return undefined;
    }
    if (this.#end === 0) ring.start(this.#options.threads);
    if (this.#end - this.#first === ring.slots) this.#emptySlot(ring);
    const job = ring.publish(name, stamp);
    this.#names[job % ring.slots] = name;
    this.#jobs.set(name, job);
    this.#end = job + 1;
    return job;
  }

  file(name: ByteString, job = this.#jobs.get(name)): File {
    if (job === undefined || this.#ring === undefined) return this.#options.read(name);
    while (job >= this.#first) this.#emptySlot(this.#ring);
    return this.#files[job] ?? this.#options.read(name);
  }

  /** See FileRing. */
  metadata(checksum: string, type: string): Uint8Array | undefined {
    return this.#ring?.metadata(checksum, type);
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
    const name = this.#names[job % ring.slots] as ByteString;
    const { finished, unchanged } = this.#options;
    this.#files[job] = file === 'unchanged' ? unchanged?.(name) : file && finished(name, file);
  }
}
