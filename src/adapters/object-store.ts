/**
 * Objects of an ostree repository, read straight from its folder: libostree owns every change, but reading is a
 * matter of file names (libostree's ostree-repo-private.h and the manual, "Repository modes"). Modes: bare,
 * bare-user, bare-user-only, archive. Metadata objects are checked against their checksum; of a file's content the
 * fs-verity digest is measured or computed, which is what an image vouches for.
 */

import { hash } from 'node:crypto';
import { existsSync, lstatSync, type Stats } from 'node:fs';
import path from 'node:path';
import { type ByteString, isChecksum, printable } from '../formats/encoding.ts';
import { badInput, refused, type SealrootError, systemError } from '../formats/errors.ts';
import type { VerityAlgorithm } from '../formats/fsverity.ts';
import { keyfileBoolean, keyfileValue, parseKeyfile } from '../formats/keyfile.ts';
import { MAX_COMMIT_BYTES } from '../formats/ostree-objects.ts';
import type { ObjectSource } from '../formats/ostree-tree.ts';
import { type Checksums, MAX_METADATA_BYTES } from '../formats/ostree-tree-objects.ts';
import type { DigestCache } from './digest-cache.ts';
import type { ReadFile } from './file-ring.ts';
import { fileError, isMissing, readBoundedIfExists } from './files.ts';
import { type Digests, ObjectFileReader, type RepoMode, type StoredFile } from './object-file.ts';
import { ReadAhead, spareThreads } from './read-ahead.ts';
import { pathBytes } from './syscalls.ts';

export interface StoreOptions {
  /** `compute` when absent. */
  readonly digests?: Digests;
  /** Of digests that are computed; SHA-256 when absent. */
  readonly algorithm?: VerityAlgorithm | undefined;
  /** Files come with their Merkle trees. */
  readonly keepTrees?: boolean;
  /** Knows what was read of objects before; of files that are announced, in the repository itself and not in its parents. */
  readonly cache?: DigestCache | undefined;
  /** Threads that read announced files; as many as there are cores to spare when absent. */
  readonly threads?: number;
  /** So many files can be announced before the caller has to take part in reading them. */
  readonly slots?: number;
  /** Room for Merkle trees of announced files, see FileRing. */
  readonly treeBytes?: number;
  /** See ReadAheadOptions. */
  readonly library?: URL;
}

export interface ObjectStore extends ObjectSource {
  /** The repository's folder. */
  readonly path: string;
  readonly mode: RepoMode;
  /** `core.parent`: where objects are looked for that are not here. */
  readonly parent: ObjectStore | undefined;
  /** The commit object; throws `commit-missing`, `commit-partial` when some of its objects were never pulled. */
  commit(checksum: string): Uint8Array;
  /** Detached metadata; undefined when there is none. */
  commitMeta(checksum: string): Uint8Array | undefined;
  file(checksum: string, job?: number): StoredFile;
  announce(checksums: Checksums): readonly number[];
  /** How many different files were announced since the last release. */
  readonly announced: number;
  /** Ends the threads that read announced files; what they have read is forgotten. */
  release(): void;
  /** Bytes of a regular file's content, of a link what is stored as content: much sooner than `file`, which says more. */
  fileSize(checksum: string): number;
  /** The path of a file object that exists, e.g. to enable fs-verity on it; its parent's if it is there. */
  filePath(checksum: string): string;
}

const MODES: ReadonlyMap<string | undefined, RepoMode> = new Map([
  [undefined, 'bare'],
  ['bare', 'bare'],
  ['bare-user', 'bare-user'],
  ['bare-user-only', 'bare-user-only'],
  ['archive', 'archive'],
  ['archive-z2', 'archive'],
]);

const MAX_CONFIG_BYTES = 1024 * 1024;
const MAX_PARENTS = 8;
/** 4 MiB of memory, and more files than the threads read while the next folder is parsed. */
const SLOTS = 4096;

/** Throws `not-a-repository`, `repo-mode-unsupported`. Nothing is written and no lock is taken. */
export function openObjectStore(repo: string, options: StoreOptions = {}): ObjectStore {
  return open(repo, options, 0);
}

function open(repo: string, options: StoreOptions, depth: number): ObjectStore {
  const configPath = path.join(repo, 'config');
  const bytes = readBoundedIfExists(configPath, MAX_CONFIG_BYTES);
  if (bytes === undefined) {
    throw badInput('not-a-repository', `cannot open repository ${repo}: it has no file "config"`);
  }
  const config = parseKeyfile(bytes, configPath);
  const modeName = keyfileValue(config, 'core', 'mode');
  const mode = MODES.get(modeName);
  if (mode === undefined) {
    const known = 'bare, bare-user, bare-user-only or archive';
    const fact = `its mode is "${printable(modeName ?? '')}", expected ${known}`;
    throw badInput('repo-mode-unsupported', `cannot open repository ${repo}: ${fact}`);
  }
  const parentPath = keyfileValue(config, 'core', 'parent');
  if (parentPath && !path.isAbsolute(parentPath)) {
    // libostree would take it from the working directory of whoever runs.
    const fact = `its core.parent "${printable(parentPath)}" is not absolute`;
    throw badInput('repo-parent-relative', `cannot open repository ${repo}: ${fact}`);
  }
  if (depth > MAX_PARENTS) throw badInput('repo-parents', `cannot open repository ${repo}: too many parents`);
  const { digests = 'compute', keepTrees = false, algorithm = 'sha256' } = options;
  const withXattrs = keyfileBoolean(config, 'core', 'disable-xattrs', configPath) !== true;
  return new Store(
    repo,
    mode,
    parentPath ? open(parentPath, { ...options, cache: undefined }, depth + 1) : undefined,
    new ObjectFileReader({ mode, digests, withXattrs, keepTrees, algorithm }),
    options,
  );
}

class Store implements ObjectStore {
  readonly path: string;
  readonly mode: RepoMode;
  readonly parent: ObjectStore | undefined;
  readonly #reader: ObjectFileReader;
  readonly #options: StoreOptions;
  #readAhead: ReadAhead<StoredFile> | undefined;

  constructor(
    repo: string,
    mode: RepoMode,
    parent: ObjectStore | undefined,
    reader: ObjectFileReader,
    options: StoreOptions,
  ) {
    this.path = repo;
    this.mode = mode;
    this.parent = parent;
    this.#reader = reader;
    this.#options = options;
  }

  commit(checksum: string): Uint8Array {
    const checked = this.#checkedMetadata(checksum, 'commit');
    const bytes = checked ?? readBoundedIfExists(this.#objectPath(checksum, 'commit'), MAX_COMMIT_BYTES);
    if (bytes === undefined) {
      if (this.parent !== undefined) return this.parent.commit(checksum);
      throw systemError('commit-missing', `cannot read commit ${checksum}: not in repository ${this.path}`);
    }
    if (existsSync(path.join(this.path, 'state', `${checksum}.commitpartial`))) {
      throw refused(
        'commit-partial',
        `cannot use commit ${checksum}: repository ${this.path} marks it as partial`,
        'pull it again, without --commit-metadata-only or --subpath',
      );
    }
    return checked ?? requireCommitChecksum(bytes, checksum);
  }

  commitMeta(checksum: string): Uint8Array | undefined {
    const bytes = readBoundedIfExists(this.#objectPath(checksum, 'commitmeta'), MAX_COMMIT_BYTES);
    return bytes ?? this.parent?.commitMeta(checksum);
  }

  dirTree(checksum: string): Uint8Array {
    return this.#metadata(checksum, 'dirtree', () => this.parent?.dirTree(checksum));
  }

  dirMeta(checksum: string): Uint8Array {
    return this.#metadata(checksum, 'dirmeta', () => this.parent?.dirMeta(checksum));
  }

  #metadata(checksum: string, type: string, elsewhere: () => Uint8Array | undefined): Uint8Array {
    const checked = this.#checkedMetadata(checksum, type);
    if (checked !== undefined) return checked;
    const bytes = readBoundedIfExists(this.#objectPath(checksum, type), MAX_METADATA_BYTES);
    if (bytes !== undefined) return requireChecksum(bytes, checksum, type);
    const other = elsewhere();
    if (other === undefined) throw this.#missing(checksum, type);
    return other;
  }

  /** Of the threads' library; undefined for what has to be looked at more closely. */
  #checkedMetadata(checksum: string, type: string): Uint8Array | undefined {
    this.#readAhead ??= this.#startReadAhead();
    return this.#readAhead.metadata(checksum, type);
  }

  filePath(checksum: string): string {
    const file = this.#objectPath(checksum, this.#fileType());
    if (this.#status(file) !== undefined) return file;
    if (this.parent === undefined) throw this.#missing(checksum, this.#fileType());
    return this.parent.filePath(checksum);
  }

  #status(file: string): Stats | undefined {
    try {
      return lstatSync(file);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw fileError('read', file, error);
    }
  }

  announce(checksums: Checksums): readonly number[] {
    this.#readAhead ??= this.#startReadAhead();
    return this.#readAhead.announce(checksums);
  }

  get announced(): number {
    return this.#readAhead?.announced ?? 0;
  }

  #startReadAhead(): ReadAhead<StoredFile> {
    const { slots = SLOTS, treeBytes = 0, digests = 'compute', keepTrees = false } = this.#options;
    const { algorithm = 'sha256' } = this.#options;
    return new ReadAhead<StoredFile>({
      source: this.#reader.ringSource,
      folder: pathBytes(path.join(this.path, 'objects')),
      digests,
      algorithm,
      slots,
      keepTrees,
      treeBytes,
      threads: this.#options.threads ?? spareThreads(),
      known: this.#options.cache?.known,
      ...(this.#options.library && { library: this.#options.library }),
      finished: (checksum, file) => this.#finished(checksum, file),
      unchanged: (entry) => (this.#options.cache as DigestCache).file(entry),
      read: (checksum) => this.#read(checksum),
    });
  }

  #finished(checksum: ByteString, read: ReadFile): StoredFile {
    const file = this.#reader.fromRing(read, `object ${checksum}.${this.#fileType()}`);
    if (read.stamp !== undefined) this.#options.cache?.add(checksum, read.stamp, file);
    return file;
  }

  file(checksum: string, job?: number): StoredFile {
    return this.#readAhead?.file(checksum as ByteString, job) ?? this.#read(checksum);
  }

  release(): void {
    const readAhead = this.#readAhead;
    if (readAhead === undefined) return;
    this.#options.cache?.end((first) => readAhead.usedMetadata(first));
    readAhead.close();
    this.#readAhead = undefined;
  }

  #read(checksum: string): StoredFile {
    const found = this.#reader.read(this.#objectPath(checksum, this.#fileType()));
    if (found !== undefined) return found;
    if (this.parent === undefined) throw this.#missing(checksum, this.#fileType());
    return this.parent.file(checksum);
  }

  fileSize(checksum: string): number {
    if (this.mode === 'archive') return this.#read(checksum).size;
    const status = this.#status(this.#objectPath(checksum, this.#fileType()));
    if (status !== undefined) return status.isFile() ? status.size : 0;
    if (this.parent === undefined) throw this.#missing(checksum, this.#fileType());
    // Which may be of another mode, where a file's size says something else.
    return this.parent.fileSize(checksum);
  }

  #fileType(): string {
    return this.mode === 'archive' ? 'filez' : 'file';
  }

  #objectPath(checksum: string, type: string): string {
    if (!isChecksum(checksum)) {
      throw badInput('checksum-malformed', `cannot read object "${printable(checksum)}": not a checksum`);
    }
    return `${this.path}/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}`;
  }

  #missing(checksum: string, type: string): SealrootError {
    return systemError(
      'object-missing',
      `cannot read object ${checksum}.${type}: not in repository ${this.path}`,
      'run ostree fsck, and pull the commit again',
    );
  }
}

/** Under the verdict's code and with its exit status: whoever judges a commit gets the same answer from both. */
function requireCommitChecksum(bytes: Uint8Array, checksum: string): Uint8Array {
  const actual = hash('sha256', bytes, 'hex');
  if (actual === checksum) return bytes;
  const fact = `the SHA-256 of its bytes is ${actual}`;
  throw refused('commit-checksum-mismatch', `cannot verify commit ${checksum}: ${fact}`);
}

function requireChecksum(bytes: Uint8Array, checksum: string, type: string): Uint8Array {
  const actual = hash('sha256', bytes, 'hex');
  if (actual === checksum) return bytes;
  throw badInput('object-corrupt', `cannot use object ${checksum}.${type}: its SHA-256 is ${actual}`);
}
