/** Whether an OS tree would boot itself: its own policy and keys, which its initramfs was most likely built with. */

import { join } from 'node:path';
import { readBoundedIfExists } from '../adapters/files.ts';
import { MAX_KEY_FILE_BYTES } from '../adapters/keys.ts';
import type { ObjectStore } from '../adapters/object-store.ts';
import { SealrootError } from '../formats/errors.ts';
import { parsePublicKeys } from '../formats/keys.ts';
import { parsePolicy } from '../formats/policy.ts';
import { judge } from './seal-deployment.ts';
import { loadRevokedKeys, MAX_POLICY_BYTES, TREE_POLICY } from './trusted-keys.ts';

/**
 * Says so when policy and keys in a deployed tree would refuse the commit that the tree comes from, or would not look;
 * undefined when all is well, or when it has none. Which ones the initramfs really has is not known before it runs.
 */
export function doubtOfTree(
  deploymentPath: string,
  store: ObjectStore,
  checksum: string,
): string | undefined {
  try {
    const policyBytes = readBoundedIfExists(join(deploymentPath, TREE_POLICY), MAX_POLICY_BYTES);
    if (policyBytes === undefined) return undefined;
    const { keypath, demands, sealed } = parsePolicy(policyBytes, TREE_POLICY);
    if (!sealed)
      return `the policy in the tree of commit ${checksum} is not sealed: its boot verifies nothing`;
    const inTree = keypath.startsWith('/etc/') ? `usr${keypath}` : keypath;
    const keyFile = join(deploymentPath, inTree);
    const keyBytes = readBoundedIfExists(keyFile, MAX_KEY_FILE_BYTES);
    if (keyBytes === undefined) return undefined;
    const { keys } = parsePublicKeys(keyBytes);
    judge(store, checksum, { keys, demands: { ...demands, revoked: loadRevokedKeys(keyFile) } });
    return undefined;
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    return `keys and policy in the tree of commit ${checksum} would refuse it at boot: ${error.message}`;
  }
}
