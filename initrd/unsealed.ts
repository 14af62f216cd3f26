/**
 * A boot that the policy does not seal: of what is on the disk nothing is verified, and all of it is taken as it is, but
 * for the ways in which it is opened.
 */

import { ascii } from '../src/formats/encoding.ts';
import { refused, SealrootError } from '../src/formats/errors.ts';
import { keyfileBoolean, parseKeyfile } from '../src/formats/keyfile.ts';
import type { MountFacts } from '../src/formats/mount-plan.ts';
import type { Policy } from '../src/formats/policy.ts';
import type { Chosen } from './choose.ts';
import { type Deployment, openDeployment, type PhysicalRoot } from './deployment.ts';
import { readBelow, typeBelow } from './files.ts';
import { type OpenImage, openImageFile } from './image.ts';
import { isReadOnly } from './mount-flags.ts';
import { warn } from './report.ts';
import type { Trust } from './trust.ts';

export function chooseUnsealed(root: PhysicalRoot, trust: Trust, argument: string): Chosen {
  if (argument === 'latest') {
    throw refused(
      'no-candidate',
      'cannot choose the latest deployment: signed timestamps say which that is, and the policy is not sealed',
    );
  }
  const deployment = openDeployment(root, ascii(argument));
  const policy = withRepositorySetting(root, trust.policy);
  const { path, checksum } = deployment;
  return {
    root,
    trust: { ...trust, policy },
    choice: { deployment, verdict: undefined, kernel: undefined },
    decision: { deployment: path, checksum, verdict: undefined, policy, passedOver: [] },
  };
}

const REPOSITORY_CONFIG = ascii('ostree/repo/config');
const MAX_CONFIG_BYTES = 64 * 1024;

/** Before it had a file of its own, sysroot.readonly was the repository's; as in ostree it counts where nothing needs composefs. */
function withRepositorySetting(root: PhysicalRoot, policy: Policy): Policy {
  if (policy.sysrootReadonly || policy.composefs === 'yes') return policy;
  try {
    const codes = { missing: 'not-a-regular-file', unsafe: 'not-a-regular-file' };
    const config = readBelow(root, REPOSITORY_CONFIG, MAX_CONFIG_BYTES, codes);
    const keyfile = parseKeyfile(config, REPOSITORY_CONFIG);
    return {
      ...policy,
      sysrootReadonly: keyfileBoolean(keyfile, 'sysroot', 'readonly', REPOSITORY_CONFIG) === true,
    };
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    warn(`cannot follow sysroot.readonly of ${REPOSITORY_CONFIG}: ${error.message}`);
    return policy;
  }
}

/** undefined where the policy does without an image, or could do with one and there is none. */
export function openUnsealedImage({ trust, choice }: Chosen): OpenImage | undefined {
  const { composefs, rootTransient } = trust.policy;
  if (composefs === 'no') return undefined;
  try {
    return openImageFile(choice.deployment.directory);
  } catch (error) {
    const isMissing = error instanceof SealrootError && error.code === 'image-missing';
    // Without an image there is nothing that a transient root could lie over.
    if (composefs === 'maybe' && isMissing && rootTransient === 'no') return undefined;
    throw error;
  }
}

const USR_OVERLAY_WORK = ascii('.usr-ovl-work');

/** Of `ostree admin unlock --hotfix`. What was mounted read-only stays so. */
export function usrOverlayOf(root: PhysicalRoot, deployment: Deployment): MountFacts['usrOverlay'] {
  if (typeBelow(deployment.directory, USR_OVERLAY_WORK) === undefined) return undefined;
  return isReadOnly(root.place) ? 'read-only' : 'writable';
}
