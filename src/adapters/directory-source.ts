/**
 * A directory as the source of an image, as mkcomposefs of libcomposefs 1.0.8 takes it: first names and inodes are
 * read, then content. Names are bytes. Unlike there, a file that changes in between is an error: its size and digest
 * would not fit each other.
 */

import { closeSync, constants, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { ascii, type ByteString, fromByteString, hex, printable, toByteString } from '../formats/encoding.ts';
import { SealrootError } from '../formats/errors.ts';
import {
  NO_XATTRS,
  newNode,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
} from '../formats/tree.ts';
import { type DirectoryLister, NOT_LISTED } from './directory-list.ts';
import { errnoOf } from './error-text.ts';
import { type InodeStatus, identityOf, inodeStatus } from './inode-status.ts';
import { SharedXattrs } from './shared-xattrs.ts';
import { getXattr, listXattrs } from './syscalls.ts';
import type { VerityComputer } from './verity.ts';

/** A file of at most so many bytes stands in the image itself. In file-reader.c, too. */
export const MAX_INLINE_BYTES = 64;

export interface ScanOptions {
  readonly xattrs: 'all' | 'user' | 'none';
  /** Leave block and character devices out, whiteouts too. */
  readonly skipDevices: boolean;
  /** Every mtime is zero. */
  readonly epoch: boolean;
  /** Names of one inode stay names of one file; otherwise each becomes a file of its own. */
  readonly hardlinks: boolean;
}

/** A regular file that is not empty; its node lacks content or digest until `readContent`. */
export interface SourceFile {
  readonly path: ByteString;
  /** Of its inode, see InodeStatus. */
  readonly stamp: ByteString;
  readonly node: TreeNode;
  /** False until whoever reads the content has added them, or `addXattrs`. */
  hasXattrs: boolean;
}

export interface DirectorySource {
  readonly root: TreeNode;
  readonly files: readonly SourceFile[];
}

/** What cannot be read; `errno` is the errno's name. */
export class SourceError extends SealrootError {
  readonly path: ByteString;
  readonly errno: string;

  constructor(path: ByteString, errno: string) {
    super('system', 'source-unreadable', `cannot read "${printable(path)}": ${errno}`);
    this.path = path;
    this.errno = errno;
  }
}

/** For calls of the system on `path`: names it in the error. */
export function reading<T>(path: ByteString, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const errno = errnoOf(error);
    throw errno === undefined ? error : new SourceError(path, errno);
  }
}

export function pathBuffer(path: ByteString): Buffer {
  return Buffer.from(path, 'latin1');
}

/** What reads faster than the calls of this thread one by one, where there is such a thing. */
export interface ScanHelp {
  /** With xattrs if the options say so. */
  readonly lister?: DirectoryLister | undefined;
  /** Whether the content of a file will be read, and the xattrs that it lacks; `entry` is that of the lister, if it has one. */
  announce(file: SourceFile, entry: number): boolean;
}

interface Scan {
  readonly options: ScanOptions;
  readonly help: ScanHelp | undefined;
  readonly files: SourceFile[];
  /** Inodes with several names, by identity. */
  readonly known: Map<string, TreeNode>;
  readonly xattrs: SharedXattrs;
}

/**
 * Reads names, inodes and xattrs; no content, but tells of each file that will be asked for. The root may be
 * anything: whether it serves is the writer's business.
 */
export function scanDirectory(path: ByteString, options: ScanOptions, help?: ScanHelp): DirectorySource {
  const xattrs = sharedXattrs(options.xattrs);
  const scan: Scan = { options, help, files: [], known: new Map(), xattrs };
  return { root: scanNode(scan, path, inodeOf(path), NOT_LISTED), files: scan.files };
}

function inodeOf(path: ByteString): InodeStatus {
  return reading(path, () => inodeStatus(path, path));
}

/** `entry` is that of the lister, if it has one. */
function scanNode(scan: Scan, path: ByteString, status: InodeStatus, entry: number): TreeNode {
  const type = status.mode & S_IFMT;
  if (scan.options.hardlinks && status.nlink > 1 && type !== S_IFDIR) {
    const known = scan.known.get(identityOf(status));
    if (known !== undefined) {
      known.nlink++;
      return { ...known, hardlink: known };
    }
  }
  const node = sourceNode(scan, status);
  if (scan.options.hardlinks) scan.known.set(identityOf(status), node);
  if (type === S_IFDIR) addDirectory(scan, path, node, entry);
  else if (type === S_IFREG && status.size > 0) addFile(scan, path, node, status.stamp, entry);
  else if (entry !== NOT_LISTED) addListed(scan, node, entry);
  else addRest(scan, path, node);
  return node;
}

function addFile(scan: Scan, path: ByteString, node: TreeNode, stamp: ByteString, entry: number): void {
  const file: SourceFile = { path, stamp, node, hasXattrs: scan.options.xattrs === 'none' };
  if (scan.help?.announce(file, entry) !== true) addXattrs(file, scan.options.xattrs);
  scan.files.push(file);
}

function addDirectory(scan: Scan, path: ByteString, node: TreeNode, entry: number): void {
  const lister = scan.help?.lister;
  const list = lister === undefined ? NOT_LISTED : lister.list(path, entry);
  if (lister === undefined || list === NOT_LISTED) {
    node.xattrs = readXattrs(path, scan.options.xattrs);
    node.children = scanChildren(scan, path);
    return;
  }
  node.xattrs = scan.xattrs.of(lister.xattrsOfDirectory(list));
  node.children = listedChildren(scan, lister, path, list);
  lister.drop(list);
}

/** All that is neither a directory nor a file with content. */
function addRest(scan: Scan, path: ByteString, node: TreeNode): void {
  node.xattrs = readXattrs(path, scan.options.xattrs);
  if ((node.mode & S_IFMT) !== S_IFLNK) return;
  node.payload = reading(path, () => readlinkSync(pathBuffer(path), 'latin1')) as ByteString;
  node.size = node.payload.length;
}

function addListed({ help, xattrs }: Scan, node: TreeNode, entry: number): void {
  const lister = help?.lister as DirectoryLister;
  node.xattrs = xattrs.of(lister.xattrs(entry));
  if ((node.mode & S_IFMT) !== S_IFLNK) return;
  node.payload = lister.target(entry);
  node.size = node.payload.length;
}

function sourceNode({ options }: Scan, status: InodeStatus): TreeNode {
  const { mode, uid, gid, rdev, size } = status;
  return newNode({
    mode,
    uid,
    gid,
    rdev,
    nlink: 1,
    size,
    mtimeSec: options.epoch ? 0n : status.mtimeSec,
    mtimeNsec: options.epoch ? 0 : status.mtimeNsec,
    xattrs: NO_XATTRS,
  });
}

const USER_PREFIX = ascii('user.');

function readXattrs(path: ByteString, which: ScanOptions['xattrs']): TreeNode['xattrs'] {
  if (which === 'none') return NO_XATTRS;
  const names = reading(path, () => listXattrs(path));
  if (names.length === 0) return NO_XATTRS;
  const xattrs = new Map<ByteString, Uint8Array>();
  for (const name of names) {
    if (which === 'user' && !name.startsWith(USER_PREFIX)) continue;
    const value = reading(path, () => getXattr(path, name));
    if (value === undefined) throw new SourceError(path, 'ENODATA'); // it was there a moment ago
    xattrs.set(name, value);
  }
  return xattrs;
}

/** As `readXattrs` has them, from what C has read. */
export function sharedXattrs(which: ScanOptions['xattrs']): SharedXattrs {
  return new SharedXattrs(which === 'user' ? USER_PREFIX : '');
}

/** Of a file that lacks them. Throws when the inode is not, or is no more, that of the stamp, unless its content is still to be read. */
export function addXattrs(file: SourceFile, which: ScanOptions['xattrs']): void {
  file.node.xattrs = readXattrs(file.path, which);
  file.hasXattrs = true;
  if (hasContent(file)) withUnchanged(file.path, file.stamp, () => {});
}

/** In the order of their names: with hard links, the first one is the file. */
function scanChildren(scan: Scan, path: ByteString): Map<ByteString, TreeNode> {
  const children = new Map<ByteString, TreeNode>();
  const names = reading(path, () => readdirSync(pathBuffer(path), 'latin1')) as ByteString[];
  for (const name of names.sort()) {
    const below = `${path}/${name}` as ByteString;
    const status = inodeOf(below);
    const type = status.mode & S_IFMT;
    if (scan.options.skipDevices && (type === S_IFBLK || type === S_IFCHR)) continue;
    children.set(name, scanNode(scan, below, status, NOT_LISTED));
  }
  return children;
}

function listedChildren(
  scan: Scan,
  lister: DirectoryLister,
  path: ByteString,
  list: number,
): Map<ByteString, TreeNode> {
  const children = new Map<ByteString, TreeNode>();
  const { skipDevices } = scan.options;
  let entry = lister.first(list);
  for (let left = lister.entries(list); left > 0; left--, entry = lister.next(entry)) {
    const status = lister.status(entry);
    const type = status.mode & S_IFMT;
    if (skipDevices && (type === S_IFBLK || type === S_IFCHR)) continue;
    const name = lister.name(entry);
    children.set(name, scanNode(scan, `${path}/${name}` as ByteString, status, entry));
  }
  return children;
}

/** Whether it has been read. */
export function hasContent({ node }: SourceFile): boolean {
  return node.content !== undefined || node.digest !== undefined;
}

/** Gives the file's node what was read of it: content, or digest, with the path of its object. */
export function placeContent({ node }: SourceFile, read: ByteString): void {
  if (node.size <= MAX_INLINE_BYTES) node.content = fromByteString(read);
  else {
    node.digest = read;
    node.payload = objectPath(read);
  }
}

/** Reads it here. Throws when the inode is not, or is no more, that of the stamp. */
export function readContent(file: SourceFile, computer: VerityComputer): void {
  const { path, stamp } = file;
  const read = withUnchanged(path, stamp, (fd, { size }) =>
    size <= MAX_INLINE_BYTES
      ? readExactly(fd, size, path)
      : computer.ofDescriptor(fd, size, `"${printable(path)}"`),
  );
  placeContent(file, toByteString(read));
}

/** The name of an object in a composefs object store, below its folder. */
function objectPath(digest: ByteString): ByteString {
  const text = hex(fromByteString(digest));
  return `${text.slice(0, 2)}/${text.slice(2)}` as ByteString;
}

/** Runs `use` on a file whose inode has, before and after, that stamp: nobody has written to it since. */
export function withUnchanged<T>(
  path: ByteString,
  stamp: ByteString,
  use: (fd: number, status: InodeStatus) => T,
): T {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const fd = reading(path, () => openSync(pathBuffer(path), flags));
  try {
    const status = requireUnchanged(fd, path, stamp);
    const result = reading(path, () => use(fd, status));
    requireUnchanged(fd, path, stamp);
    return result;
  } finally {
    closeSync(fd);
  }
}

function requireUnchanged(fd: number, path: ByteString, stamp: ByteString): InodeStatus {
  const status = reading(path, () => inodeStatus(fd, path));
  if (status.stamp === stamp) return status;
  throw new SealrootError(
    'system',
    'source-changed',
    `cannot use "${printable(path)}": it changes while it is read`,
  );
}

function readExactly(fd: number, size: number, path: ByteString): Uint8Array {
  const out = new Uint8Array(size);
  for (let have = 0; have < size; ) {
    const count = readSync(fd, out, have, size - have, null);
    if (count === 0) throw new SourceError(path, 'ENODATA');
    have += count;
  }
  return out;
}
