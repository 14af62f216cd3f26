/**
 * What a case is, and what it gets: a scratch folder, named steps, and guests that cannot outlive it.
 * A case passes when its function returns, has run at least one step, and has left no guest running.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { SealrootError } from '../src/formats/errors.ts';
import { chooseAccelerator } from './accelerator.ts';
import {
  type Accelerator,
  GuestFailure,
  type Machine,
  type MachineOptions,
  startMachine,
} from './machine.ts';
import type { TestPoint } from './tap.ts';

export interface VmCase {
  /** One sentence: what is shown. */
  readonly title: string;
  /** For the whole case, beyond the deadlines of its waits. */
  readonly deadlineSeconds: number;
  /** Titles of further cases that it runs in its guest. Each counts by itself, and fails unless it is judged. */
  readonly shared?: readonly string[];
  run(context: CaseContext): Promise<void>;
}

export type GuestOptions = Omit<MachineOptions, 'logFolder' | 'accelerator'>;

export class CaseContext {
  readonly name: string;
  /** Exists, is empty at the start, and is removed after a pass. */
  readonly folder: string;
  readonly steps: TestPoint[] = [];
  /** Of the cases that share the guest. */
  readonly judged: TestPoint[] = [];
  readonly machines: Machine[] = [];
  #ended = false;

  constructor(name: string, folder: string) {
    this.name = name;
    this.folder = folder;
  }

  /** Runs and times one step; the first that fails ends the case. */
  async step<T>(title: string, action: () => Promise<T> | T): Promise<T> {
    const started = performance.now();
    const seconds = () => (performance.now() - started) / 1000;
    try {
      const result = await action();
      this.steps.push({ title, passed: true, seconds: seconds() });
      return result;
    } catch (error) {
      this.steps.push({ title, passed: false, seconds: seconds() });
      throw error;
    }
  }

  /** Judges one of the cases that share the guest. What it throws is that case's failure and nobody else's. */
  judge(title: string, seconds: number, verdict: () => void): void {
    try {
      verdict();
      this.judged.push({ title, passed: true, seconds });
    } catch (error) {
      this.judged.push({ title, passed: false, seconds, failure: describeFailure(error) });
    }
  }

  /** Starts a guest. Its name is unique in the case. */
  async start(options: GuestOptions): Promise<Machine> {
    const accelerator: Accelerator = await chooseAccelerator();
    if (this.#ended) throw new Error(`cannot start guest ${options.name}: case ${this.name} has ended`);
    if (this.machines.some(({ name }) => name === options.name)) {
      throw new Error(`cannot start guest ${options.name}: case ${this.name} has one of that name`);
    }
    const machine = await startMachine({
      ...options,
      accelerator,
      logFolder: path.join(this.folder, 'logs'),
    });
    this.machines.push(machine);
    return machine;
  }

  /** Kills what still runs and names it. */
  async end(): Promise<string[]> {
    this.#ended = true;
    const running = this.machines.filter(({ running }) => running);
    await Promise.all(running.map((machine) => machine.kill()));
    return running.map(({ name }) => name);
  }
}

/** A case's verdict, never an exception: what a case throws is its failure. */
export interface CaseResult {
  readonly point: TestPoint;
  readonly steps: readonly TestPoint[];
  /** One for each title of `shared`, in that order. */
  readonly shared: readonly TestPoint[];
  /** The guest to look at after a failure. */
  readonly machine: Machine | undefined;
}

/** `load` is part of the case: a file that cannot be imported is a failed case. */
export async function runCase(
  name: string,
  load: () => Promise<VmCase>,
  folder: string,
): Promise<CaseResult> {
  const started = performance.now();
  const context = new CaseContext(name, folder);
  let timer: NodeJS.Timeout | undefined;
  let failure: unknown;
  let titles: readonly string[] = [];
  try {
    await mkdir(folder, { recursive: true });
    const vmCase = await load();
    titles = vmCase.shared ?? [];
    const deadline = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`cannot finish case ${name}: deadline of ${vmCase.deadlineSeconds} s passed`)),
        vmCase.deadlineSeconds * 1000,
      );
    });
    await Promise.race([vmCase.run(context), deadline]);
    if (context.steps.length === 0) failure = new Error(`cannot pass case ${name}: it ran no step`);
  } catch (error) {
    failure = error;
  } finally {
    clearTimeout(timer);
  }
  const left = await context.end();
  if (left.length > 0)
    failure ??= new Error(`cannot pass case ${name}: guest ${left.join(', ')} was left running`);
  const seconds = (performance.now() - started) / 1000;
  const shared = titles.map((title) => sharedPoint(title, context.judged));
  const result = { steps: context.steps, shared };
  if (failure === undefined) {
    const machine = shared.every(({ passed }) => passed) ? undefined : context.machines.at(-1);
    return { ...result, point: { title: name, passed: true, seconds }, machine };
  }
  return {
    ...result,
    point: { title: name, passed: false, seconds, failure: describeFailure(failure) },
    machine: failure instanceof GuestFailure ? failure.machine : context.machines.at(-1),
  };
}

function sharedPoint(title: string, judged: readonly TestPoint[]): TestPoint {
  const points = judged.filter((point) => point.title === title);
  const [point] = points;
  if (point !== undefined && points.length === 1) return point;
  const failure = `cannot judge ${title}: ${points.length} verdicts on it, expected 1`;
  return { title, passed: false, seconds: 0, failure };
}

/** For a person: the message and the remedy of an error that was foreseen, the stack of another. */
export function describeFailure(failure: unknown): string {
  if (failure instanceof GuestFailure) return failure.message;
  if (failure instanceof SealrootError) {
    return failure.hint === undefined ? failure.message : `${failure.message}\nhint: ${failure.hint}`;
  }
  return failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
}
