/** What is to boot and how: from the initramfs's policy and the kernel's arguments to a deployment and a mount plan. */

import { type Decision, rebuiltWarning } from '../src/formats/boot-report.ts';
import { findKernelArgument, type KernelArgument, kernelArguments } from '../src/formats/cmdline.ts';
import { ascii, type ByteString, printable, toByteString } from '../src/formats/encoding.ts';
import { refused } from '../src/formats/errors.ts';
import { type MountStep, planMounts } from '../src/formats/mount-plan.ts';
import { rebuildsFor } from '../src/formats/policy.ts';
import { bootFirst, type Choice } from './candidates.ts';
import { openPhysicalRoot, type PhysicalRoot } from './deployment.ts';
import { gatherFacts } from './facts.ts';
import { readOwn } from './files.ts';
import { type OpenImage, openMeasuredImage } from './image.ts';
import { seldom } from './load.ts';
import type { Phases } from './phases.ts';
import { warn } from './report.ts';
import { loadTrust, MAX_OWN_BYTES, POLICY_PATH, type Trust } from './trust.ts';

const CMDLINE_PATH = ascii('/proc/cmdline');

export interface Chosen {
  readonly root: PhysicalRoot;
  readonly trust: Trust;
  readonly choice: Choice;
  readonly decision: Decision;
}

/** Calls `use` with the deployment that is to boot, and with the next if it throws and the policy lets it. */
export function choose<T>(path: ByteString, phases: Phases, use: (chosen: Chosen) => T): T {
  const given = readCommandLine();
  const trust = loadTrust({ kernelArguments: given });
  for (const warning of trust.warnings) warn(warning);
  for (const name of trust.policy.ignoredArguments) {
    warn(`cannot follow kernel argument ${printable(name)}: only ${POLICY_PATH} decides`);
  }
  phases.end('policy');
  const root = openPhysicalRoot(path);
  const argument = deploymentArgument(given);
  if (!trust.policy.sealed) return use(seldom().chooseUnsealed(root, trust, argument));
  return bootFirst(root, trust, argument, (choice, passedOver) => {
    phases.end('verdict');
    const { deployment, verdict } = choice;
    const { path: below, checksum } = deployment;
    const decision = { deployment: below, checksum, verdict, policy: trust.policy, passedOver };
    return use({ root, trust, choice, decision });
  });
}

/**
 * Calls `use` with the image of the deployment, and, where the policy lets it, with one built from the commit's objects
 * when that one is not the signed one, or turns out to be damaged. undefined: the deployment's own tree is to be the
 * root, which only a policy that is not sealed allows.
 */
export function withImage<T>(chosen: Chosen, use: (image: OpenImage | undefined) => T): T {
  const { root, trust, choice } = chosen;
  const { deployment, verdict } = choice;
  if (verdict === undefined) return use(seldom().openUnsealedImage(chosen));
  try {
    return use(openMeasuredImage(deployment.directory, verdict.digest));
  } catch (error) {
    if (!rebuildsFor(trust.policy, error)) throw error;
    const image = seldom().rebuildImage(root, verdict, error);
    warn(rebuiltWarning(error));
    return use(image);
  }
}

export function planOf({ root, trust, choice }: Chosen, image: OpenImage | undefined): MountStep[] {
  const facts = gatherFacts(root, choice.deployment, trust.policy);
  // ostree's generator, which else mounts /var, takes the stateroot from `ostree=`; here that names another or none.
  const mountsVar = facts.mountsVar || choice.kernel !== undefined;
  const hasImage = image !== undefined;
  return planMounts({ ...facts, mountsVar, trust, kernel: choice.kernel, hasImage });
}

export function readCommandLine(): KernelArgument[] {
  return kernelArguments(toByteString(readOwn(CMDLINE_PATH, MAX_OWN_BYTES) ?? new Uint8Array(0)));
}

const ANDROID = 'androidboot.';

/** What `ostree=` says, or Android's boot loader, which knows slots and no deployments. */
function deploymentArgument(given: readonly KernelArgument[]): ByteString {
  if (given.some(({ key }) => key.startsWith(ANDROID))) return seldom().slotArgument(given);
  const argument = findKernelArgument(given, 'ostree');
  if (argument !== undefined && argument !== '') return argument;
  throw refused('cmdline-ostree-missing', `cannot choose a deployment: ${CMDLINE_PATH} has no ostree=`);
}
