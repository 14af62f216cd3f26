/**
 * `sealroot admin deploy`: a deployment that will pass the verdict at boot, or none. Everything that can be refused
 * is refused before libostree checks anything out; the rest before a boot loader entry names the deployment.
 */

import { requireVeritySupport, sealFile } from '../adapters/kernel-verity.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { syncFileSystem } from '../adapters/sync.ts';
import { openSysroot, type Sysroot } from '../adapters/sysroot.ts';
import { hex } from '../formats/encoding.ts';
import { refused } from '../formats/errors.ts';
import { blameObject, judgeBeside, makeSignedImage, sealDeployment, sealObjects } from './seal-deployment.ts';
import { doubtOfTree } from './tree-trust.ts';
import { type KeyPlace, loadTrustedKeys, type TrustedKeys } from './trusted-keys.ts';

export interface AdminDeployOptions {
  sysroot: string;
  os: string;
  /** A branch of the sysroot's repository, or a checksum. Nothing is fetched. */
  refspec: string;
  /** Files of public keys; none: those that the booted initramfs has recorded. */
  pubkeys: readonly string[];
  /** Appended to the kernel arguments of the deployment that this one follows. */
  kargs?: readonly string[];
  onProgress?: (message: string) => void;
}

export interface AdminDeployResult {
  os: string;
  commit: string;
  serial: number;
  /** Path of the deployment. */
  deployment: string;
  digest: string;
  key: KeyPlace;
  /** Objects that have fs-verity now, the image not counted. */
  objects: number;
  kernelArguments: string;
  warnings: string[];
}

/** Throws what the verdict throws, `verity-unsupported`, `object-digest-mismatch`, `image-digest-mismatch`, ... */
export async function adminDeploy(options: AdminDeployOptions): Promise<AdminDeployResult> {
  const progress = options.onProgress ?? (() => undefined);
  const trusted = loadTrustedKeys(options.pubkeys);
  const onWait = () => progress('waiting for the lock of the sysroot');
  const sysroot = await openSysroot(options.sysroot, { lock: true, onWait });
  try {
    const checksum = sysroot.resolveRev(options.refspec);
    try {
      return deployLocked(sysroot, checksum, trusted, options, progress);
    } catch (error) {
      throw await blameObject(error, sysroot.repoPath, checksum);
    }
  } finally {
    sysroot.close();
  }
}

function deployLocked(
  sysroot: Sysroot,
  checksum: string,
  trusted: TrustedKeys,
  options: AdminDeployOptions,
  progress: (message: string) => void,
): AdminDeployResult {
  const { os, refspec, kargs = [] } = options;
  const store = openObjectStore(sysroot.repoPath, { digests: 'measure-first' });
  requireBare(store);
  const others = sysroot.deployments().map((one) => one.checksum);
  const verdict = judgeBeside(store, checksum, trusted, others);
  requireVeritySupport(sysroot.repoPath);
  progress(`making the image of commit ${checksum}`);
  const sealing = makeSignedImage(store, verdict);
  progress('enabling fs-verity on the objects');
  const objects = sealObjects(sealing, sysroot.repoPath, sealFile);
  progress('deploying');
  const warnings = [...trusted.warnings, ...sealing.verdict.warnings];
  const made = sysroot.deploy({
    os,
    checksum,
    refspec,
    kernelArguments: kargs.length === 0 ? undefined : [...sysroot.inheritedKernelArguments(os), ...kargs],
    beforeBootLoader: (path) => {
      sealDeployment(sealing, path, sealFile, 'durable');
      const doubt = doubtOfTree(path, store, checksum);
      if (doubt !== undefined) warnings.push(doubt);
      syncFileSystem(path);
    },
  });
  return {
    os,
    commit: checksum,
    serial: made.serial,
    deployment: made.path,
    digest: hex(sealing.verdict.digest),
    key: trusted.placeOf(sealing.verdict.key.line),
    objects,
    kernelArguments: made.kernelArguments,
    warnings,
  };
}

/** Overlayfs reads the content of a file object as it stands in the repository: only mode bare has it there as it is. */
function requireBare(store: ObjectStore): void {
  if (store.mode === 'bare') return;
  throw refused(
    'repo-mode-unsupported',
    `cannot deploy from ${store.path}: its mode is ${store.mode}, expected bare`,
  );
}
