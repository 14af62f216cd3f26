/**
 * What was read of file objects, kept from run to run, so that the image of the next commit hashes only what is new: in
 * the user's cache folder, two files a repository. One is what a run has left, the other what the runs since have added: to
 * write all of it anew for the few objects that changed would take longer than to read them. When that is much, both become
 * one again.
 *
 * An entry counts as long as the object's inode is what it was, by device, number, size, mtime and ctime; a dirtree or
 * dirmeta, as long as its bytes have its checksum. Even so nothing that is signed comes from here: seal, verify and
 * deployments read the objects.
 *
 * A file that is damaged or somebody else's is as good as none. It is replaced by rename: of two writers the last one
 * wins, and what the other had found is found again. Each says all that it needs, so that it does not matter which states
 * of the two are found together.
 */

import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { SealrootError } from '../formats/errors.ts';
import { type AddedEntry, DigestTable, ENTRY_BYTES } from './digest-table.ts';
import { type KnownObjects, NO_METADATA } from './file-ring.ts';
import { readDescriptor, temporarySuffix } from './files.ts';
import { changedAt } from './inode-status.ts';
import type { StoredFile } from './object-file.ts';
import { sha256OfBytes } from './sha256.ts';

/** Of the cache of one repository; some 150 bytes each. */
const MAX_ENTRIES = 500_000;
/** What is larger was not written here. */
const MAX_FILE_BYTES = 512 * 1024 * 1024;
/** So much of the first file the second one may have: with more, both become one. */
const MAX_ADDED_SHARE = 1 / 4;
/**
 * An inode that changed so short a time ago could change again within one tick of the file system's clock, and its ctime
 * would stay: what was read of it is not kept (milliseconds).
 */
const SETTLED_AFTER_MS = 2000;

/** Where the cache of a repository is; undefined when this user has no home for it. */
export function digestCachePath(repo: string): string | undefined {
  const { XDG_CACHE_HOME: cache, HOME: home } = process.env;
  if (!cache?.startsWith('/') && !home?.startsWith('/')) return undefined;
  const folder = cache?.startsWith('/') ? cache : path.join(home as string, '.cache');
  const name = Buffer.from(sha256OfBytes(Buffer.from(path.resolve(repo)))).toString('hex', 0, 8);
  return path.join(folder, 'sealroot', `digests-${name}`);
}

export interface DigestCacheOptions {
  readonly maxEntries?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export class DigestCache {
  readonly #file: string;
  readonly #laterFile: string;
  readonly #maxEntries: number;
  readonly #now: () => number;
  /** Of the two files. */
  readonly #base: DigestTable;
  readonly #later: DigestTable;
  /** Which entries of the first were asked for; all of the second count as if they were. */
  readonly #used: Uint8Array;
  readonly #added = new Map<string, AddedEntry>();
  /** What is to be written: both files as one, or the second; its metadata objects. */
  #end: { readonly isWhole: boolean; readonly metadata: Uint8Array } | undefined;

  constructor(file: string, { maxEntries = MAX_ENTRIES, now = Date.now }: DigestCacheOptions = {}) {
    this.#file = file;
    this.#maxEntries = maxEntries;
    this.#now = now;
    this.#laterFile = `${file}.later`;
    this.#base = readTable(file);
    this.#later = readTable(this.#laterFile);
    this.#used = new Uint8Array(this.#base.count);
  }

  /** The objects of which something is known. */
  get known(): readonly KnownObjects[] {
    return [this.#base.known, this.#later.known];
  }

  /** What is known of an object, whose inode has the stamp of that entry of all known ones still. */
  file(entry: number): StoredFile {
    const { count } = this.#base;
    if (entry >= count) return this.#later.fileAt(entry - count);
    this.#used[entry] = 1;
    return this.#base.fileAt(entry);
  }

  /** Keeps what was read of an object, whose inode had that stamp before and afterwards. */
  add(checksum: string, stamp: Uint8Array, file: StoredFile): void {
    if (changedAt(stamp) > this.#now() - SETTLED_AFTER_MS) return;
    this.#added.set(checksum, { checksum, stamp, file });
  }

  /**
   * To be called when everything was read, before it can be saved. `usedMetadata` as FileRing has it: the dirtrees and
   * dirmetas of this run take the place of those that are known.
   */
  end(usedMetadata: (first: number) => Uint8Array): void {
    const [{ size, count }, later] = [this.#base, this.#later];
    const isRead = () => usedMetadata(this.known.length).length > NO_METADATA.length;
    if (this.#added.size === 0 && !isRead()) return;
    const metadata = usedMetadata(1);
    const added = later.count + this.#added.size;
    const isLarge = added * ENTRY_BYTES + metadata.length > size * MAX_ADDED_SHARE;
    const isWhole = isLarge || count + added > this.#maxEntries;
    this.#end = { isWhole, metadata: isWhole ? usedMetadata(0) : metadata };
  }

  /** Writes what was added. Returns why it could not: the work itself is not worse for it. */
  save(): string | undefined {
    if (this.#end === undefined) return undefined;
    const { isWhole, metadata } = this.#end;
    const file = isWhole ? this.#file : this.#laterFile;
    try {
      mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      replaceFile(file, isWhole ? this.#encodeWhole(metadata) : this.#encodeLater(metadata));
      if (isWhole) rmSync(this.#laterFile, { force: true });
      return undefined;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return `cannot write ${file}: ${code ?? message}`;
    }
  }

  #encodeLater(metadata: Uint8Array): Uint8Array {
    return this.#later.encode([...this.#added.values()], new Uint8Array(0), metadata, this.#maxEntries);
  }

  #encodeWhole(metadata: Uint8Array): Uint8Array {
    const added = [...this.#added.values()];
    for (const entry of this.#later.entries()) if (!this.#added.has(entry.checksum)) added.push(entry);
    return this.#base.encode(added, this.#used, metadata, this.#maxEntries);
  }
}

/** Not synced: what a power cut leaves half-written shows in its checksum. */
function replaceFile(file: string, bytes: Uint8Array): void {
  const temporary = `${file}.${temporarySuffix()}`;
  try {
    writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o600 });
    renameSync(temporary, file);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function readTable(file: string): DigestTable {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    return DigestTable.NONE;
  }
  try {
    const { uid, mode } = fstatSync(fd);
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) return DigestTable.NONE;
    return DigestTable.parse(readDescriptor(fd, file, MAX_FILE_BYTES));
  } catch (error) {
    if (error instanceof SealrootError) return DigestTable.NONE;
    throw error;
  } finally {
    closeSync(fd);
  }
}
