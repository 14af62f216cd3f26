/** `sealroot image ls`: what a mount of an image shows. */

import { escapeField } from '../formats/dump.ts';
import { type ByteString, printable, toByteString } from '../formats/encoding.ts';
import { readImage } from '../formats/erofs-read.ts';
import { badInput } from '../formats/errors.ts';
import { resolveHardlink, type TreeNode } from '../formats/tree.ts';
import { readImageFile } from './image-digest.ts';
import { modeText, type NodeRecord, nodeRecord } from './tree-text.ts';

export interface ListedNode {
  readonly node: TreeNode;
  readonly record: NodeRecord;
}

/** All nodes from `path` on, in the order of their names. Throws `path-missing`. */
export async function imageLs(options: { image: string; path?: string }): Promise<ListedNode[]> {
  const root = readImage(await readImageFile(options.image));
  const start = toByteString(Buffer.from(options.path ?? '/'));
  const names = start.split('/').filter((name) => name !== '') as ByteString[];
  let node: TreeNode | undefined = root;
  for (const name of names) node = node?.children?.get(name);
  if (node === undefined) {
    throw badInput('path-missing', `cannot list "${printable(start)}": not in image ${options.image}`);
  }
  const paths = new Map<TreeNode, ByteString>();
  notePaths(root, '' as ByteString, paths);
  const out: ListedNode[] = [];
  list(node, names.map((name) => `/${name}`).join('') as ByteString, paths, out);
  return out;
}

function notePaths(node: TreeNode, path: ByteString, paths: Map<TreeNode, ByteString>): void {
  if (node.hardlink === undefined) paths.set(node, path);
  for (const [name, child] of node.children ?? []) notePaths(child, `${path}/${name}` as ByteString, paths);
}

function list(node: TreeNode, path: ByteString, paths: Map<TreeNode, ByteString>, out: ListedNode[]): void {
  const target = resolveHardlink(node) ?? node;
  const record = nodeRecord((path === '' ? '/' : path) as ByteString, target);
  const first = node.hardlink === undefined ? undefined : paths.get(target);
  out.push({
    node: target,
    record: first === undefined ? record : { ...record, hardlink: escapeField(first) },
  });
  for (const [name, child] of node.children ?? []) list(child, `${path}/${name}` as ByteString, paths, out);
}

/** One line for each, as `ls -l` shows files. */
export function listingText(nodes: readonly ListedNode[]): string {
  return nodes.map(lsText).join('');
}

function lsText({ node, record }: ListedNode): string {
  const { uid, gid, path, hardlink, target, device } = record;
  const link = target === undefined ? '' : ` -> ${target}`;
  const other = hardlink === undefined ? '' : ` = ${hardlink}`;
  return `${modeText(node)} ${uid} ${gid} ${device ?? record.size} ${path}${link}${other}\n`;
}
