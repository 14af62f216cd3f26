/**
 * The files of a directory, read by threads while the directory is gone through: what a thread has read goes into the
 * node at once. See FileRing.
 */

import type { ByteString } from '../formats/encoding.ts';
import type { VerityAlgorithm } from '../formats/fsverity.ts';
import { DirectoryLister, NOT_LISTED } from './directory-list.ts';
import {
  placeContent,
  type ScanHelp,
  type ScanOptions,
  type SourceFile,
  sharedXattrs,
} from './directory-source.ts';
import { FileRing } from './file-ring.ts';
import { STAMP_BYTES } from './inode-status.ts';
import type { SharedXattrs } from './shared-xattrs.ts';

/** Files that are known and not read yet. */
const SLOTS = 4096;

export interface SourceReaderOptions {
  readonly xattrs: ScanOptions['xattrs'];
  readonly algorithm: VerityAlgorithm;
  readonly threads: number;
  readonly slots?: number;
  /** Where the library is, if not beside the program. */
  readonly library?: URL | undefined;
}

export class SourceReader implements ScanHelp {
  readonly lister: DirectoryLister | undefined;
  readonly #ring: FileRing | undefined;
  readonly #threads: number;
  readonly #xattrs: SharedXattrs;
  /** By job. */
  readonly #files: SourceFile[] = [];
  /** Jobs before this one have no slot any more. */
  #first = 0;
  /** Jobs before this one have been asked for. */
  #asked = 0;

  constructor({ xattrs, algorithm, threads, slots = SLOTS, library }: SourceReaderOptions) {
    const withXattrs = xattrs !== 'none';
    this.lister = DirectoryLister.open(withXattrs, library);
    const options = {
      source: withXattrs ? 'stamped-with-xattrs' : 'stamped',
      folder: '' as ByteString,
      digests: 'compute',
      ...{ algorithm, slots, keepTrees: false, treeBytes: 0 },
    } as const;
    this.#ring = FileRing.open(options, library);
    this.#threads = threads;
    this.#xattrs = sharedXattrs(xattrs);
  }

  announce(file: SourceFile, entry: number): boolean {
    const ring = this.#ring;
    if (ring === undefined || STAMP_BYTES + file.path.length > ring.maxJobBytes) return false;
    if (this.#files.length === 0) ring.start(this.#threads);
    if (this.#files.length - this.#first === ring.slots) this.#emptySlot(ring);
    const lister = entry === NOT_LISTED ? undefined : this.lister;
    if (lister === undefined) ring.publish((file.stamp + file.path) as ByteString);
    else ring.publishWords(lister.words, lister.jobAt(entry), STAMP_BYTES + file.path.length);
    this.#files.push(file);
    return true;
  }

  /**
   * To be called for every file, in the order of the scan: afterwards it has content and xattrs, unless the caller has to
   * read them himself.
   */
  finish(file: SourceFile): void {
    if (this.#ring === undefined || this.#files[this.#asked] !== file) return;
    if (this.#asked++ === this.#first) this.#emptySlot(this.#ring);
  }

  /** Ends the threads. */
  close(): void {
    this.#ring?.close();
  }

  /** Takes the result of the oldest job; until it is there, works on others. */
  #emptySlot(ring: FileRing): void {
    const job = this.#first++;
    ring.finish(job);
    const read = ring.path(job);
    if (read === undefined) return;
    const file = this.#files[job] as SourceFile;
    placeContent(file, read.content);
    if (read.xattrs === undefined) return;
    file.node.xattrs = this.#xattrs.of(read.xattrs);
    file.hasXattrs = true;
  }
}
