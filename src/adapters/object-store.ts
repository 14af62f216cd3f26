/**
 * Objects of an ostree repository, read straight from its folder: libostree owns every change, but reading is a
 * matter of file names (libostree's ostree-repo-private.h and the manual, "Repository modes"). Modes: bare,
 * bare-user, bare-user-only, archive. Metadata objects are checked against their checksum; of a file's content the
 * fs-verity digest is measured or computed, which is what an image vouches for.
 */

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import path from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { ascii, type ByteString, hex, isChecksum, printable, toByteString } from '../formats/encoding.ts';
import { badInput, refused, type SealrootError, systemError } from '../formats/errors.ts';
import { keyfileBoolean, keyfileValue, parseKeyfile } from '../formats/keyfile.ts';
import { MAX_COMMIT_BYTES } from '../formats/ostree-objects.ts';
import type { ObjectSource, OstreeFile } from '../formats/ostree-tree.ts';
import {
  archiveHeaderBytes,
  MAX_METADATA_BYTES,
  type Ownership,
  parseArchiveHeader,
  parseOstreeMeta,
} from '../formats/ostree-tree-objects.ts';
import { S_IFLNK, S_IFMT } from '../formats/tree.ts';
import { fileError, isMissing, readBoundedIfExists } from './files.ts';
import { nodeHasher } from './hasher.ts';
import { getXattr, listXattrs, pathBytes, type XattrPlace } from './syscalls.ts';
import { measureVerity, VerityComputer } from './verity.ts';

export type RepoMode = 'bare' | 'bare-user' | 'bare-user-only' | 'archive';

export interface StoreOptions {
  /**
   * `compute` reads every file. `measure-first` takes the kernel's word for objects that have fs-verity, and reads
   * the others. `none` gives no digests: for walking a tree only.
   */
  readonly digests?: 'compute' | 'measure-first' | 'none';
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
  /** The path of a file object that exists, e.g. to enable fs-verity on it; its parent's if it is there. */
  filePath(checksum: string): string;
}

/** The same store, but `file` answers for file objects. */
export function withFileReader(store: ObjectStore, file: ObjectStore['file']): ObjectStore {
  return {
    path: store.path,
    mode: store.mode,
    parent: store.parent,
    commit: (checksum) => store.commit(checksum),
    commitMeta: (checksum) => store.commitMeta(checksum),
    dirTree: (checksum) => store.dirTree(checksum),
    dirMeta: (checksum) => store.dirMeta(checksum),
    filePath: (checksum) => store.filePath(checksum),
    file,
  };
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
const MAX_TARGET_BYTES = 4096;
const OSTREE_META = ascii('user.ostreemeta');

/** Throws `not-a-repository`, `repo-mode-unsupported`. Nothing is written and no lock is taken. */
export function openObjectStore(repo: string, options: StoreOptions = {}): ObjectStore {
  return open(repo, options.digests ?? 'compute', 0);
}

function open(repo: string, digests: Digests, depth: number): ObjectStore {
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
  return new Store({
    path: repo,
    mode,
    digests,
    withXattrs: keyfileBoolean(config, 'core', 'disable-xattrs', configPath) !== true,
    parent: parentPath ? open(parentPath, digests, depth + 1) : undefined,
  });
}

type Digests = NonNullable<StoreOptions['digests']>;

interface StoreFields {
  readonly path: string;
  readonly mode: RepoMode;
  readonly digests: Digests;
  readonly withXattrs: boolean;
  readonly parent: ObjectStore | undefined;
}

class Store implements ObjectStore {
  readonly path: string;
  readonly mode: RepoMode;
  readonly parent: ObjectStore | undefined;
  readonly #digests: Digests;
  readonly #withXattrs: boolean;
  readonly #computer = new VerityComputer();

  constructor(fields: StoreFields) {
    this.path = fields.path;
    this.mode = fields.mode;
    this.parent = fields.parent;
    this.#digests = fields.digests;
    this.#withXattrs = fields.withXattrs;
  }

  commit(checksum: string): Uint8Array {
    const bytes = readBoundedIfExists(this.#objectPath(checksum, 'commit'), MAX_COMMIT_BYTES);
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
    return requireCommitChecksum(bytes, checksum);
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
    const bytes = readBoundedIfExists(this.#objectPath(checksum, type), MAX_METADATA_BYTES);
    if (bytes !== undefined) return requireChecksum(bytes, checksum, type);
    const other = elsewhere();
    if (other === undefined) throw this.#missing(checksum, type);
    return other;
  }

  filePath(checksum: string): string {
    const file = this.#objectPath(checksum, this.#fileType());
    try {
      lstatSync(file);
      return file;
    } catch (error) {
      if (!isMissing(error)) throw fileError('read', file, error);
      if (this.parent === undefined) throw this.#missing(checksum, this.#fileType());
      return this.parent.filePath(checksum);
    }
  }

  file(checksum: string): OstreeFile {
    const file = this.#objectPath(checksum, this.#fileType());
    let fd: number;
    try {
      fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // O_NOFOLLOW on a symbolic link: two modes store links as what they are.
      if (code === 'ELOOP') return this.#link(file);
      if (code !== 'ENOENT') throw fileError('read', file, error);
      if (this.parent === undefined) throw this.#missing(checksum, this.#fileType());
      return this.parent.file(checksum);
    }
    try {
      return this.#opened(fd, file);
    } finally {
      closeSync(fd);
    }
  }

  #opened(fd: number, file: string): OstreeFile {
    const status = fstatSync(fd);
    if (!status.isFile()) throw badInput('not-a-regular-file', `cannot read ${file}: not a regular file`);
    if (this.mode === 'archive') return this.#archived(fd, file, status.size);
    if (this.mode === 'bare-user') {
      const value = getXattr(fd, OSTREE_META);
      if (value === undefined)
        throw badInput('object-malformed', `cannot read ${file}: no xattr ${OSTREE_META}`);
      const owner = parseOstreeMeta(value, `${OSTREE_META} of ${file}`);
      if ((owner.mode & S_IFMT) === S_IFLNK)
        return { ...owner, size: 0, target: storedTarget(fd, file, status.size) };
      return this.#regular(owner, fd, file, status.size);
    }
    return this.#regular(this.#inodeOwner(status, fd), fd, file, status.size);
  }

  #regular(owner: Ownership, fd: number, file: string, size: number): OstreeFile {
    if (size === 0 || this.#digests === 'none') return { ...owner, size };
    const measured = this.#digests === 'measure-first' ? measureVerity(fd, file) : undefined;
    return { ...owner, size, digest: measured ?? this.#computer.ofDescriptor(fd, size, file) };
  }

  /** Owner, mode and xattrs of an object whose inode has them itself. */
  #inodeOwner(status: { mode: number; uid: number; gid: number }, place: XattrPlace): Ownership {
    const { mode } = status;
    if (this.mode === 'bare-user-only') return { mode, uid: 0, gid: 0, xattrs: new Map() };
    const xattrs = new Map();
    for (const name of this.#withXattrs ? listXattrs(place) : []) {
      const value = getXattr(place, name);
      if (value !== undefined) xattrs.set(name, value);
    }
    return { mode, uid: status.uid, gid: status.gid, xattrs };
  }

  #link(file: string): OstreeFile {
    if (this.mode === 'archive' || this.mode === 'bare-user') {
      throw badInput('not-a-regular-file', `cannot read ${file}: not a regular file`);
    }
    try {
      const target = toByteString(readlinkSync(file, 'buffer'));
      return { ...this.#inodeOwner(lstatSync(file), pathBytes(file)), size: 0, target };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      throw fileError('read', file, error);
    }
  }

  #archived(fd: number, file: string, storedSize: number): OstreeFile {
    const head = readExactly(fd, 8, file);
    const headerBytes = archiveHeaderBytes(head, file);
    if (headerBytes > storedSize)
      throw sizeMismatch(file, `its header claims ${headerBytes} bytes of ${storedSize}`);
    const rest = readExactly(fd, headerBytes - head.length, file);
    const { contentOffset: _, ...header } = parseArchiveHeader(Buffer.concat([head, rest]), file);
    if ((header.mode & S_IFMT) === S_IFLNK) return header;
    if (header.size === 0 || this.#digests === 'none') return header;
    const content = inflate(readExactly(fd, storedSize - headerBytes, file), header.size, file);
    return { ...header, digest: this.#computer.ofBytes(content) };
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
  const actual = hex(nodeHasher.sha256(bytes));
  if (actual === checksum) return bytes;
  const fact = `the SHA-256 of its bytes is ${actual}`;
  throw refused('commit-checksum-mismatch', `cannot verify commit ${checksum}: ${fact}`);
}

function requireChecksum(bytes: Uint8Array, checksum: string, type: string): Uint8Array {
  const actual = hex(nodeHasher.sha256(bytes));
  if (actual === checksum) return bytes;
  throw badInput('object-corrupt', `cannot use object ${checksum}.${type}: its SHA-256 is ${actual}`);
}

/** bare-user keeps a link's target as content; libostree writes a NUL after it and reads up to the first one. */
function storedTarget(fd: number, file: string, size: number): ByteString {
  if (size > MAX_TARGET_BYTES) throw sizeMismatch(file, `${size} bytes for a link target`);
  const content = readExactly(fd, size, file);
  const end = content.indexOf(0);
  return toByteString(end < 0 ? content : content.subarray(0, end));
}

function readExactly(fd: number, size: number, file: string): Buffer {
  const out = Buffer.alloc(size);
  let have = 0;
  while (have < size) {
    const count = readSync(fd, out, have, size - have, null);
    if (count === 0) throw sizeMismatch(file, `it ends after ${have} of ${size} bytes`);
    have += count;
  }
  return out;
}

/** The whole content in memory: bounded by the size in the header, which is checked, never by the stream's own claims. */
function inflate(deflated: Buffer, size: number, file: string): Uint8Array {
  let content: Buffer;
  try {
    content = inflateRawSync(deflated, { maxOutputLength: size });
  } catch (error) {
    const fact =
      (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
        ? `more than ${size} bytes`
        : 'bad data';
    throw sizeMismatch(file, `its deflate stream holds ${fact}, the header says ${size} bytes`);
  }
  if (content.length !== size) {
    throw sizeMismatch(file, `its deflate stream holds ${content.length} bytes, the header says ${size}`);
  }
  return content;
}

function sizeMismatch(file: string, fact: string): SealrootError {
  return badInput('object-size-mismatch', `cannot read ${file}: ${fact}`);
}
