/**
 * The real tools of composefs 1.0.8 beside ours: the same arguments, folder, input and environment for both. The
 * reference is run from the forky chroot by that system's own loader, so both see the same files.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { bundleProgram } from '../../tools/bundle.ts';
import { ensureForky } from '../../tools/chroots.ts';

export type ToolName = 'mkcomposefs' | 'composefs-info' | 'mount.composefs';

export interface ToolResult {
  status: number | null;
  stdout: Buffer;
  stderr: string;
}

export interface ToolOptions {
  cwd?: string;
  input?: Uint8Array | string;
  env?: Readonly<Record<string, string>>;
}

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const BUNDLE = path.join(import.meta.dirname, `../../.cache/cli/personality-${process.pid}`);

let forky = '';
/** A folder for the test file, and in it `bin` with our tools as links. */
let work = '';

/** Call once in a test file. The folder is on the disk, where tmpfs might be too small for a store. */
export function useTools(): { work: () => string; bin: () => string } {
  beforeAll(async () => {
    forky = await ensureForky();
    await bundleProgram(BUNDLE);
    work = mkdtempSync(path.join(tmpdir(), 'sealroot-tools-'));
    mkdirSync(path.join(work, 'bin'));
    for (const name of ['mkcomposefs', 'composefs-info', 'mount.composefs', 'sealroot']) {
      symlinkSync(path.join(BUNDLE, 'sealroot.js'), path.join(work, 'bin', name));
    }
  });
  afterAll(() => {
    rmSync(work, { recursive: true, force: true });
    rmSync(BUNDLE, { recursive: true, force: true });
  });
  return { work: () => work, bin: () => path.join(work, 'bin') };
}

/** The chroot's folder, for trees to compare on. */
export function forkyRoot(): string {
  return forky;
}

function run(argv: readonly string[], { cwd = work, input = '', env = {} }: ToolOptions): ToolResult {
  const [program = '', ...args] = argv;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    input,
    env: { PATH: process.env.PATH, ...env },
    timeout: 120_000,
    maxBuffer: 256 * 1024 * 1024,
  });
  // A tool that does not read its input closes the pipe: its exit status is the news then.
  if (error !== undefined && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  return { status, stdout, stderr: stderr.toString('latin1') };
}

/** The arguments that run a program of the chroot on this system's files. */
export function forkyProgram(name: string, folder = 'usr/bin'): string[] {
  const library = path.join(forky, LIBRARIES);
  const loader = path.join(library, 'ld-linux-x86-64.so.2');
  return [loader, '--argv0', name, '--library-path', library, path.join(forky, folder, name)];
}

/** The arguments that run the real tool. */
export function theirArgv(name: ToolName, args: readonly string[]): string[] {
  return [...forkyProgram(name, name === 'mount.composefs' ? 'usr/sbin' : 'usr/bin'), ...args];
}

export function theirs(name: ToolName, args: readonly string[], options: ToolOptions = {}): ToolResult {
  return run(theirArgv(name, args), options);
}

export function ours(name: ToolName, args: readonly string[], options: ToolOptions = {}): ToolResult {
  return run([path.join(work, 'bin', name), ...args], options);
}

/** What only we offer; the rest of the usage has to be the same. */
const OUR_USAGE = /^ {2}--.* \(sealroot only\)\n/gm;

/** Runs both and compares standard output, exit status, and standard error unless only ours says more. */
export function expectSame(
  name: ToolName,
  args: readonly string[],
  options: ToolOptions & { messages?: 'same' | 'free' } = {},
): ToolResult {
  const expected = theirs(name, args, options);
  const actual = ours(name, args, options);
  const call = `${name} ${args.join(' ')}`;
  expect([call, actual.status]).toEqual([call, expected.status]);
  expectSameBytes(actual.stdout, expected.stdout, call);
  if (options.messages !== 'free') {
    expect([call, actual.stderr.replace(OUR_USAGE, '')]).toEqual([call, expected.stderr]);
  }
  return actual;
}

/** Names the first difference; the whole of an image in a failure helps nobody. */
export function expectSameBytes(actual: Buffer, expected: Buffer, what: string): void {
  if (actual.equals(expected)) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  const from = Math.max(0, at < 0 ? actual.length - 40 : at - 40);
  const around = (bytes: Buffer) => bytes.toString('latin1', from, from + 120);
  expect([what, actual.length, at, around(actual)]).toEqual([what, expected.length, at, around(expected)]);
}
