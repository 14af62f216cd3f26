/**
 * Debian systems in folders: made by mmdebstrap from the configured mirror, and entered in private namespaces
 * so that neither a mount nor a process of theirs outlives the call. They hold the oracles that the tests
 * compare with, and the tools of a newer Debian than the one this runs on.
 */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { systemError } from '../src/formats/errors.ts';
import { APT_OPTIONS, ARCHIVE_KEYRING, mirrorFor } from './apt.ts';
import { ensureCached } from './cache.ts';

export interface RunOptions {
  /** Host paths (files or folders) shown at guest paths while the command runs; read-write. */
  binds?: readonly (readonly [host: string, guest: string])[];
  /** Working directory inside; `/` by default. */
  cwd?: string;
  input?: Uint8Array | string;
  env?: Readonly<Record<string, string>>;
  /** Exit statuses that are not an error; only 0 by default. */
  allowedStatus?: readonly number[];
  timeoutSeconds?: number;
}

export interface RunResult {
  status: number;
  stdout: Buffer;
  stderr: string;
}

const ENVIRONMENT = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};

/**
 * Runs inside the new mount and PID namespaces, as `sh -c ENTER sh ROOT CWD COUNT HOST GUEST ... COMMAND...`.
 * The folder is bound onto itself so that it is a mount point: programs that look for `/` in their mount table
 * (ostree, dracut) otherwise find none.
 */
const ENTER = `set -eu
root=$1; cwd=$2; count=$3; shift 3
mount --bind "$root" "$root"
cd "$root"
mkdir -p proc sys dev
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
while [ "$count" -gt 0 ]; do
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root\${2%/*}"; [ -e "$root$2" ] || : > "$root$2"; fi
  mount --rbind "$1" "$root$2"
  shift 2; count=$((count - 1))
done
exec chroot "$root" /bin/sh -c 'cd "$1"; shift; exec "$@"' sh "$cwd" "$@"
`;

/**
 * Starts what follows in namespaces of its own, and lets the kernel kill all of it when this process is gone, even by
 * SIGKILL: what is half made is the next process's to remove, and nobody may still be writing to it.
 */
const PRIVATELY = [
  ...['--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child'],
  ...['--propagation', 'private', '--mount-proc'],
];

/** Runs `argv` with `root` as its file system. Rejects with the end of stderr when it fails. */
export async function runIn(
  root: string,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { binds = [], cwd = '/', input, env = {}, allowedStatus = [0], timeoutSeconds = 600 } = options;
  const child = spawn(
    'setpriv',
    [
      ...PRIVATELY,
      ...['sh', '-c', ENTER, 'sh', path.resolve(root), cwd, String(binds.length)],
      ...binds.flatMap(([host, guest]) => [path.resolve(host), guest]),
      ...argv,
    ],
    { env: { ...ENVIRONMENT, ...env }, stdio: 'pipe' },
  );
  return await collect(child, argv, { allowedStatus, timeoutSeconds, input });
}

/** Runs a program of this machine under the same rules. */
export async function runHere(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { cwd, input, env = {}, allowedStatus = [0], timeoutSeconds = 600 } = options;
  const [command = '', ...rest] = argv;
  const child = spawn(command, rest, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...env },
    stdio: 'pipe',
  });
  return await collect(child, argv, { allowedStatus, timeoutSeconds, input });
}

async function collect(
  child: ReturnType<typeof spawn>,
  argv: readonly string[],
  limits: { allowedStatus: readonly number[]; timeoutSeconds: number; input: RunOptions['input'] },
): Promise<RunResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A command that does not read its input closes the pipe: its exit status is the news then, not EPIPE.
  child.stdin?.on('error', () => {});
  child.stdin?.end(limits.input ?? '');
  const what = argv.slice(0, 6).join(' ');
  // Not spawn()'s own: that one outlives a command that cannot be started, and with it this process.
  const timer = setTimeout(() => child.kill('SIGKILL'), limits.timeoutSeconds * 1000);
  const { status, signal } = await new Promise<{ status: number | null; signal: string | null }>(
    (resolve, reject) => {
      child.once('error', (error) =>
        reject(systemError('command-missing', `cannot run ${what}: ${error.message}`)),
      );
      child.once('close', (status, signal) => resolve({ status, signal }));
    },
  ).finally(() => clearTimeout(timer));
  const errors = Buffer.concat(stderr).toString();
  if (status === null || !limits.allowedStatus.includes(status)) {
    const how = status === null ? `killed by ${signal}` : `exit status ${status}`;
    throw systemError(
      'command-failed',
      `cannot run ${what}: ${how}: ${tail(errors || Buffer.concat(stdout).toString())}`,
    );
  }
  return { status, stdout: Buffer.concat(stdout), stderr: errors };
}

function tail(text: string): string {
  return text.trimEnd().split('\n').slice(-15).join('\n');
}

export interface Debian {
  suite: string;
  packages: readonly string[];
  /** Further mmdebstrap arguments, e.g. hooks. */
  extra?: readonly string[];
}

/** Makes a minimal Debian system at `target`, which must not exist; needs root. */
export async function bootstrap(target: string, { suite, packages, extra = [] }: Debian): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw systemError(
      'not-root',
      `cannot make a Debian ${suite} system in ${target}: not root`,
      'run as root',
    );
  }
  await mkdir(path.dirname(target), { recursive: true });
  const argv = [
    'mmdebstrap',
    ...['--mode=root', '--variant=minbase', '--format=directory'],
    `--keyring=${ARCHIVE_KEYRING}`,
    ...APT_OPTIONS.map((option) => `--aptopt=${option}`),
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/man/*',
    '--dpkgopt=path-exclude=/usr/share/locale/*',
    `--include=${packages.join(',')}`,
    ...extra,
    suite,
    target,
    await mirrorFor(suite),
  ];
  const child = spawn('setpriv', [...PRIVATELY, ...argv], {
    cwd: '/',
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
    stdio: 'pipe',
  });
  await collect(child, argv, { allowedStatus: [0], timeoutSeconds: 1200, input: undefined });
}

/** Removes a Debian folder, unless something is mounted below it: then that would be deleted too. */
export async function discardTree(folder: string): Promise<void> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  const below = mounts.split('\n').find((line) => line.split(' ')[4]?.startsWith(`${folder}/`));
  if (below !== undefined) {
    throw systemError(
      'mounted-below',
      `cannot remove ${folder}: ${below.split(' ')[4]} is mounted`,
      'unmount it',
    );
  }
  await rm(folder, { recursive: true, force: true });
}

/** A cached Debian folder; its name says the suite or the purpose. */
export async function ensureChroot(name: string, debian: Debian): Promise<string> {
  return await ensureCached({
    kind: 'chroots',
    name,
    recipe: { debian, options: APT_OPTIONS, version: 1 },
    build: (temporary) => bootstrap(temporary, debian),
    discard: discardTree,
  });
}

/**
 * The oracle: Debian forky, whose ostree has composefs compiled in, with the reference's mkcomposefs and
 * composefs-info, getfattr/setfattr, and an e2fsprogs that knows fs-verity well.
 */
export async function ensureForky(): Promise<string> {
  return await ensureChroot('forky', {
    suite: 'forky',
    packages: ['ostree', 'composefs', 'attr', 'e2fsprogs', 'fsverity'],
  });
}
