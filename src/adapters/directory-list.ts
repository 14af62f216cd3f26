/**
 * Directories as native/directory-list.c lists them: names, inodes, targets of links and xattrs in one call each, which
 * takes a quarter of what the calls take one by one.
 *
 * The memory is a stack: a directory's list stays while those below it are read. An entry is known by where it is in
 * the memory. Numbers are in the byte order of the machine.
 */

import { type ByteString, putBytes, toByteString } from '../formats/byte-strings.ts';
import { roundUp, wholeNumber } from '../formats/bytes.ts';
import { type InodeStatus, STAMP, STAMP_BYTES } from './inode-status.ts';
import { HIGH_WORD, type Library, LOW_WORD, openLibrary, type Pointer } from './libc.ts';
import { PATH_MAX } from './syscalls.ts';

/** Room for thirty thousand entries; what is not used costs nothing. */
const MEMORY_BYTES = 8 * 2 ** 20;

/** Of the head of a list, in bytes; the xattrs of the directory follow, then its entries, which begin at whole words. */
const HEAD = { ENTRIES: 0, XATTRS_BYTES: 4, BYTES: 8 } as const;

/** Of an entry, in bytes from its start. */
const ENTRY = {
  BYTES: 0,
  MODE: 4,
  UID: 8,
  GID: 12,
  NLINK: 16,
  RDEV: 20,
  /** The name is the last part of it. */
  PATH_BYTES: 24,
  NAME_BYTES: 28,
  TARGET_BYTES: 32,
  XATTRS_BYTES: 36,
  STAMP: 40,
  /** With a NUL; then the target of a link, and xattrs. */
  PATH: 88,
} as const;

const PROTOTYPES = {
  memory: 'void *directory_memory(uint32_t bytes)',
  list: 'int32_t directory_list(void *memory, uint32_t path, uint32_t start, uint32_t end, int with_xattrs)',
} as const;

/** Where a list begins, and what has no list. */
export const NOT_LISTED = -1;

export class DirectoryLister {
  readonly #library: Library<keyof typeof PROTOTYPES>;
  readonly #memory: Pointer;
  readonly #withXattrs: boolean;
  readonly #end: number;
  /** The memory. */
  readonly words: Int32Array;
  readonly #bytes: Uint8Array;
  /** Where the next list begins. */
  #top = PATH_MAX;
  #mtime = { low: 0, high: 0, seconds: 0n };

  /** undefined where there is no library. Lists end before `end`. */
  static open(withXattrs: boolean, library?: URL, end = MEMORY_BYTES): DirectoryLister | undefined {
    const opened = openLibrary(PROTOTYPES, library);
    const memory = opened === undefined ? null : (opened.functions.memory(MEMORY_BYTES) as Pointer);
    if (opened === undefined || memory === null) return undefined;
    return new DirectoryLister(opened, memory, withXattrs, end);
  }

  private constructor(
    library: Library<keyof typeof PROTOTYPES>,
    memory: Pointer,
    withXattrs: boolean,
    end: number,
  ) {
    this.#library = library;
    this.#memory = memory;
    this.#withXattrs = withXattrs;
    this.#end = end;
    const view = library.view(memory, MEMORY_BYTES);
    this.words = new Int32Array(view);
    this.#bytes = new Uint8Array(view);
  }

  /**
   * Where the list of a directory begins, which may be an entry of one that is still there; NOT_LISTED for a directory
   * that the caller has to go through himself.
   */
  list(path: ByteString, entry: number): number {
    let pathAt = entry + ENTRY.PATH;
    if (entry === NOT_LISTED) {
      if (path.length >= PATH_MAX) return NOT_LISTED;
      pathAt = 0;
      putBytes(this.#bytes, pathAt, path);
      this.#bytes[path.length] = 0;
    }
    const start = this.#top;
    const withXattrs = this.#withXattrs ? 1 : 0;
    const end = this.#library.functions.list(this.#memory, pathAt, start, this.#end, withXattrs) as number;
    if (end < 0) return NOT_LISTED;
    this.#top = end;
    return start;
  }

  /** To be called for the last list that there is, with its beginning. */
  drop(list: number): void {
    this.#top = list;
  }

  entries(list: number): number {
    return this.#word(list + HEAD.ENTRIES);
  }

  first(list: number): number {
    return roundUp(list + HEAD.BYTES + this.#word(list + HEAD.XATTRS_BYTES), 4);
  }

  next(entry: number): number {
    return entry + this.#word(entry + ENTRY.BYTES);
  }

  name(entry: number): ByteString {
    const end = entry + ENTRY.PATH + this.#word(entry + ENTRY.PATH_BYTES);
    return toByteString(this.#bytes, end - this.#word(entry + ENTRY.NAME_BYTES), end);
  }

  /** Of a link. */
  target(entry: number): ByteString {
    const start = entry + ENTRY.PATH + this.#word(entry + ENTRY.PATH_BYTES) + 1;
    return toByteString(this.#bytes, start, start + this.#word(entry + ENTRY.TARGET_BYTES));
  }

  /** What is read for images, in the form that SharedXattrs takes; of no directory and no file with content. */
  xattrs(entry: number): ByteString {
    const bytes = this.#word(entry + ENTRY.XATTRS_BYTES);
    if (bytes === 0) return '' as ByteString;
    const path = entry + ENTRY.PATH + this.#word(entry + ENTRY.PATH_BYTES) + 1;
    const start = path + this.#word(entry + ENTRY.TARGET_BYTES);
    return toByteString(this.#bytes, start, start + bytes);
  }

  /** Of the directory itself. */
  xattrsOfDirectory(list: number): ByteString {
    const start = list + HEAD.BYTES;
    return toByteString(this.#bytes, start, start + this.#word(list + HEAD.XATTRS_BYTES));
  }

  status(entry: number): InodeStatus {
    const stamp = entry + ENTRY.STAMP;
    const size = stamp + STAMP.SIZE;
    return {
      nlink: this.#word(entry + ENTRY.NLINK),
      uid: this.#word(entry + ENTRY.UID),
      gid: this.#word(entry + ENTRY.GID),
      mode: this.#word(entry + ENTRY.MODE),
      size: wholeNumber(this.#word(size + LOW_WORD), this.#word(size + HIGH_WORD)),
      mtimeSec: this.#seconds(stamp + STAMP.MTIME),
      mtimeNsec: this.#word(stamp + STAMP.MTIME_NSEC),
      rdev: this.#word(entry + ENTRY.RDEV),
      stamp: toByteString(this.#bytes, stamp, stamp + STAMP_BYTES),
    };
  }

  /** Where the stamp of a file is in `words`; its path follows, and a NUL. */
  jobAt(entry: number): number {
    return (entry + ENTRY.STAMP) / 4;
  }

  /** Many files share one, and a big integer is an object. */
  #seconds(at: number): bigint {
    const low = this.#word(at + LOW_WORD);
    const high = this.#word(at + HIGH_WORD);
    const last = this.#mtime;
    if (last.low !== low || last.high !== high) {
      const seconds = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
      this.#mtime = { low, high, seconds };
    }
    return this.#mtime.seconds;
  }

  #word(at: number): number {
    return (this.words[at / 4] as number) >>> 0;
  }
}
