/**
 * One file object of an ostree repository: what each repository mode keeps where (libostree's ostree-repo-private.h and
 * the manual, "Repository modes"), and the fs-verity digest of its content.
 */

import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { ascii, type ByteString, fromByteString, toByteString } from '../formats/encoding.ts';
import { badInput, type SealrootError } from '../formats/errors.ts';
import { USUAL_VERITY, type VerityAlgorithm } from '../formats/fsverity.ts';
import type { OstreeFile } from '../formats/ostree-tree.ts';
import {
  archiveHeaderBytes,
  type Ownership,
  parseArchiveHeader,
  parseOstreeMeta,
} from '../formats/ostree-tree-objects.ts';
import { NO_XATTRS, S_IFLNK, S_IFMT } from '../formats/tree.ts';
import type { FileRingOptions, ReadFile } from './file-ring.ts';
import { fileError } from './files.ts';
import { SharedXattrs } from './shared-xattrs.ts';
import { getXattr, listXattrs, pathBytes, type XattrPlace } from './syscalls.ts';
import { type MerkleTree, measureVerity, VerityComputer } from './verity.ts';

export type RepoMode = 'bare' | 'bare-user' | 'bare-user-only' | 'archive';

/**
 * `compute` reads every file. `measure-first` takes the kernel's word for objects that have fs-verity, and reads
 * the others. `none` gives no digests: for walking a tree only.
 */
export type Digests = 'compute' | 'measure-first' | 'none';

/** What the image needs to know of a file object. */
export interface StoredFile extends OstreeFile {
  /** With `keepTrees`, of files whose digest was computed. */
  readonly tree?: MerkleTree | undefined;
}

const MAX_TARGET_BYTES = 4096;
const OSTREE_META = ascii('user.ostreemeta');

export interface ObjectFileOptions {
  readonly mode: RepoMode;
  readonly digests: Digests;
  /** False: objects of mode bare have no xattrs, whatever their inodes say. */
  readonly withXattrs: boolean;
  readonly keepTrees: boolean;
  /** Of the digests that are computed. Those that the kernel has measured, and trees, are SHA-256. */
  readonly algorithm: VerityAlgorithm;
}

export class ObjectFileReader {
  readonly #options: ObjectFileOptions;
  readonly #computer: VerityComputer;
  /** By what was read: most objects of a repository have the same owner, mode and xattrs as some other. */
  readonly #owners = new Map<ByteString, Ownership>();
  readonly #xattrs = new SharedXattrs();

  constructor(options: ObjectFileOptions) {
    this.#options = options;
    this.#computer = new VerityComputer({ ...USUAL_VERITY, algorithm: options.algorithm });
  }

  /** Undefined when there is no such file. */
  read(file: string): StoredFile | undefined {
    let fd: number;
    try {
      fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      // O_NOFOLLOW on a symbolic link: two modes store links as what they are.
      if (code === 'ELOOP') return this.#link(file);
      throw fileError('read', file, error);
    }
    try {
      return this.#opened(fd, file);
    } finally {
      closeSync(fd);
    }
  }

  /** How a FileRing reads such objects. */
  get ringSource(): FileRingOptions['source'] {
    const { mode, withXattrs } = this.#options;
    return mode === 'bare' && !withXattrs ? 'bare-no-xattrs' : mode;
  }

  /** What `read` would return of an object that a FileRing has read. */
  fromRing(read: ReadFile, file: string): StoredFile {
    const { target, digest, tree } = read;
    if (this.#options.mode === 'archive') {
      const { contentOffset: _, ...header } = parseArchiveHeader(fromByteString(read.attributes), file);
      return { ...header, digest, tree };
    }
    const { mode, uid, gid, xattrs } = this.#ownerFromRing(read, file);
    const size = target === undefined ? read.size : 0;
    return { mode, uid, gid, size, xattrs, target, digest, tree };
  }

  #ownerFromRing({ mode, uid, gid, attributes }: ReadFile, file: string): Ownership {
    switch (this.#options.mode) {
      case 'bare-user': {
        let owner = this.#owners.get(attributes);
        if (owner === undefined) {
          owner = parseOstreeMeta(fromByteString(attributes), `${OSTREE_META} of ${file}`);
          this.#owners.set(attributes, owner);
        }
        return owner;
      }
      case 'bare-user-only':
        return { mode, uid: 0, gid: 0, xattrs: NO_XATTRS };
      default:
        return { mode, uid, gid, xattrs: this.#xattrs.of(attributes) };
    }
  }

  #opened(fd: number, file: string): StoredFile {
    const status = fstatSync(fd);
    if (!status.isFile()) throw badInput('not-a-regular-file', `cannot read ${file}: not a regular file`);
    if (this.#options.mode === 'archive') return this.#archived(fd, file, status.size);
    if (this.#options.mode === 'bare-user') {
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

  #regular(owner: Ownership, fd: number, file: string, size: number): StoredFile {
    if (size === 0 || this.#options.digests === 'none') return { ...owner, size };
    const measured = this.#options.digests === 'measure-first' ? measureVerity(fd, file) : undefined;
    if (measured !== undefined) return { ...owner, size, digest: toByteString(measured) };
    return this.#digested({ ...owner, size }, this.#computer.ofDescriptor(fd, size, file));
  }

  /** Owner, mode and xattrs of an object whose inode has them itself. */
  #inodeOwner(status: { mode: number; uid: number; gid: number }, place: XattrPlace): Ownership {
    const { mode } = status;
    if (this.#options.mode === 'bare-user-only') return { mode, uid: 0, gid: 0, xattrs: new Map() };
    const xattrs = new Map();
    for (const name of this.#options.withXattrs ? listXattrs(place) : []) {
      const value = getXattr(place, name);
      if (value !== undefined) xattrs.set(name, value);
    }
    return { mode, uid: status.uid, gid: status.gid, xattrs };
  }

  #link(file: string): OstreeFile {
    if (this.#options.mode === 'archive' || this.#options.mode === 'bare-user') {
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

  #archived(fd: number, file: string, storedSize: number): StoredFile {
    const head = readExactly(fd, 8, file);
    const headerBytes = archiveHeaderBytes(head, file);
    if (headerBytes > storedSize)
      throw sizeMismatch(file, `its header claims ${headerBytes} bytes of ${storedSize}`);
    const rest = readExactly(fd, headerBytes - head.length, file);
    const { contentOffset: _, ...header } = parseArchiveHeader(Buffer.concat([head, rest]), file);
    if ((header.mode & S_IFMT) === S_IFLNK) return header;
    if (header.size === 0 || this.#options.digests === 'none') return header;
    const content = inflate(readExactly(fd, storedSize - headerBytes, file), header.size, file);
    return this.#digested(header, this.#computer.ofBytes(content));
  }

  #digested(file: OstreeFile, computed: Uint8Array): StoredFile {
    const digest = toByteString(computed);
    return this.#options.keepTrees
      ? { ...file, digest, tree: this.#computer.merkleTree() }
      : { ...file, digest };
  }
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
