/**
 * sealroot-prepare-root [PHYSICAL-ROOT]: the last word before the switch to the real root. Reads policy and keys
 * from the initramfs and the kernel's `ostree=`, takes the verdict on the deployment's commit, measures its image and
 * mounts exactly that. Any exception refuses the boot: exit status 1, or 4 when a system call failed.
 */

import { findKernelArgument, kernelArguments } from '../src/formats/cmdline.ts';
import { ascii, type ByteString, hex, printable, toByteString } from '../src/formats/encoding.ts';
import { refused, usageError } from '../src/formats/errors.ts';
import { type PublicKey, parsePublicKeys } from '../src/formats/keys.ts';
import { MAX_COMMIT_BYTES } from '../src/formats/ostree-objects.ts';
import { type Policy, parsePolicy } from '../src/formats/policy.ts';
import { decide, type Verdict } from '../src/formats/verdict.ts';
import { type Deployment, openDeployment, openPhysicalRoot, type PhysicalRoot } from './deployment.ts';
import { gatherFacts } from './facts.ts';
import { readBelow, readOwn } from './files.ts';
import { openMeasuredImage } from './image.ts';
import { planMounts } from './plan.ts';
import { refuse, succeed, warn } from './report.ts';
import { runPlan } from './run-plan.ts';
import * as sys from './sys.ts';

const POLICY_PATH = ascii('/usr/lib/sealroot/prepare-root.conf');
const CMDLINE_PATH = ascii('/proc/cmdline');
const DEFAULT_ROOT = ascii('/sysroot');

/** Policy, keys and command line are small; more is somebody's mistake. */
const MAX_OWN_BYTES = 64 * 1024;

/** ostree's own switches. They may turn checks off, so none of them is followed. */
const IGNORED_ARGUMENTS = 'ostree.prepare-root.';

function prepareRoot(): void {
  const policy = loadPolicy();
  const { keys, file } = loadKeys(policy);
  const root = openPhysicalRoot(rootArgument());
  const deployment = openDeployment(root, deploymentArgument());
  const verdict = takeVerdict(root, deployment, keys);
  const image = openMeasuredImage(deployment.directory, verdict.digest);
  runPlan(planMounts({ ...gatherFacts(root, deployment), policy, keys: file }), root, image);
  succeed(`mounted ${verdict.checksum} (digest ${hex(verdict.digest)}, key line ${verdict.keyLine})`);
}

function rootArgument(): ByteString {
  const [, root, ...rest] = sys.programArguments();
  if (rest.length > 0) {
    throw usageError('usage', 'cannot use more than one argument', 'sealroot-prepare-root [PHYSICAL-ROOT]');
  }
  return root ?? DEFAULT_ROOT;
}

function loadPolicy(): Policy {
  const bytes = readOwn(POLICY_PATH, MAX_OWN_BYTES);
  if (bytes === undefined) {
    throw refused(
      'policy-missing',
      `cannot read ${POLICY_PATH}: ENOENT`,
      'rebuild the initramfs with its dracut module sealroot',
    );
  }
  return parsePolicy(bytes, POLICY_PATH);
}

function loadKeys({ keypath }: Policy): { keys: readonly PublicKey[]; file: Uint8Array } {
  const file = readOwn(keypath, MAX_OWN_BYTES);
  if (file === undefined) {
    throw refused(
      'keys-missing',
      `cannot read ${printable(keypath)}: ENOENT`,
      'rebuild the initramfs with the public key of the signer',
    );
  }
  const { keys, warnings } = parsePublicKeys(file);
  for (const warning of warnings) warn(`${warning}, in ${printable(keypath)}`);
  return { keys, file };
}

function deploymentArgument(): ByteString {
  const cmdline = toByteString(readOwn(CMDLINE_PATH, MAX_OWN_BYTES) ?? new Uint8Array(0));
  for (const { key } of kernelArguments(cmdline)) {
    if (key.startsWith(IGNORED_ARGUMENTS)) {
      warn(`cannot follow kernel argument ${printable(key)}: only ${POLICY_PATH} decides`);
    }
  }
  const argument = findKernelArgument(cmdline, 'ostree');
  if (argument === undefined || argument === '') {
    throw refused(
      'cmdline-ostree-missing',
      `cannot choose a deployment: ${CMDLINE_PATH} has no ostree=`,
      'boot an entry that ostree wrote',
    );
  }
  return argument;
}

function takeVerdict(root: PhysicalRoot, deployment: Deployment, keys: readonly PublicKey[]): Verdict {
  const { checksum } = deployment;
  const verdict = decide({
    commit: readObject(root, checksum, 'commit', 'commit-missing'),
    checksum,
    commitmeta: readObject(root, checksum, 'commitmeta', 'commitmeta-missing'),
    keys,
    hasher: sys.hasher,
  });
  for (const warning of verdict.warnings) warn(warning);
  return verdict;
}

function readObject(root: PhysicalRoot, checksum: string, type: string, missing: string): Uint8Array {
  const path = `ostree/repo/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}` as ByteString;
  return readBelow(root, path, MAX_COMMIT_BYTES, { missing, unsafe: 'not-a-regular-file' });
}

try {
  prepareRoot();
  sys.exit(0);
} catch (error) {
  sys.exit(refuse(error));
}
