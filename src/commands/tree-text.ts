/** Nodes of a tree for people and scripts: names and values as in a dump, numbers as `ls` and `stat` show them. */

import { escapeField } from '../formats/dump.ts';
import { type ByteString, fromByteString, hex, toByteString } from '../formats/encoding.ts';
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  type TreeNode,
} from '../formats/tree.ts';

const TYPES: ReadonlyMap<number, readonly [letter: string, name: string]> = new Map([
  [S_IFREG, ['-', 'file']],
  [S_IFDIR, ['d', 'directory']],
  [S_IFLNK, ['l', 'link']],
  [S_IFBLK, ['b', 'block device']],
  [S_IFCHR, ['c', 'character device']],
  [S_IFIFO, ['p', 'fifo']],
  [S_IFSOCK, ['s', 'socket']],
] as const);

export function typeName(node: TreeNode): string {
  return TYPES.get(node.mode & S_IFMT)?.[1] ?? 'unknown';
}

/** `-rwsr-xr-x` */
export function modeText({ mode }: TreeNode): string {
  const bits = (shift: number, special: number, letter: string) => {
    const x = (mode >> shift) & 1;
    const set = (mode & special) !== 0;
    const last = set ? (x ? letter : letter.toUpperCase()) : x ? 'x' : '-';
    return `${(mode >> (shift + 2)) & 1 ? 'r' : '-'}${(mode >> (shift + 1)) & 1 ? 'w' : '-'}${last}`;
  };
  const type = TYPES.get(mode & S_IFMT)?.[0] ?? '?';
  return `${type}${bits(6, 0o4000, 's')}${bits(3, 0o2000, 's')}${bits(0, 0o1000, 't')}`;
}

export function octalMode({ mode }: TreeNode): string {
  return `0${(mode & ~S_IFMT).toString(8).padStart(3, '0')}`;
}

export function timeText({ mtimeSec, mtimeNsec }: TreeNode): string {
  return `${mtimeSec}.${mtimeNsec}`;
}

/** `8, 1`, from glibc's dev_t of 32 bits. */
export function deviceText({ rdev }: TreeNode): string {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `${major}, ${minor}`;
}

export function valueText(value: Uint8Array): string {
  return escapeField(toByteString(value));
}

export interface NodeRecord {
  path: string;
  type: string;
  mode: string;
  uid: number;
  gid: number;
  size: number;
  /** Seconds and nanoseconds, not a fraction: `5.1` is one nanosecond after five seconds. */
  mtime: string;
  nlink: number;
  target?: string;
  device?: string;
  content?: string;
  backing?: string;
  digest?: string;
  /** The first path of the same file. */
  hardlink?: string;
  xattrs?: Record<string, string>;
}

/** Of a node that is no hard link. */
export function nodeRecord(path: ByteString, node: TreeNode): NodeRecord {
  const { uid, gid, size, nlink, payload, content, digest, xattrs } = node;
  const type = node.mode & S_IFMT;
  return {
    path: escapeField(path),
    type: typeName(node),
    mode: octalMode(node),
    ...{ uid, gid, size, nlink },
    mtime: timeText(node),
    ...(type === S_IFLNK && { target: escapeField(payload ?? '') }),
    ...((type === S_IFBLK || type === S_IFCHR) && { device: deviceText(node) }),
    ...(content !== undefined && { content: valueText(content) }),
    ...(type === S_IFREG && payload !== undefined && { backing: escapeField(payload) }),
    ...(digest !== undefined && { digest: hex(fromByteString(digest)) }),
    ...(xattrs.size > 0 && {
      xattrs: Object.fromEntries([...xattrs].map(([name, value]) => [escapeField(name), valueText(value)])),
    }),
  };
}
