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
import { buildImage } from '../adapters/image.ts';
import { setImmutable } from '../adapters/inode-attributes.ts';
import type { ObjectStore } from '../adapters/object-store.ts';
import { equalBytes } from '../formats/bytes.ts';
import { type ByteString, hex, printable } from '../formats/encoding.ts';
import { imageObjects } from '../formats/erofs-read.ts';
import { refused } from '../formats/errors.ts';
import type { PublicKey } from '../formats/keys.ts';
import { decide, type Verdict } from '../formats/verdict.ts';

/** Where ostree keeps a deployment's composefs image (ostree-prepare-root(1)). */
export const DEPLOYMENT_IMAGE = '.ostree.cfs';

/** Makes a file a verity file, whether by the kernel or offline, and returns its digest. Fine with one that is. */
export type Sealer = (path: string) => Uint8Array;

export interface SealedObject {
  /** Where the image uses it, for messages. */
  path: ByteString;
  /** Below objects/ of the repository. */
  payload: ByteString;
  digest: Uint8Array;
  size: number;
}

export interface Sealing {
  verdict: Verdict;
  /** The bytes whose fs-verity digest the commit's signature covers. */
  image: Uint8Array;
  /** One for each object of the repository that the image refers to, however often it does. */
  objects: SealedObject[];
}

/**
 * Takes the verdict and makes the image. Throws the verdict's refusals, and `image-digest-mismatch` when the objects
 * do not make the image that was signed; `findCorrupt` is asked then for the object to blame.
 */
export function planSealing(
  store: ObjectStore,
  checksum: string,
  keys: readonly PublicKey[],
  findCorrupt?: (checksums: string[]) => { checksum: string; fact: string } | undefined,
): Sealing {
  const commitmeta = store.commitMeta(checksum);
  const verdict = decide({ commit: store.commit(checksum), checksum, commitmeta, keys, hasher: nodeHasher });
  const { image, digest } = buildImage(store, checksum);
  const objects = distinctObjects(image);
  if (!equalBytes(digest, verdict.digest)) {
    const corrupt = findCorrupt?.(objects.map((object) => checksumOf(object.payload)));
    if (corrupt !== undefined) throw corruptObject(checksum, objects, corrupt);
    throw refused(
      'image-digest-mismatch',
      `cannot seal commit ${checksum}: its objects make the image ${hex(digest)}, signed is ${hex(verdict.digest)}`,
      'check the repository with ostree fsck',
    );
  }
  return { verdict, image, objects };
}

/** `xx/rest.file` -> the object's checksum. */
function checksumOf(payload: ByteString): string {
  return `${payload.slice(0, 2)}${payload.slice(3, 65)}`;
}

function distinctObjects(image: Uint8Array): SealedObject[] {
  const objects = new Map<ByteString, SealedObject>();
  for (const { path, payload, digest, size } of imageObjects(image)) {
    if (digest === undefined) {
      throw refused(
        'object-digest-missing',
        `cannot seal ${printable(path)}: the image names no digest for it`,
      );
    }
    if (!objects.has(payload)) objects.set(payload, { path, payload, digest, size });
  }
  return [...objects.values()];
}

function corruptObject(
  commit: string,
  objects: readonly SealedObject[],
  corrupt: { checksum: string; fact: string },
): Error {
  const path = objects.find((object) => checksumOf(object.payload) === corrupt.checksum)?.path ?? '?';
  return refused(
    'object-corrupt',
    `cannot seal commit ${commit}: object ${corrupt.checksum}, ${printable(path)}, is corrupt: ${corrupt.fact}`,
    'delete the object and pull the commit again: ostree fsck --delete',
  );
}

/** Seals every object of the image. Throws `object-digest-mismatch`, naming path and checksum. */
export function sealObjects(sealing: Sealing, repoPath: string, seal: Sealer): void {
  for (const { path, payload, digest } of sealing.objects) {
    const measured = seal(join(repoPath, 'objects', payload));
    if (!equalBytes(measured, digest)) {
      throw refused(
        'object-digest-mismatch',
        `cannot seal commit ${sealing.verdict.checksum}: object ${checksumOf(payload)}, ${printable(path)}, measures ${hex(measured)}, the signed image has ${hex(digest)}`,
        'delete the object and pull the commit again: ostree fsck --delete',
      );
    }
  }
}

/**
 * Puts the image into a deployment and seals it: complete under a temporary name first, then renamed. The
 * deployment's root is immutable afterwards if it was before.
 */
export function sealDeployment(sealing: Sealing, deploymentPath: string, seal: Sealer): void {
  const path = join(deploymentPath, DEPLOYMENT_IMAGE);
  const temporary = `${path}.tmp`;
  const wasImmutable = setImmutable(deploymentPath, false);
  try {
    rmSync(temporary, { force: true });
    writeNewFile(temporary, sealing.image);
    const measured = seal(temporary);
    if (!equalBytes(measured, sealing.verdict.digest)) {
      throw refused(
        'image-digest-mismatch',
        `cannot seal ${deploymentPath}: ${DEPLOYMENT_IMAGE} measures ${hex(measured)}, signed is ${hex(sealing.verdict.digest)}`,
      );
    }
    renameSync(temporary, path);
    syncDirectory(deploymentPath);
  } finally {
    if (wasImmutable) setImmutable(deploymentPath, true);
  }
}

function writeNewFile(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    let done = 0;
    while (done < bytes.length) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
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
