/**
 * A stage for the real sealroot-prepare-root: an initramfs root and a physical root in a folder, with the inputs
 * of one boot. The program runs in a private mount namespace, chrooted into the folder, with a /proc whose cmdline
 * is ours, so that it needs no option that would let anybody change where it looks.
 */

import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { refusalOf } from '../../src/formats/refusals.ts';
import { type BootInputs, UNTAMPERED, vector } from '../formats/mutation-inputs.ts';

/** How far an accepted commit gets here: the images of the rig have no fs-verity. */
export const AFTER_ACCEPTANCE = 'image-verity-missing';

export interface RigRun {
  readonly status: number;
  readonly stdout: string;
  /** Standard error with the priorities of sd-daemon(3). */
  readonly journal: string;
  readonly stderr: string;
  /** What reached /dev/console. */
  readonly console: string;
}

/**
 * Nothing that the program mounted may be left: 99 otherwise, a status that the program itself never has. Mounts of
 * others are not looked at: they go when somebody removes the folder that they stand on, in whatever namespace.
 */
const SCRIPT = `
set -e
mount --bind "$1" "$1"
mount --bind "$1/sysroot" "$1/sysroot"
mount -t proc proc "$1/proc"
mount --bind "$1/cmdline" "$1/proc/cmdline"
root=$1; kind=$2; shift 2
mounts() { grep -F " $root" /proc/self/mountinfo; }
before=$(mounts)
# As the kernel starts /init.
ulimit -S -n 1024
set +e
case $kind in
    socket) chroot "$root" /sealroot-prepare-root "$@" ;;
    file) chroot "$root" /sealroot-prepare-root "$@" 2>"$root/stderr"; status=$?; cat "$root/stderr" >&2; (exit $status) ;;
    closed) chroot "$root" /sealroot-prepare-root "$@" 2>&- ;;
esac
status=$?
test "$before" = "$(mounts)" || exit 99
exit $status
`;

export interface Rig {
  readonly folder: string;
  /** The physical root. */
  readonly sysroot: string;
  readonly deployment: string;
  /** A path in the physical root's object store. */
  object(type: string, checksum?: string): string;
  /** `stderr`: what standard error is: a socket as the journal's, a file, or nothing. `/sysroot` is the one argument. */
  run(stderr?: 'socket' | 'file' | 'closed', args?: readonly string[]): Promise<RigRun>;
  remove(): void;
}

/** Lays out `inputs` as the initramfs and ostree would; `null` inputs have no file. */
export function makeRig(binary: string, inputs: BootInputs = UNTAMPERED): Rig {
  const folder = mkdtempSync(join(tmpdir(), 'sealroot-rig-'));
  const sysroot = join(folder, 'sysroot');
  const deployment = join(sysroot, 'ostree/deploy/os/deploy', `${inputs.checksum}.0`);
  const { checksum } = inputs;
  const object = (type: string, of = checksum) =>
    join(sysroot, 'ostree/repo/objects', of.slice(0, 2), `${of.slice(2)}.${type}`);
  for (const name of ['proc', 'run', 'dev']) mkdirSync(join(folder, name), { recursive: true });
  put(join(folder, 'cmdline'), inputs.cmdline);
  put(join(folder, 'usr/lib/sealroot/prepare-root.conf'), inputs.conf);
  put(join(folder, 'etc/ostree/initramfs-root-binding.key'), inputs.keys);
  put(join(folder, 'etc/ostree/initramfs-root-binding.key.revoked'), inputs.revoked);
  put(join(folder, 'dev/console'), '');
  copyFileSync(binary, join(folder, 'sealroot-prepare-root'));
  chmodSync(join(folder, 'sealroot-prepare-root'), 0o755);

  mkdirSync(join(deployment, 'etc'), { recursive: true });
  mkdirSync(join(sysroot, 'ostree/deploy/os/var'), { recursive: true });
  put(join(deployment, '.ostree.cfs'), vector('one.cfs'));
  put(object('commit'), inputs.commit);
  put(object('commitmeta'), inputs.commitmeta);
  mkdirSync(join(sysroot, 'ostree/boot.1.1/os/0'), { recursive: true });
  symlinkSync('boot.1.1', join(sysroot, 'ostree/boot.1'));
  symlinkSync(`../../../deploy/os/deploy/${checksum}.0`, join(sysroot, 'ostree/boot.1.1/os/0/0'));

  return {
    folder,
    sysroot,
    deployment,
    object,
    run: (stderr = 'socket', args = ['/sysroot']) => runIn(folder, stderr, args),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** One more deployment, of a commit of its own, as complete as the first. */
export function addDeployment(
  rig: Rig,
  { checksum, commit, commitmeta }: Pick<BootInputs, 'checksum' | 'commit' | 'commitmeta'>,
  os = 'os',
): { checksum: string; path: string } {
  const path = join(rig.sysroot, 'ostree/deploy', os, 'deploy', `${checksum}.0`);
  mkdirSync(join(path, 'etc'), { recursive: true });
  put(join(path, '.ostree.cfs'), vector('one.cfs'));
  put(rig.object('commit', checksum), commit);
  put(rig.object('commitmeta', checksum), commitmeta);
  return { checksum, path };
}

/** Writes a file and the directories above it; null writes nothing. */
export function put(path: string, content: Uint8Array | string | null): void {
  mkdirSync(dirname(path), { recursive: true });
  if (content !== null) writeFileSync(path, content);
}

function runIn(folder: string, stderr: string, programArgs: readonly string[]): Promise<RigRun> {
  const shell = ['sh', '-c', SCRIPT, 'sh', folder, stderr, ...programArgs];
  const args = ['--mount', '--propagation', 'private', ...shell];
  return new Promise((resolve, reject) => {
    execFile('unshare', args, { timeout: 240_000 }, (error, stdout, errors) => {
      if (error !== null && typeof error.code !== 'number') {
        reject(error);
        return;
      }
      const console = join(folder, 'dev/console');
      resolve({
        status: error === null ? 0 : Number(error.code),
        stdout,
        journal: errors,
        // The pipe that execFile makes is a socket; the journal takes priorities off, and so do we.
        stderr: errors.replaceAll(/^<[34]>/gm, ''),
        console: existsSync(console) ? readFileSync(console, 'latin1') : '',
      });
    });
  });
}

/** The code of a refusal; throws unless `text` is exactly one well-formed line with warnings at most before it. */
export function codeOf(text: string): string {
  const lines = text.split('\n');
  const last = lines.pop();
  const errors = lines.filter((line) => !line.startsWith('sealroot-prepare-root: warning: cannot '));
  const match = errors[0]?.match(/^sealroot-prepare-root: error: ([a-z0-9-]+): cannot [ -~]+; [ -~]+$/);
  if (last !== '' || errors.length !== 1 || match?.[1] === undefined) {
    throw new Error(`not exactly one error line: ${JSON.stringify(text)}`);
  }
  if (refusalOf(match[1]) === undefined) throw new Error(`no refusal of the table: ${match[1]}`);
  return match[1];
}
