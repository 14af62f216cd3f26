/**
 * sealroot-prepare-root [PHYSICAL-ROOT]: the last word before the switch to the real root. Reads policy and keys
 * from the initramfs and the kernel's `ostree=`, takes the verdict on the deployment's commit, measures its image and
 * mounts exactly that. Any exception refuses the boot: exit status 1, or 4 when a system call failed.
 *
 * --plan [PHYSICAL-ROOT] prints as JSON what would be booted and how, --check-policy POLICY [TREE] says whether an
 * initramfs with this policy and the keys of TREE could boot, and --failure-action how a boot that failed is to end.
 */

import { bootedRecord, type Decision } from '../src/formats/boot-report.ts';
import { ascii, type ByteString, fromByteString, hex } from '../src/formats/encoding.ts';
import { SealrootError } from '../src/formats/errors.ts';
import { encodeJson } from '../src/formats/json.ts';
import { choose, planOf, withImage } from './choose.ts';
import { deviceNumber } from './facts.ts';
import { seldom } from './load.ts';
import { Phases } from './phases.ts';
import { noteDeployment, refuse, speakToCallerOnly, succeed, warn } from './report.ts';
import { runPlan, writeFile } from './run-plan.ts';
import * as sys from './sys.ts';

const DEFAULT_ROOT = ascii('/sysroot');
const RECORD_PATH = ascii('/run/sealroot/booted.json');

function prepareRoot(path: ByteString): void {
  const phases = new Phases();
  const booted = choose(path, phases, (chosen) => {
    const { path: below, status } = chosen.choice.deployment;
    noteDeployment(chosen.root.place, below, deviceNumber(status.device), status.inode);
    return withImage(chosen, (image) => {
      phases.end('image');
      runPlan(planOf(chosen, image), chosen.root, image);
      phases.end('mounts');
      return { ...chosen.decision, rebuiltFor: image?.rebuiltFor };
    });
  });
  recordBoot(booted, phases);
  const { checksum, verdict } = booted;
  const proof =
    verdict === undefined ? 'not sealed' : `digest ${hex(verdict.digest)}, key line ${verdict.key.line}`;
  succeed(`mounted ${checksum} (${proof})`);
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

/** The exit status. */
function main(): number {
  const words = sys.programArguments().slice(1);
  const [root = DEFAULT_ROOT, ...rest] = words;
  if (root.startsWith('--')) speakToCallerOnly();
  try {
    if (root.startsWith('-') || rest.length > 0) seldom().answerQuestion(words);
    else prepareRoot(root);
    return 0;
  } catch (error) {
    return refuse(error);
  }
}

sys.exit(main());
