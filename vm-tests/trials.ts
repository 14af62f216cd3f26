/**
 * Many boots in one guest. Each trial is a disk that somebody has tampered with, or an initramfs that trusts something
 * else, and what prepare-root must make of it. The host tampers with a copy, as for a guest of its own, and hands the
 * guest the blocks that differ; the guest writes them, runs prepare-root in a mount namespace of its own, and writes
 * the former blocks back (fast-guest/trials.sh). Nothing of a mount outlives a trial, the page cache included.
 *
 * The untampered disk is the first trial and the last one, and then the guest boots from it, to the switch of the root:
 * without these a refusal would prove nothing.
 */

import { strict as assert } from 'node:assert';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureBaseDisk } from './base-disk.ts';
import type { CaseContext, VmCase } from './case.ts';
import { type CpioEntry, directory, file } from './cpio.ts';
import { BLOCK_BYTES, type ChangedBlock, changedBlocks, restoreBlocks, runsOf } from './disk-changes.ts';
import { KEY_PATH, POLICY_PATH } from './fast-boot.ts';
import type { GuestEvent } from './guest-events.ts';
import { type Disk, GuestFailure, type Machine } from './machine.ts';
import { type Expected, requireBooted, SEALED_MOUNT, saidIn } from './outcome.ts';
import { RefusalCase, SEALED_POLICY } from './refusal.ts';

export interface Trial {
  readonly title: string;
  /** The code of the refusal; without one it boots. */
  readonly refused?: string;
  /** Of a refusal: 1 unless said otherwise. */
  readonly status?: number;
  /** Of a boot: its warnings, in this order. */
  readonly warns?: readonly RegExp[];
  readonly tamper?: (stage: RefusalCase) => void;
  /** Of the disk's kernel arguments. */
  readonly commandLine?: (line: string) => string;
  /** Files of the initramfs; `key` is the line of the one key that it trusts otherwise. */
  readonly policy?: (key: string) => string;
  readonly keys?: (key: string) => string;
  readonly revoked?: (key: string) => string;
}

const GUEST_SCRIPTS = path.join(import.meta.dirname, 'fast-guest');
/** A second each; a busy machine takes many times that. */
const SECONDS_FOR_ALL = 1500;
const WARNING_LINE = /^sealroot-prepare-root: warning: (.*)$/gm;
const UNTAMPERED: Trial = { title: 'the untampered disk' };

/** The case that runs the trials. */
export function trialCase(title: string, trials: readonly Trial[]): VmCase {
  return {
    title,
    deadlineSeconds: 2400,
    shared: trials.map((trial) => trial.title),
    run: (context) => runTrials(context, trials),
  };
}

async function runTrials(context: CaseContext, trials: readonly Trial[]): Promise<void> {
  const base = await ensureBaseDisk();
  const all = [UNTAMPERED, ...trials, UNTAMPERED];
  const stage = new RefusalCase(context, base);
  const blocks = new BlockDisk(base.rootOffset);
  const entries = await context.step('every trial has its blocks', async () => {
    const key = (await readFile(base.keys.publicKey, 'utf8')).trim();
    return all.flatMap((trial, index) => trialEntries(trial, nameOf(index), { stage, blocks, key }));
  });
  const [machine, failure] = await context.step('one guest tries them all', async () => {
    const disk = await blocks.write(path.join(context.folder, 'blocks.raw'));
    const files = { extra: [...(await guestScripts()), ...entries] };
    const started = await stage.start('trials', { files, moreDisks: [disk] });
    return [started, await failureOf(started.waitForEnd(SECONDS_FOR_ALL))] as const;
  });
  const verdict = (trial: Trial, index: number) => requireVerdict(trial, eventOf(machine, index), base);
  trials.forEach((trial, index) => {
    context.judge(trial.title, secondsOf(machine, index + 1), () => verdict(trial, index + 1));
  });
  if (failure !== undefined) throw failure;
  await context.step('the untampered disk boots before them', () => verdict(UNTAMPERED, 0));
  await context.step('and after them', () => verdict(UNTAMPERED, all.length - 1));
  await context.step('and to the switch of the root', () => requireBooted(machine, base));
}

/** A guest that ends badly has still tried some. */
async function failureOf(ended: Promise<void>): Promise<GuestFailure | undefined> {
  try {
    await ended;
    return undefined;
  } catch (error) {
    if (error instanceof GuestFailure) return error;
    throw error;
  }
}

async function guestScripts(): Promise<CpioEntry[]> {
  const script = async (name: string) =>
    file(`trials/${name}`, await readFile(path.join(GUEST_SCRIPTS, name)));
  return [directory('trials'), await script('trials.sh'), await script('trial.sh')];
}

/** The blocks of all trials as one disk, each changed run followed by what it replaces. */
class BlockDisk {
  readonly #rootOffset: number;
  readonly #parts: Buffer[] = [];
  #blocks = 0;

  constructor(rootOffset: number) {
    this.#rootOffset = rootOffset;
  }

  /** For `write_blocks` of fast-guest/trials.sh. */
  add(blocks: readonly ChangedBlock[]): string {
    const lines = runsOf(blocks).map((run) => {
      const changed = this.#append(run.map((block) => block.changed));
      const former = this.#append(run.map((block) => block.former));
      const to = (run[0]?.number ?? 0) - this.#rootOffset / BLOCK_BYTES;
      return `${run.length} ${changed} ${former} ${to}\n`;
    });
    return lines.join('');
  }

  #append(parts: readonly Buffer[]): number {
    const first = this.#blocks;
    this.#parts.push(...parts);
    this.#blocks += parts.length;
    return first;
  }

  async write(target: string): Promise<Disk> {
    await writeFile(target, [...this.#parts, Buffer.alloc(BLOCK_BYTES)]);
    return { file: target, format: 'raw', writes: 'refuse' };
  }
}

interface Preparation {
  readonly stage: RefusalCase;
  readonly blocks: BlockDisk;
  readonly key: string;
}

/** The trial's folder in the initramfs; the disk is the base disk again when this returns. */
function trialEntries(trial: Trial, name: string, { stage, blocks, key }: Preparation): CpioEntry[] {
  const { disk, base } = stage;
  trial.tamper?.(stage);
  const changed = trial.tamper === undefined ? [] : changedBlocks(base.image, disk.image);
  if (trial.tamper !== undefined && changed.length === 0) throw new Error(`${trial.title}: nothing changed`);
  restoreBlocks(disk.image, changed);
  const folder = `trials/${name}`;
  const keyFile = `${folder}/keys/${path.posix.basename(KEY_PATH)}`;
  const entries = [
    directory(folder),
    directory(`${folder}/keys`),
    file(`${folder}/blocks`, blocks.add(changed)),
    file(`${folder}/${path.posix.basename(POLICY_PATH)}`, trial.policy?.(key) ?? SEALED_POLICY),
    file(keyFile, trial.keys?.(key) ?? `${key}\n`),
  ];
  if (trial.revoked !== undefined) entries.push(file(`${keyFile}.revoked`, trial.revoked(key)));
  if (trial.commandLine !== undefined) {
    entries.push(file(`${folder}/cmdline`, `${trial.commandLine(base.kernelArguments)}\n`));
  }
  return entries;
}

/** Sorts as the numbers do. */
function nameOf(index: number): string {
  return String(index).padStart(3, '0');
}

function eventOf(machine: Machine, index: number): GuestEvent | undefined {
  return machine.events.find(({ event, name }) => event === 'trial' && String(name) === nameOf(index));
}

function secondsOf(machine: Machine, index: number): number {
  const end = (at: number) => Number(eventOf(machine, at)?.centiseconds ?? Number.NaN);
  const seconds = (end(index) - end(index - 1)) / 100;
  return Number.isNaN(seconds) ? 0 : seconds;
}

/** The guest did with this trial what it should have. Reads its event only. */
export function requireVerdict(trial: Trial, event: GuestEvent | undefined, expected: Expected): void {
  assert.ok(event !== undefined, 'the guest ended before it, or it did not end');
  const output = Buffer.from(String(event.output), 'base64').toString('latin1');
  const { status, left, booted, inside } = event;
  if (trial.refused === undefined) {
    assert.deepEqual({ status, booted, inside }, { status: 0, booted: 1, inside: 0 }, output);
    assert.deepEqual(saidIn(output), { refusals: [], mounted: [onlyExpected(expected)] }, output);
    assert.match(/^mount: \/sysroot .*$/m.exec(output)?.[0] ?? 'no root', SEALED_MOUNT, output);
    const warnings = [...output.matchAll(WARNING_LINE)].map(([, text = '']) => text);
    const wanted = trial.warns ?? [];
    assert.equal(warnings.length, wanted.length, output);
    for (const [index, text] of warnings.entries()) assert.match(text, wanted[index] ?? /^$/);
    return;
  }
  const { refusals, mounted } = saidIn(output);
  assert.deepEqual(
    refusals.map(({ code }) => code),
    [trial.refused],
    output,
  );
  assert.deepEqual(mounted, [], output);
  // Not one mount is there, and nothing that a system would take for a boot by ostree.
  assert.deepEqual({ status, left, booted }, { status: trial.status ?? 1, left: 0, booted: 0 }, output);
}

function onlyExpected({ commit, digest }: Expected): Expected {
  return { commit, digest };
}
