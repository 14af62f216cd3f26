/** `sealroot admin status`: what each deployment of a sysroot is worth. Changes nothing and takes no lock. */

import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { measureFile } from '../adapters/kernel-verity.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { type Deployment, openSysroot } from '../adapters/sysroot.ts';
import { hex } from '../formats/encoding.ts';
import { SealrootError } from '../formats/errors.ts';
import { parseCommit } from '../formats/ostree-objects.ts';
import { readDigest } from '../formats/verdict.ts';
import { type BootRecord, readBootRecord } from './boot-record.ts';
import { DEPLOYMENT_IMAGE } from './image-mismatch.ts';
import { judgeBeside } from './seal-deployment.ts';
import { type KeyPlace, loadTrustedKeys, type TrustedKeys } from './trusted-keys.ts';

export interface AdminStatusOptions {
  sysroot: string;
  /** As for `admin deploy`. */
  pubkeys: readonly string[];
}

/** `unknown`: there are no keys to judge by. */
export type SignatureState =
  | { state: 'valid'; key: KeyPlace }
  | { state: 'refused'; code: string; message: string }
  | { state: 'unknown' };

/**
 * sealed: the kernel enforces the digest that the commit names. no-verity: it enforces none, and the boot will
 * refuse. unreadable: this kernel cannot even open the file, e.g. for want of fs-verity.
 */
export type ImageState =
  | 'sealed'
  | 'missing'
  | 'no-verity'
  | 'wrong-digest'
  | 'unreadable'
  | 'digest-unknown';

export interface DeploymentStatus {
  os: string;
  commit: string;
  serial: number;
  path: string;
  refspec?: string;
  booted: boolean;
  staged: boolean;
  pinned: boolean;
  signature: SignatureState;
  /** fs-verity digest that the commit's metadata names. */
  digest?: string;
  image: ImageState;
  /** What the kernel enforces for the image. */
  imageDigest?: string;
  /** Of the booted one: how the boot came to it. */
  boot?: BootRecord;
}

export interface AdminStatusResult {
  /** In boot order. */
  deployments: DeploymentStatus[];
  warnings: string[];
}

export async function adminStatus(options: AdminStatusOptions): Promise<AdminStatusResult> {
  const warnings: string[] = [];
  const trusted = keysIfAny(options.pubkeys, warnings);
  const sysroot = await openSysroot(options.sysroot);
  try {
    const store = openObjectStore(sysroot.repoPath, { digests: 'none' });
    const all = sysroot.deployments();
    const checksums = all.map(({ checksum }) => checksum);
    const deployments = all.map((one) => statusOf(one, store, trusted, checksums));
    return { deployments, warnings };
  } finally {
    sysroot.close();
  }
}

/** Without keys the rest is still worth knowing; a file that was named must be usable, though. */
function keysIfAny(files: readonly string[], warnings: string[]): TrustedKeys | undefined {
  try {
    const trusted = loadTrustedKeys(files);
    warnings.push(...trusted.warnings);
    return trusted;
  } catch (error) {
    if (files.length > 0 || !(error instanceof SealrootError)) throw error;
    warnings.push(error.message);
    return undefined;
  }
}

function statusOf(
  deployment: Deployment,
  store: ObjectStore,
  trusted: TrustedKeys | undefined,
  all: readonly string[],
): DeploymentStatus {
  const { os, checksum, serial, path, refspec, booted, staged, pinned } = deployment;
  const { signature, digest } = verdictOn(checksum, store, trusted, all);
  const boot = booted ? bootOf(deployment) : undefined;
  const { image, imageDigest } = inspectImage(join(path, DEPLOYMENT_IMAGE), digest);
  return {
    os,
    commit: checksum,
    serial,
    path,
    ...(refspec === undefined ? {} : { refspec }),
    booted,
    staged,
    pinned,
    signature,
    ...(digest === undefined ? {} : { digest }),
    image,
    ...(imageDigest === undefined ? {} : { imageDigest }),
    ...(boot === undefined ? {} : { boot }),
  };
}

function bootOf({ path }: Deployment): BootRecord | undefined {
  const record = readBootRecord();
  return record !== undefined && path.endsWith(`/${record.deployment}`) ? record : undefined;
}

/** The boot's verdict where there are keys; the digest is told in any case, if the commit names one. */
function verdictOn(
  checksum: string,
  store: ObjectStore,
  trusted: TrustedKeys | undefined,
  all: readonly string[],
): { signature: SignatureState; digest: string | undefined } {
  try {
    const commit = store.commit(checksum);
    if (trusted === undefined)
      return { signature: { state: 'unknown' }, digest: statedDigestOf(commit, checksum) };
    try {
      const verdict = judgeBeside(store, checksum, trusted, all);
      const key = trusted.placeOf(verdict.key.line);
      return { signature: { state: 'valid', key }, digest: hex(verdict.digest) };
    } catch (error) {
      return { signature: refusal(error), digest: statedDigestOf(commit, checksum) };
    }
  } catch (error) {
    return { signature: refusal(error), digest: undefined };
  }
}

function refusal(error: unknown): SignatureState {
  if (!(error instanceof SealrootError)) throw error;
  return { state: 'refused', code: error.code, message: error.message };
}

function statedDigestOf(commit: Uint8Array, checksum: string): string | undefined {
  try {
    return hex(readDigest(parseCommit(commit).metadata, `commit ${checksum}`));
  } catch (error) {
    if (error instanceof SealrootError) return undefined;
    throw error;
  }
}

function inspectImage(path: string, digest: string | undefined): { image: ImageState; imageDigest?: string } {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return { image: 'missing' };
  let measured: Uint8Array | undefined;
  try {
    measured = measureFile(path);
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    return { image: error.code === 'verity-algorithm' ? 'wrong-digest' : 'unreadable' };
  }
  return imageState(measured, digest);
}

/** `measured` is the digest that the kernel enforces, `digest` the one that the commit names. */
export function imageState(
  measured: Uint8Array | undefined,
  digest: string | undefined,
): { image: ImageState; imageDigest?: string } {
  if (measured === undefined) return { image: 'no-verity' };
  const imageDigest = hex(measured);
  if (digest === undefined) return { image: 'digest-unknown', imageDigest };
  return { image: imageDigest === digest ? 'sealed' : 'wrong-digest', imageDigest };
}
