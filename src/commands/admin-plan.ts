/**
 * `sealroot admin plan`: what sealroot-prepare-root would decide and mount for a deployment of this machine, by the
 * same verdict and the same plan. What only the initramfs knows is taken from what the present boot has recorded.
 */

import { existsSync, lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { requireMeasured, requireSealedImage } from '../adapters/deployment-image.ts';
import { readBounded, readBoundedIfExists } from '../adapters/files.ts';
import { nodeHasher } from '../adapters/hasher.ts';
import { MAX_KEY_FILE_BYTES } from '../adapters/keys.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { pathBytes } from '../adapters/syscalls.ts';
import { type Deployment, openSysroot } from '../adapters/sysroot.ts';
import { type Decision, plannedBoot, rebuiltWarning } from '../formats/boot-report.ts';
import { concatBytes } from '../formats/bytes.ts';
import { ascii, type ByteString, printable, toByteString } from '../formats/encoding.ts';
import { badInput, type SealrootError } from '../formats/errors.ts';
import type { Json } from '../formats/json.ts';
import { type MountFacts, planMounts, type TrustFiles } from '../formats/mount-plan.ts';
import type { ObjectSource } from '../formats/ostree-tree.ts';
import { type Policy, parsePolicy, rebuildsFor } from '../formats/policy.ts';
import { insteadOfDamaged, rebuiltImage } from '../formats/rebuilt-image.ts';
import type { Verdict } from '../formats/verdict.ts';
import { DEPLOYMENT_IMAGE } from './image-mismatch.ts';
import { judgeBeside } from './seal-deployment.ts';
import { loadTrustedKeys, MAX_POLICY_BYTES, TREE_POLICY, type TrustedKeys } from './trusted-keys.ts';

/** Where the initramfs has the physical root. */
const BOOT_ROOT = ascii('/sysroot');

export interface AdminPlanOptions {
  sysroot: string;
  /** CHECKSUM, or CHECKSUM.SERIAL. */
  deployment: string;
  /** As for `admin deploy`. */
  pubkeys: readonly string[];
}

export interface AdminPlanResult {
  plan: Json;
  warnings: readonly string[];
}

/** Throws what the verdict throws, `deployment-missing`, and the refusals of an image. */
export async function adminPlan(options: AdminPlanOptions): Promise<AdminPlanResult> {
  const trusted = loadTrustedKeys(options.pubkeys);
  const sysroot = await openSysroot(options.sysroot);
  try {
    const all = sysroot.deployments();
    const deployment = named(all, options.deployment);
    const store = openObjectStore(sysroot.repoPath, { digests: 'none' });
    const checksums = all.map(({ checksum }) => checksum);
    const verdict = judgeBeside(store, deployment.checksum, trusted, checksums);
    const { policy, files } = trustOf(trusted, deployment);
    const path = pathBytes(deployment.path.slice(join(sysroot.path, '/').length));
    const imageName = `${BOOT_ROOT}/${printable(path)}/${DEPLOYMENT_IMAGE}`;
    const rebuiltFor = damageOfImage(store, verdict, policy, deployment, imageName);
    const { checksum } = deployment;
    const decision: Decision = { deployment: path, checksum, verdict, policy, passedOver: [], rebuiltFor };
    const facts = factsOf(sysroot.path, deployment, path, policy);
    const steps = planMounts({ ...facts, trust: { policy, files } });
    const warnings = [...trusted.warnings, ...verdict.warnings];
    if (rebuiltFor !== undefined) warnings.push(rebuiltWarning(rebuiltFor));
    return { plan: plannedBoot(decision, steps), warnings };
  } finally {
    sysroot.close();
  }
}

function named(all: readonly Deployment[], name: string): Deployment {
  const found = all.find(({ checksum, serial }) => name === checksum || name === `${checksum}.${serial}`);
  if (found !== undefined) return found;
  throw badInput(
    'deployment-missing',
    `cannot plan the boot of ${printable(name)}: there is no such deployment`,
    'sealroot admin status lists them, as CHECKSUM.SERIAL',
  );
}

/**
 * Throws what the boot throws of the deployment's image. What is wrong with the one on the disk is returned where the
 * policy has another built and the objects give it: built here, too, and thrown away.
 */
function damageOfImage(
  store: ObjectStore,
  verdict: Verdict,
  policy: Policy,
  { path }: Deployment,
  name: string,
): SealrootError | undefined {
  try {
    requireSealedImage(join(path, DEPLOYMENT_IMAGE), name, verdict.digest);
    return undefined;
  } catch (error) {
    if (!rebuildsFor(policy, error)) throw error;
    const from = { objects: () => measuredObjects(store), hasher: nodeHasher };
    insteadOfDamaged(error, () => rebuiltImage(verdict, from));
    return error;
  }
}

/** As the initramfs reads them: of a file's content only what the kernel vouches for. */
function measuredObjects(store: ObjectStore): ObjectSource {
  return {
    dirTree: (checksum) => store.dirTree(checksum),
    dirMeta: (checksum) => store.dirMeta(checksum),
    file: (checksum) => {
      const file = store.file(checksum);
      if (file.size === 0) return file;
      const digest = requireMeasured(store.filePath(checksum), `object ${checksum}.file`);
      return { ...file, digest: toByteString(digest) };
    },
  };
}

/** The recorded policy, or, where the operator names the keys, the one that the deployment brings. */
function trustOf(trusted: TrustedKeys, deployment: Deployment): { policy: Policy; files: TrustFiles } {
  const policyFile = trusted.policyFile ?? readBounded(join(deployment.path, TREE_POLICY), MAX_POLICY_BYTES);
  const revoked = trusted.sources
    .map((file) => readBoundedIfExists(`${file}.revoked`, MAX_KEY_FILE_BYTES))
    .filter((bytes) => bytes !== undefined);
  const keys = concatBytes(trusted.sources.map((file) => readBounded(file, MAX_KEY_FILE_BYTES)));
  return {
    policy: parsePolicy(policyFile, TREE_POLICY),
    files: { policy: policyFile, keys, revoked: revoked.length === 0 ? undefined : concatBytes(revoked) },
  };
}

function factsOf(
  sysroot: string,
  deployment: Deployment,
  path: ByteString,
  policy: Policy,
): Omit<MountFacts, 'trust'> {
  const hasUsrOverlay = !policy.sealed && existsSync(join(deployment.path, '.usr-ovl-work'));
  const { dev, ino } = statSync(deployment.path, { bigint: true });
  // Not that of `/`, which is an overlay in a booted system. The encoding is that of the C libraries.
  const major = Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n));
  const minor = Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n));
  return {
    kernel: undefined,
    root: BOOT_ROOT,
    deployment: path,
    stateroot: pathBytes(deployment.os),
    device: dev,
    inode: ino,
    rootBlockDevice: major === 0 ? undefined : { major, minor },
    hasBootEntries:
      lstatSync(join(sysroot, 'boot/loader'), { throwIfNoEntry: false })?.isSymbolicLink() === true,
    mountsVar: false,
    hasImage: policy.composefs !== 'no',
    transientEtc: policy.etcTransient ? ascii('/run/ostree/transient-etc.000000') : undefined,
    usrOverlay: hasUsrOverlay ? 'writable' : undefined,
  };
}
