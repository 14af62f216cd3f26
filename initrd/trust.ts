/** What this initramfs trusts: its policy, its public keys, and those of them that count no more. */

import type { KernelArgument } from '../src/formats/cmdline.ts';
import { ascii, type ByteString, printable } from '../src/formats/encoding.ts';
import { refused } from '../src/formats/errors.ts';
import { type PublicKey, parsePublicKeys, parseRevokedKeys } from '../src/formats/keys.ts';
import type { TrustFiles } from '../src/formats/mount-plan.ts';
import { type Policy, parsePolicy } from '../src/formats/policy.ts';
import type { Demands } from '../src/formats/verdict.ts';
import { readOwn } from './files.ts';

export const POLICY_PATH = ascii('/usr/lib/sealroot/prepare-root.conf');

/** Policy, keys and command line are small; more is somebody's mistake. */
export const MAX_OWN_BYTES = 64 * 1024;

export interface Trust {
  readonly policy: Policy;
  readonly keys: readonly PublicKey[];
  readonly demands: Demands;
  readonly files: TrustFiles;
  /** Of lines that are no keys. */
  readonly warnings: readonly string[];
}

/** Where to look, other than in the running initramfs. */
export interface TrustSource {
  readonly policyPath?: ByteString;
  /** What stands before the paths of the keys. */
  readonly tree?: ByteString;
  readonly kernelArguments?: readonly KernelArgument[];
}

export function loadPolicy(source: TrustSource): { policy: Policy; file: Uint8Array } {
  const path = source.policyPath ?? POLICY_PATH;
  const file = readOwn(path, MAX_OWN_BYTES);
  if (file === undefined) throw refused('policy-missing', `cannot read ${printable(path)}: ENOENT`);
  return { policy: parsePolicy(file, printable(path), source.kernelArguments), file };
}

/** Throws the refusals of policy and keys. An unsealed boot asks for no keys. */
export function loadTrust(source: TrustSource): Trust {
  const { policy, file: policyFile } = loadPolicy(source);
  if (!policy.sealed) {
    const files = { policy: policyFile, keys: undefined, revoked: undefined };
    return { policy, keys: [], demands: { ...policy.demands, revoked: [] }, files, warnings: [] };
  }
  const keyPath = `${source.tree ?? ''}${policy.keypath}` as ByteString;
  const keyFile = readOwn(keyPath, MAX_OWN_BYTES);
  if (keyFile === undefined) throw refused('keys-missing', `cannot read ${printable(keyPath)}: ENOENT`);
  const { keys, warnings } = parsePublicKeys(keyFile);
  const revokedPath = `${keyPath}.revoked` as ByteString;
  const revokedFile = readOwn(revokedPath, MAX_OWN_BYTES);
  const revoked = revokedFile === undefined ? [] : parseRevokedKeys(revokedFile, printable(revokedPath));
  return {
    policy,
    keys,
    demands: { ...policy.demands, revoked },
    files: { policy: policyFile, keys: keyFile, revoked: revokedFile },
    warnings: warnings.map((warning) => `${warning}, in ${printable(keyPath)}`),
  };
}
