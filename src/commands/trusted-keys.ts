/**
 * Whose signatures count on this machine, and what the commits must be besides: the key files that the operator names,
 * or else what the booted initramfs has recorded. Never what comes with an update: an update does not vouch for itself.
 */

import { existsSync } from 'node:fs';
import { readBounded, readBoundedIfExists } from '../adapters/files.ts';
import { loadPublicKeys, MAX_KEY_FILE_BYTES } from '../adapters/keys.ts';
import { base64 } from '../formats/encoding.ts';
import { refused } from '../formats/errors.ts';
import { type PublicKey, parseRevokedKeys } from '../formats/keys.ts';
import { parsePolicy } from '../formats/policy.ts';
import { type Demands, NO_DEMANDS } from '../formats/verdict.ts';

/** Written by sealroot-prepare-root from the initramfs it runs in: keys, keys.revoked, prepare-root.conf. */
const RECORDED = '/run/sealroot';

/** Where an OS tree keeps the policy that its dracut module puts into the initramfs. */
export const TREE_POLICY = 'usr/lib/sealroot/prepare-root.conf';
export const MAX_POLICY_BYTES = 64 * 1024;

/** A key, and where it stands. */
export interface KeyPlace {
  /** base64 */
  publicKey: string;
  file: string;
  line: number;
}

/** What the verdict asks for beside the commit. */
export interface Trust {
  keys: readonly PublicKey[];
  demands: Demands;
}

export interface TrustedKeys extends Trust {
  warnings: string[];
  /** The key files. */
  sources: readonly string[];
  /** The policy whose demands are in here. */
  policyFile: Uint8Array | undefined;
  /** The keys' `line` counts through all files: this translates it back. */
  placeOf(keyLine: number): KeyPlace;
}

/**
 * `policy` is a file whose demands hold too; without one those that the boot has recorded, if its keys are used.
 * Throws `keys-missing` when no file is named and none is recorded, or when no line of any is a key.
 */
export function loadTrustedKeys(
  files: readonly string[],
  { recorded = RECORDED, policy }: { recorded?: string; policy?: string | undefined } = {},
): TrustedKeys {
  const hint = 'name the public key of the signer with --pubkey FILE';
  const recordedKeys = `${recorded}/keys`;
  if (files.length === 0 && !existsSync(recordedKeys)) {
    throw refused(
      'keys-missing',
      `cannot verify any commit: no public key is named, and this boot has recorded none in ${recordedKeys}`,
      hint,
    );
  }
  const sources = files.length > 0 ? files : [recordedKeys];
  const places: KeyPlace[] = [];
  const keys: PublicKey[] = [];
  const warnings: string[] = [];
  for (const file of sources) {
    const loaded = loadPublicKeys(file);
    warnings.push(...loaded.warnings.map((warning) => `${file}: ${warning}`));
    for (const { bytes, line } of loaded.keys) {
      places.push({ publicKey: base64(bytes), file, line });
      keys.push({ bytes, line: places.length });
    }
  }
  if (keys.length === 0) {
    throw refused('keys-missing', `cannot verify any commit: no usable key in ${sources.join(', ')}`, hint);
  }
  const policyFile =
    policy !== undefined
      ? readBounded(policy, MAX_POLICY_BYTES)
      : files.length === 0
        ? readBoundedIfExists(`${recorded}/prepare-root.conf`, MAX_POLICY_BYTES)
        : undefined;
  const demands = policyFile === undefined ? NO_DEMANDS : parsePolicy(policyFile, policy ?? recorded).demands;
  const revoked = sources.flatMap(loadRevokedKeys);
  return {
    keys,
    demands: { ...demands, revoked },
    warnings,
    sources,
    policyFile,
    placeOf: (line) => places[line - 1] as KeyPlace,
  };
}

/** Those in the file beside a key file, as the initramfs has them. */
export function loadRevokedKeys(keyFile: string): PublicKey[] {
  const path = `${keyFile}.revoked`;
  const bytes = readBoundedIfExists(path, MAX_KEY_FILE_BYTES);
  return bytes === undefined ? [] : parseRevokedKeys(bytes, path);
}
