/**
 * The composefs dump text of a tree or an image: one line per name, as `composefs-info dump` prints it. Source:
 * composefs-dump(5). Host only, as its reader (dump-read.ts): uses regular expressions.
 */

import { type ByteString, fromByteString, hex, printable, toByteString } from './encoding.ts';
import { readImage } from './erofs-read.ts';
import { badInput } from './errors.ts';
import { resolveHardlink, type TreeNode } from './tree.ts';

/** The dump text of a tree: depth first in name order, as `composefs-info dump` prints it. */
export function formatDump(tree: TreeNode): Uint8Array {
  const paths = new Map<TreeNode, string>();
  if (hasHardlink(tree)) notePaths(tree, '', paths);
  const lines: string[] = [];
  formatNode(tree, '', paths, lines);
  return fromByteString(lines.join('') as ByteString);
}

/** The dump text of an image; refuses what `readImage` refuses. */
export function dumpImage(image: Uint8Array): Uint8Array {
  return formatDump(readImage(image));
}

function hasHardlink(node: TreeNode): boolean {
  if (node.hardlink !== undefined) return true;
  if (node.children !== undefined)
    for (const child of node.children.values()) if (hasHardlink(child)) return true;
  return false;
}

function notePaths(node: TreeNode, path: string, paths: Map<TreeNode, string>): void {
  if (node.hardlink === undefined) paths.set(node, path);
  if (node.children === undefined) return;
  for (const [name, child] of node.children) notePaths(child, `${path}/${escapeField(name)}`, paths);
}

function formatNode(node: TreeNode, path: string, paths: Map<TreeNode, string>, lines: string[]): void {
  const target = resolveHardlink(node);
  const targetPath = node.hardlink === undefined || target === undefined ? undefined : paths.get(target);
  if (target === undefined || (node.hardlink !== undefined && targetPath === undefined)) {
    throw badInput(
      'hardlink-target-missing',
      `cannot write dump: ${printable(path)} is a hard link to nothing`,
    );
  }
  const { size, mode, nlink, uid, gid, rdev, mtimeSec, mtimeNsec, digest } = target;
  const link = targetPath === undefined ? '' : '@';
  const payload = targetPath ?? formatOptional(target.payload);
  const content = formatOptional(target.content === undefined ? undefined : toByteString(target.content));
  let line =
    `${path === '' ? '/' : path} ${size} ${link}${mode.toString(8)} ${nlink} ${uid} ${gid} ${rdev} ` +
    `${mtimeSec}.${mtimeNsec} ${payload} ${content} ${digest === undefined ? '-' : hex(digest)}`;
  for (const [key, value] of target.xattrs)
    line += ` ${escapeXattr(key)}=${escapeXattr(toByteString(value))}`;
  lines.push(`${line}\n`);
  if (node.children === undefined) return;
  for (const name of [...node.children.keys()].sort()) {
    const child = node.children.get(name);
    if (child !== undefined) formatNode(child, `${path}/${escapeField(name)}`, paths, lines);
  }
}

const UNPRINTABLE = /[^\x21-\x7e]|\\/;
const UNPRINTABLE_ALL = /[^\x21-\x7e]|\\/g;
const SHORT: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** As the fields of a dump are written: everything but printable ASCII as an escape. */
export function escapeField(text: string): string {
  if (!UNPRINTABLE.test(text)) return text;
  return text.replace(
    UNPRINTABLE_ALL,
    (char) => SHORT[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

function escapeXattr(text: string): string {
  return escapeField(text).replaceAll('=', '\\x3d');
}

/** A lone dash means "unset", so the text "-" has to be escaped. */
function formatOptional(text: ByteString | undefined): string {
  if (!text) return '-';
  return text === '-' ? '\\x2d' : escapeField(text);
}
