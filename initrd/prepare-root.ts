/**
 * sealroot-prepare-root [PHYSICAL-ROOT]: the last word before the switch to the real root. Reads policy and keys
 * from the initramfs and the kernel's `ostree=`, takes the verdict on the deployment's commit, measures its image and
 * mounts exactly that. Any exception refuses the boot: exit status 1, or 4 when a system call failed.
 *
 * --plan [PHYSICAL-ROOT] prints as JSON what would be booted and how, --check-policy POLICY [TREE] says whether an
 * initramfs with this policy and the keys of TREE could boot, and --failure-action how a boot that failed is to end.
 */

import { bootedRecord, type Decision, plannedBoot } from '../src/formats/boot-report.ts';
import { findKernelArgument, type KernelArgument, kernelArguments } from '../src/formats/cmdline.ts';
import {
  ascii,
  type ByteString,
  fromByteString,
  hex,
  printable,
  toByteString,
} from '../src/formats/encoding.ts';
import { refused, SealrootError } from '../src/formats/errors.ts';
import { encodeJson } from '../src/formats/json.ts';
import { type MountStep, planMounts } from '../src/formats/mount-plan.ts';
import { requireUsableKey } from '../src/formats/verdict.ts';
import { parseArguments } from './arguments.ts';
import { bootFirst, type Choice } from './candidates.ts';
import { openPhysicalRoot, type PhysicalRoot } from './deployment.ts';
import { deviceNumber, gatherFacts } from './facts.ts';
import { readOwn } from './files.ts';
import { type MeasuredImage, openMeasuredImage } from './image.ts';
import { Phases } from './phases.ts';
import { answer, noteDeployment, refuse, speakToCallerOnly, succeed, warn } from './report.ts';
import { runPlan, writeFile } from './run-plan.ts';
import * as sys from './sys.ts';
import { loadPolicy, loadTrust, MAX_OWN_BYTES, POLICY_PATH, type Trust } from './trust.ts';

const CMDLINE_PATH = ascii('/proc/cmdline');
const RECORD_PATH = ascii('/run/sealroot/booted.json');

interface Chosen {
  readonly root: PhysicalRoot;
  readonly trust: Trust;
  readonly choice: Choice;
  readonly decision: Decision;
}

/** Calls `use` with the deployment that is to boot, and with the next if it throws and the policy lets it. */
function choose<T>(path: ByteString, phases: Phases, use: (chosen: Chosen) => T): T {
  const given = readCommandLine();
  const trust = loadTrust({ kernelArguments: given });
  for (const warning of trust.warnings) warn(warning);
  for (const name of trust.policy.ignoredArguments) {
    warn(`cannot follow kernel argument ${printable(name)}: only ${POLICY_PATH} decides`);
  }
  phases.end('policy');
  const root = openPhysicalRoot(path);
  return bootFirst(root, trust, deploymentArgument(given), (choice, passedOver) => {
    phases.end('verdict');
    const { deployment, verdict } = choice;
    const decision = { deployment: deployment.path, verdict, policy: trust.policy, passedOver };
    return use({ root, trust, choice, decision });
  });
}

function prepareRoot(path: ByteString): void {
  const phases = new Phases();
  const booted = choose(path, phases, (chosen) => {
    const { path: below, status } = chosen.choice.deployment;
    noteDeployment(chosen.root.place, below, deviceNumber(status.device), status.inode);
    const image = openImage(chosen);
    phases.end('image');
    runPlan(planOf(chosen), chosen.root, image);
    phases.end('mounts');
    return chosen.decision;
  });
  recordBoot(booted, phases);
  const { checksum, digest, key } = booted.verdict;
  succeed(`mounted ${checksum} (digest ${hex(digest)}, key line ${key.line})`);
}

function openImage({ choice }: Chosen): MeasuredImage {
  return openMeasuredImage(choice.deployment.directory, choice.verdict.digest);
}

function planOf({ root, trust, choice }: Chosen): MountStep[] {
  const facts = gatherFacts(root, choice.deployment);
  // ostree's generator, which else mounts /var, takes the stateroot from `ostree=`; here that names another or none.
  const mountsVar = facts.mountsVar || choice.kernel !== undefined;
  return planMounts({ ...facts, mountsVar, trust, kernel: choice.kernel });
}

/** For people: the boot does not depend on it. */
function recordBoot(booted: Decision, { done }: Phases): void {
  const record = `${encodeJson(bootedRecord(booted, done))}\n` as ByteString;
  try {
    writeFile(RECORD_PATH, fromByteString(record), 0o444);
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    warn(error.message);
  }
}

/** Takes the decision of a boot and prints it, with the steps that would follow. Touches nothing. */
function planBoot(path: ByteString): void {
  const plan = choose(path, new Phases(), (chosen) => {
    sys.close(openImage(chosen).fd);
    return plannedBoot(chosen.decision, planOf(chosen));
  });
  answer([encodeJson(plan)]);
}

function readCommandLine(): KernelArgument[] {
  return kernelArguments(toByteString(readOwn(CMDLINE_PATH, MAX_OWN_BYTES) ?? new Uint8Array(0)));
}

function deploymentArgument(given: readonly KernelArgument[]): ByteString {
  const argument = findKernelArgument(given, 'ostree');
  if (argument !== undefined && argument !== '') return argument;
  throw refused('cmdline-ostree-missing', `cannot choose a deployment: ${CMDLINE_PATH} has no ostree=`);
}

/** One `name=value` a line, for a shell. */
function checkPolicy(policyPath: ByteString, tree: ByteString): void {
  const { policy, keys, warnings } = loadTrust({ policyPath, tree });
  requireUsableKey(keys);
  for (const warning of warnings) warn(warning);
  answer([`sealed=${policy.sealed}`, `keypath=${policy.keypath}`, `shell=${policy.allowsShell}`]);
}

/** One word. What the next deployment could do has been tried by then. */
function failureAction(): void {
  const { onFailure } = loadPolicy({ kernelArguments: readCommandLine() }).policy;
  answer([onFailure === 'next-deployment' ? 'emergency' : onFailure]);
}

/** The exit status. */
function main(): number {
  const words = sys.programArguments().slice(1);
  if (words[0]?.startsWith('--')) speakToCallerOnly();
  try {
    const invocation = parseArguments(words);
    if (invocation.mode === 'boot') prepareRoot(invocation.root);
    else if (invocation.mode === 'plan') planBoot(invocation.root);
    else if (invocation.mode === 'check-policy') checkPolicy(invocation.policy, invocation.tree);
    else failureAction();
    return 0;
  } catch (error) {
    return refuse(error);
  }
}

sys.exit(main());
