/**
 * The composefs dump text of a tree, put together as simply as possible: what the writer of src/formats/dump.ts, which
 * goes through the bytes of an image, is compared with.
 */

import { escapeField } from '../../src/formats/dump.ts';
import { type ByteString, fromByteString, hex, printable, toByteString } from '../../src/formats/encoding.ts';
import { badInput } from '../../src/formats/errors.ts';
import { resolveHardlink, type TreeNode } from '../../src/formats/tree.ts';

/** The dump text of a tree: depth first in name order, as `composefs-info dump` prints it. */
export function formatDump(tree: TreeNode): Uint8Array {
  const paths = new Map<TreeNode, string>();
  if (hasHardlink(tree)) notePaths(tree, '', paths);
  const lines: string[] = [];
  formatNode(tree, '', paths, lines);
  return fromByteString(lines.join('') as ByteString);
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
    `${mtimeSec}.${mtimeNsec} ${payload} ${content} ${digest === undefined ? '-' : hex(fromByteString(digest))}`;
  for (const [key, value] of target.xattrs)
    line += ` ${escapeXattr(key)}=${escapeXattr(toByteString(value))}`;
  lines.push(`${line}\n`);
  if (node.children === undefined) return;
  for (const name of [...node.children.keys()].sort()) {
    const child = node.children.get(name);
    if (child !== undefined) formatNode(child, `${path}/${escapeField(name)}`, paths, lines);
  }
}

function escapeXattr(text: string): string {
  return escapeField(text).replaceAll('=', '\\x3d');
}

/** A lone dash means "unset", so the text "-" has to be escaped. */
function formatOptional(text: ByteString | undefined): string {
  if (!text) return '-';
  return text === '-' ? '\\x2d' : escapeField(text);
}
