/** `sealroot image diff`: what differs between two images or commits, path by path. */

import { existsSync } from 'node:fs';
import { buildImage } from '../adapters/image.ts';
import { openObjectStore } from '../adapters/object-store.ts';
import { resolveRevision } from '../adapters/ostree-repo.ts';
import { type Progress, readingProgress } from '../adapters/progress.ts';
import { equalBytes } from '../formats/bytes.ts';
import { escapeField } from '../formats/dump.ts';
import { type ByteString, fromByteString, hex } from '../formats/encoding.ts';
import { HEADER } from '../formats/erofs-layout.ts';
import { readImage } from '../formats/erofs-read.ts';
import { usageError } from '../formats/errors.ts';
import { S_IFBLK, S_IFCHR, S_IFLNK, S_IFMT, type TreeNode } from '../formats/tree.ts';
import { type Aspect, type AspectChange, diffTrees, type TreeDifference } from '../formats/tree-diff.ts';
import { readImageFile } from './image-digest.ts';
import { deviceText, octalMode, timeText, typeName, valueText } from './tree-text.ts';

export interface ImageDiffOptions {
  /** Image files; with a repository also whatever names a commit in it. */
  a: string;
  b: string;
  repo?: string | undefined;
  progress?: Progress;
}

export interface ChangeRecord {
  aspect: Aspect;
  /** Of an xattr, escaped as in a dump. */
  name?: string;
  /** The value of either side; missing where there is none. */
  a?: string;
  b?: string;
}

export interface DifferenceRecord {
  /** Escaped as in a dump. */
  path: string;
  change: 'added' | 'removed' | 'changed';
  /** Of what changed; empty otherwise. */
  changes: ChangeRecord[];
}

export interface ImageDiffResult {
  a: string;
  b: string;
  /** Byte for byte. */
  same: boolean;
  /** Where they hold the same tree and are not the same: in what form. */
  form?: string;
  differences: DifferenceRecord[];
}

export async function imageDiff(options: ImageDiffOptions): Promise<ImageDiffResult> {
  const { a, b } = options;
  if (a === '-' && b === '-')
    throw usageError('usage', 'cannot compare standard input with itself', 'give a file for one of them');
  const [before, after] = [await imageOf(a, options), await imageOf(b, options)];
  // Both are read in any case: that one is no image is an error even when the other is none in the same way.
  const trees = [readImage(before), readImage(after)] as const;
  const differences = [...diffTrees(...trees)].map(recordOf);
  const same = equalBytes(before, after);
  const form = same || differences.length > 0 ? undefined : formDifference(before, after);
  return { a, b, same, ...(form !== undefined && { form }), differences };
}

async function imageOf(name: string, { repo, progress }: ImageDiffOptions): Promise<Uint8Array> {
  if (repo === undefined || name === '-' || existsSync(name)) return await readImageFile(name);
  const store = openObjectStore(repo);
  const commit = await resolveRevision(repo, name);
  const { image } = buildImage(store, commit, { onProgress: readingProgress(progress, 'objects') });
  progress?.finish();
  return image;
}

/** The tree leaves two things open: the version, and at which of its names a hard-linked file stands. */
function formDifference(a: Uint8Array, b: Uint8Array): string {
  const version = (image: Uint8Array) => image[HEADER.COMPOSEFS_VERSION] ?? 0;
  if (version(a) !== version(b)) return `format version ${version(a)} and ${version(b)}`;
  return 'order of the inodes';
}

/** For people and scripts. */
export function recordOf(difference: TreeDifference): DifferenceRecord {
  const { before, after, changes } = difference;
  const path = escapeField(difference.path);
  if (before === undefined || after === undefined) {
    return { path, change: before === undefined ? 'added' : 'removed', changes: [] };
  }
  return { path, change: 'changed', changes: changes.map((change) => changeRecord(change, before, after)) };
}

function changeRecord(change: AspectChange, before: TreeNode, after: TreeNode): ChangeRecord {
  const { aspect, name } = change;
  const [a, b] = [before, after].map((node, side) => aspectText(change, node, change.firstNames?.[side]));
  return {
    aspect,
    ...(name !== undefined && { name: escapeField(name) }),
    ...(a !== undefined && { a }),
    ...(b !== undefined && { b }),
  };
}

/** What stands on one side of a change. */
function aspectText(
  { aspect, name }: AspectChange,
  node: TreeNode,
  firstName: ByteString | undefined,
): string | undefined {
  switch (aspect) {
    case 'type':
      return typeName(node);
    case 'content':
      return contentText(node);
    case 'digest':
      return node.digest && hex(fromByteString(node.digest));
    case 'backing':
      return node.payload === undefined ? undefined : escapeField(node.payload);
    case 'mode':
      return octalMode(node);
    case 'owner':
      return `${node.uid}:${node.gid}`;
    case 'time':
      return timeText(node);
    case 'links':
      return `${node.nlink}${firstName === undefined ? '' : `, linked to ${escapeField(firstName)}`}`;
    case 'xattr': {
      const value = name === undefined ? undefined : node.xattrs.get(name);
      return value && valueText(value);
    }
  }
}

function contentText(node: TreeNode): string {
  const type = node.mode & S_IFMT;
  if (type === S_IFLNK) return escapeField(node.payload ?? '');
  if (type === S_IFBLK || type === S_IFCHR) return deviceText(node);
  return node.digest === undefined
    ? `${node.size} bytes`
    : `${node.size} bytes ${hex(fromByteString(node.digest))}`;
}

/** One line: `changed /etc/motd: mode 0644 -> 0600, xattr user.a: x -> none` */
export function differenceText({ path, change, changes }: DifferenceRecord): string {
  const texts = changes.map(({ aspect, name, a, b }) => {
    return `${aspect}${name === undefined ? '' : ` ${name}:`} ${a ?? 'none'} -> ${b ?? 'none'}`;
  });
  return `${change} ${path}${texts.length === 0 ? '' : `: ${texts.join(', ')}`}\n`;
}

/** A line for each difference. */
export function diffText({ form, differences }: ImageDiffResult): string {
  const lines = differences.map(differenceText);
  if (form !== undefined) lines.push(`the same tree in another form: ${form}\n`);
  return lines.join('');
}
