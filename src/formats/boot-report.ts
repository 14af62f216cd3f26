/**
 * What a boot decided, as plain data: the record of the booted system and the plan that is printed on request. One
 * shape for the initramfs and for the host.
 */

import { type ByteString, base64, hex } from './encoding.ts';
import type { Json } from './json.ts';
import type { MountStep } from './mount-plan.ts';
import type { Policy } from './policy.ts';
import type { Verdict } from './verdict.ts';

/** A deployment that was passed over, and why. */
export interface PassedOver {
  readonly deployment: ByteString;
  readonly code: string;
  readonly message: string;
}

export interface Decision {
  /** Below the physical root. */
  readonly deployment: ByteString;
  /** The commit's name as the deployment gives it. */
  readonly checksum: string;
  /** undefined: the policy is not sealed, and nobody has looked. */
  readonly verdict: Verdict | undefined;
  readonly policy: Policy;
  /** Refused before this one. */
  readonly passedOver: readonly PassedOver[];
  /** What is wrong with the image on the disk, when another was built in memory. */
  readonly rebuiltFor?: { readonly code: string; readonly message: string } | undefined;
}

/** What is said, beside the plan or the record, of an image that was built again. */
export function rebuiltWarning({ code, message }: NonNullable<Decision['rebuiltFor']>): string {
  return `cannot use the image on the disk: ${code}: ${message}; it was built again in memory`;
}

/** A part of the boot and what it took. */
export interface Phase {
  readonly name: string;
  readonly microseconds: number;
}

function decisionOf({ deployment, checksum, verdict, policy, passedOver, rebuiltFor }: Decision) {
  return {
    deployment,
    commit: checksum,
    // Of a commit of bootc's: the one that is signed.
    ...(verdict === undefined || verdict.checksum === checksum ? {} : { baseCommit: verdict.checksum }),
    ...(verdict === undefined ? {} : verified(verdict, policy)),
    policy: {
      sealed: policy.sealed,
      ...(policy.sealed ? {} : { composefs: policy.composefs, verity: policy.requiresVerity }),
      ...(policy.etcTransient ? { etcTransient: true } : {}),
      ...(policy.rootTransient === 'no' ? {} : { rootTransient: policy.rootTransient }),
      sysrootReadonly: policy.sysrootReadonly,
      refs: policy.demands.refs,
      minTimestamp: policy.demands.minTimestamp,
      onFailure: policy.onFailure,
      shell: policy.allowsShell,
    },
    passedOver: passedOver.map(({ deployment: path, code, message }) => ({
      deployment: path,
      code,
      message,
    })),
    ...(rebuiltFor === undefined
      ? {}
      : { rebuiltFor: { code: rebuiltFor.code, message: rebuiltFor.message } }),
  };
}

function verified({ commit, digest, key }: Verdict, { keypath }: Policy) {
  return {
    timestamp: commit.timestamp,
    digest: hex(digest),
    key: { publicKey: base64(key.bytes), file: keypath, line: key.line },
  };
}

/** /run/sealroot/booted.json. */
export function bootedRecord(decision: Decision, phases: readonly Phase[]): Json {
  const microseconds: Record<string, number> = {};
  // A phase comes again for every deployment that was tried.
  for (const { name, microseconds: taken } of phases) microseconds[name] = (microseconds[name] ?? 0) + taken;
  return { ...decisionOf(decision), microseconds };
}

/** The decision and the steps; of a file that would be written, its size. */
export function plannedBoot(decision: Decision, steps: readonly MountStep[]): Json {
  return { ...decisionOf(decision), steps: steps.map(stepOf) };
}

function stepOf(step: MountStep): Json {
  if (step.step !== 'write-file') return { ...step };
  const { path, mode, content } = step;
  return { step: step.step, path, mode, bytes: content.length };
}
