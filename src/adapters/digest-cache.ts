/**
 * What was read of file objects, kept from run to run, so that the image of the next commit hashes only what is new:
 * one file a repository, in the user's cache folder. An entry counts as long as the object's inode is what it was,
 * by device, number, size, mtime and ctime; a dirtree or dirmeta, as long as its bytes have its checksum. Even so nothing
 * that is signed comes from here: seal, verify and deployments read the objects.
 *
 * A file that is damaged or somebody else's is as good as none. It is replaced by rename: of two writers the last one
 * wins, and what the other had found is found again.
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
import { equalBytes } from '../formats/bytes.ts';
import { SealrootError } from '../formats/errors.ts';
import { type AddedEntry, DigestTable } from './digest-table.ts';
import type { KnownObjects } from './file-ring.ts';
import { readDescriptor, temporarySuffix } from './files.ts';
import { changedAt } from './inode-status.ts';
import type { StoredFile } from './object-file.ts';
import { sha256OfBytes } from './sha256.ts';

/** Of the cache of one repository; some 150 bytes each. */
const MAX_ENTRIES = 500_000;
/** What is larger was not written here. */
const MAX_FILE_BYTES = 512 * 1024 * 1024;
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
  readonly #maxEntries: number;
  readonly #now: () => number;
  readonly #table: DigestTable;
  readonly #used: Uint8Array;
  readonly #added = new Map<string, AddedEntry>();
  /** In the form of KnownObjects. */
  #metadata: Uint8Array | undefined;

  constructor(file: string, { maxEntries = MAX_ENTRIES, now = Date.now }: DigestCacheOptions = {}) {
    this.#file = file;
    this.#maxEntries = maxEntries;
    this.#now = now;
    this.#table = readTable(file);
    this.#used = new Uint8Array(this.#table.count);
  }

  /** The objects of which something is known. */
  get known(): KnownObjects {
    return this.#table.known;
  }

  /** What is known of an object, whose inode has the stamp of that entry still. */
  file(entry: number): StoredFile {
    this.#used[entry] = 1;
    return this.#table.fileAt(entry);
  }

  /** Keeps what was read of an object, whose inode had that stamp before and afterwards. */
  add(checksum: string, stamp: Uint8Array, file: StoredFile): void {
    if (changedAt(stamp) > this.#now() - SETTLED_AFTER_MS) return;
    this.#added.set(checksum, { checksum, stamp, file });
  }

  /** Keeps the dirtrees and dirmetas of this run in the place of those that are known. */
  keepMetadata(metadata: Uint8Array): void {
    this.#metadata = metadata;
  }

  /** Writes what was added. Returns why it could not: the work itself is not worse for it. */
  save(): string | undefined {
    const metadata = this.#metadata ?? this.#table.metadata;
    if (this.#added.size === 0 && equalBytes(metadata, this.#table.metadata)) return undefined;
    try {
      mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
      const added = [...this.#added.values()];
      replaceFile(this.#file, this.#table.encode(added, this.#used, metadata, this.#maxEntries));
      return undefined;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return `cannot write ${this.#file}: ${code ?? message}`;
    }
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
