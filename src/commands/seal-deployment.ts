/**
 * Sealing one deployment, the same on a running device and on a disk that is being built: the verdict, the image made
 * again from the commit's objects, fs-verity on every object it refers to, the image in the deployment.
 *
 * The order is the guarantee: what can be refused is refused before anything is checked out, and a deployment is
 * complete before a boot loader entry names it.
 */

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { nodeHasher } from '../adapters/hasher.ts';
import { type BuildOptions, buildImage } from '../adapters/image.ts';
import { setImmutable } from '../adapters/inode-attributes.ts';
import { type ObjectCheck, openObjectCheck } from '../adapters/object-check.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { baseOfBootcCommit } from '../formats/bootc.ts';
import { equalBytes } from '../formats/bytes.ts';
import { type ByteString, fromByteString, hex, printable } from '../formats/encoding.ts';
import { imageObjects } from '../formats/erofs-read.ts';
import { refused, SealrootError } from '../formats/errors.ts';
import { parseCommit } from '../formats/ostree-objects.ts';
import { treeFromCommit } from '../formats/ostree-tree.ts';
import { S_IFMT, S_IFREG, type TreeNode } from '../formats/tree.ts';
import {
  decide,
  highestFloor,
  requireNotBelow,
  type Verdict,
  type VerdictInput,
} from '../formats/verdict.ts';
import { DEPLOYMENT_IMAGE, explained } from './image-mismatch.ts';
import type { Trust } from './trusted-keys.ts';

/** Makes a file a verity file, whether by the kernel or offline, and returns its digest. Fine with one that is. */
export type Sealer = (path: string) => Uint8Array;

/** `durable`: on the disk when the call returns. `volatile`: for disks that are thrown away when anything fails. */
export type Durability = 'durable' | 'volatile';

export interface SealedObject {
  /** Where the image uses it, for messages. */
  path: ByteString;
  /** Below objects/ of the repository. */
  payload: ByteString;
  digest: Uint8Array;
  size: number;
}

/** A signed commit and its image: the bytes whose fs-verity digest the signature covers. */
export interface Sealing {
  verdict: Verdict;
  image: Uint8Array;
}

/** The boot's verdict on a commit of a repository; on that of a commit of bootc's the one on its base. */
export function judge(store: ObjectStore, checksum: string, trust: Trust): Verdict {
  return decide(verdictInput(store, checksum, trust));
}

/**
 * The same for a commit that is to be booted beside `others`, the commits of the deployments that are there: their
 * floors count too.
 */
export function judgeBeside(
  store: ObjectStore,
  checksum: string,
  trust: Trust,
  others: Iterable<string>,
): Verdict {
  const verdict = judge(store, checksum, trust);
  const floor = highestFloor(new Set(others), (other) => verdictInput(store, other, trust));
  if (floor !== undefined) requireNotBelow(verdict, floor);
  return verdict;
}

function verdictInput(store: ObjectStore, checksum: string, { keys, demands }: Trust): VerdictInput {
  const commit = store.commit(checksum);
  const commitmeta = store.commitMeta(checksum);
  const base = commitmeta === undefined ? baseOfBootcCommit(commit, checksum, nodeHasher) : undefined;
  const judged =
    base === undefined
      ? { commit, checksum, commitmeta }
      : { commit: store.commit(base), checksum: base, commitmeta: store.commitMeta(base) };
  return { ...judged, keys, demands, hasher: nodeHasher };
}

/**
 * Makes the image of a commit again. Throws `image-digest-mismatch` when it is not the one that was signed. `repo` is
 * the repository that the commit comes from: an image that was right may lie beside it.
 */
export function makeSignedImage(
  store: ObjectStore,
  verdict: Verdict,
  { repo = store.path, ...options }: BuildOptions & { repo?: string } = {},
): Sealing {
  const { checksum } = verdict;
  const { image, digest } = buildImage(store, checksum, options);
  return explained({ repo, checksum, computed: image, expected: verdict.digest }, () => {
    if (equalBytes(digest, verdict.digest)) return { verdict, image };
    throw refused(
      'image-digest-mismatch',
      `cannot seal commit ${checksum}: its objects make the image ${hex(digest)}, signed is ${hex(verdict.digest)}`,
      'check the repository with ostree fsck',
    );
  });
}

/** Every object of the repository that the image refers to, once. */
export function objectsOf(sealing: Sealing): SealedObject[] {
  const objects = new Map<ByteString, SealedObject>();
  for (const { path, payload, digest, size } of imageObjects(sealing.image)) {
    if (digest === undefined) {
      throw refused(
        'object-digest-missing',
        `cannot seal ${printable(path)}: the image names no digest for it`,
      );
    }
    if (!objects.has(payload)) objects.set(payload, { path, payload, digest: fromByteString(digest), size });
  }
  return [...objects.values()];
}

/** `xx/rest.file` -> the object's checksum. */
function checksumOf(payload: ByteString): string {
  return `${payload.slice(0, 2)}${payload.slice(3, 65)}`;
}

/**
 * What to tell instead of `image-digest-mismatch`: the first object of the commit that is not what its checksum says,
 * with its path, or the error as it is when all of them are (then another image was signed). Reads every object.
 */
export async function blameObject(error: unknown, repoPath: string, checksum: string): Promise<unknown> {
  if (!(error instanceof SealrootError) || error.code !== 'image-digest-mismatch') return error;
  const store = openObjectStore(repoPath, { digests: 'none' });
  const fsck = await openObjectCheck(repoPath);
  const tree = treeFromCommit(parseCommit(store.commit(checksum)), store);
  const corrupt = firstCorrupt(tree, '', new Set(), fsck);
  if (corrupt === undefined) return error;
  return refused(
    'object-corrupt',
    `cannot seal commit ${checksum}: object ${corrupt.object}, ${printable(corrupt.path)}, is corrupt: ${corrupt.fact}`,
    'delete the object and pull the commit again: ostree fsck --delete',
  );
}

function firstCorrupt(
  folder: TreeNode,
  folderPath: string,
  seen: Set<string>,
  fsck: ObjectCheck,
): { object: string; path: string; fact: string } | undefined {
  for (const [name, node] of folder.children ?? []) {
    const path = `${folderPath}/${name}`;
    if (node.children !== undefined) {
      const below = firstCorrupt(node, path, seen, fsck);
      if (below !== undefined) return below;
    }
    // A link's payload is its target; an empty file has no object that the image refers to.
    if ((node.mode & S_IFMT) !== S_IFREG || node.payload === undefined || seen.has(node.payload)) continue;
    seen.add(node.payload);
    const object = checksumOf(node.payload);
    const fact = fsck(object);
    if (fact !== undefined) return { object, path, fact };
  }
  return undefined;
}

/** Seals every object of the image and returns their number. Throws `object-digest-mismatch`, naming path and checksum. */
export function sealObjects(sealing: Sealing, repoPath: string, seal: Sealer): number {
  const objects = objectsOf(sealing);
  for (const { path, payload, digest } of objects) {
    const measured = seal(join(repoPath, 'objects', payload));
    if (!equalBytes(measured, digest)) {
      throw refused(
        'object-digest-mismatch',
        `cannot seal commit ${sealing.verdict.checksum}: object ${checksumOf(payload)}, ${printable(path)}, measures ${hex(measured)}, the signed image has ${hex(digest)}`,
        'delete the object and pull the commit again: ostree fsck --delete',
      );
    }
  }
  return objects.length;
}

/**
 * Puts the image into a deployment and seals it: complete under a temporary name first, then renamed. The
 * deployment's root is immutable afterwards if it was before.
 */
export function sealDeployment(
  sealing: Sealing,
  deploymentPath: string,
  seal: Sealer,
  durability: Durability,
): void {
  const path = join(deploymentPath, DEPLOYMENT_IMAGE);
  const temporary = `${path}.tmp`;
  const wasImmutable = setImmutable(deploymentPath, false);
  try {
    rmSync(temporary, { force: true });
    writeNewFile(temporary, sealing.image, durability);
    const measured = seal(temporary);
    if (!equalBytes(measured, sealing.verdict.digest)) {
      throw refused(
        'image-digest-mismatch',
        `cannot seal ${deploymentPath}: ${DEPLOYMENT_IMAGE} measures ${hex(measured)}, signed is ${hex(sealing.verdict.digest)}`,
      );
    }
    renameSync(temporary, path);
    if (durability === 'durable') syncDirectory(deploymentPath);
  } finally {
    if (wasImmutable) setImmutable(deploymentPath, true);
  }
}

function writeNewFile(path: string, bytes: Uint8Array, durability: Durability): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    let done = 0;
    while (done < bytes.length) done += writeSync(fd, bytes, done);
    if (durability === 'durable') fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
