/** The verdicts over a guest that has ended: it did all it should, or it refused to boot as it should. */
import { GuestFailure, type Machine } from './machine.ts';

const PANIC = 'Kernel panic - not syncing';

/** Lines of prepare-root on the console. systemd puts its own prefix before them. */
const ERROR_LINE = /sealroot-prepare-root: error: ([\w-]+): (.*)$/gm;
const SUCCESS_LINE =
  /sealroot-prepare-root: mounted ([0-9a-f]{64}) \(digest ([0-9a-f]{64}), key line (\d+)\)/gm;

/** The end of a line of mountinfo: a composefs whose every file the kernel checks. */
export const SEALED_MOUNT = / - overlay \S+ ro,.*verity=require(,|$)/m;

function failure(machine: Machine, fact: string): GuestFailure {
  return new GuestFailure(machine, `cannot accept guest ${machine.name}: ${fact}`);
}

/** The guest said done with status 0, and its kernel did not panic. */
export function requireDone(machine: Machine): void {
  if (machine.console.includes(PANIC)) throw failure(machine, 'its kernel panicked');
  if (machine.done === undefined) throw failure(machine, 'it ended without done');
  const { status, reason } = machine.done;
  if (status !== 0) throw failure(machine, `done with status ${status}${reason ? `: ${reason}` : ''}`);
}

/** What `capture NAME` in the guest sent: its output, whatever its status. */
export function captured(machine: Machine, name: string): { status: number; output: string } {
  const event = machine.events.find(({ event }) => event === name);
  if (event === undefined) throw failure(machine, `no event ${name}`);
  const { status, output } = event;
  if (typeof status !== 'number' || typeof output !== 'string') throw failure(machine, `odd event ${name}`);
  return { status, output: Buffer.from(output, 'base64').toString() };
}

export interface Expected {
  readonly commit: string;
  readonly digest: string;
}

/** prepare-root mounted this commit's image, the root was switched, and the kernel demands fs-verity of every file. */
export function requireBooted(machine: Machine, { commit, digest }: Expected): void {
  requireDone(machine);
  const { mounted } = saidIn(machine.console);
  const [image] = mounted;
  if (image === undefined || mounted.length !== 1) {
    throw failure(machine, `${mounted.length} lines of success from prepare-root`);
  }
  if (image.commit !== commit || image.digest !== digest) {
    throw failure(machine, `mounted ${image.commit} with ${image.digest}, expected ${commit} with ${digest}`);
  }
  if (!inRoot(machine)) throw failure(machine, 'no switch-root');
  const root = captured(machine, 'root').output.trim();
  if (!SEALED_MOUNT.test(root)) {
    throw failure(machine, `its root is not sealed: ${root}`);
  }
}

/** Something of the switched root has spoken: the fast boot's process 1, or the service of the whole system. */
function inRoot(machine: Machine): boolean {
  return machine.events.some(({ event }) => event === 'switched-root' || event === 'started');
}

/** prepare-root refused with this code, once, with exit status 1, and nothing was booted after it. */
export function requireRefused(machine: Machine, code: string): void {
  requireErrorLine(machine, code);
  const status = machine.events.find(({ event }) => event === 'prepare-root')?.status;
  if (status !== 1) throw failure(machine, `exit status ${status} of prepare-root, expected 1`);
  if (machine.done?.status !== 1)
    throw failure(machine, `done with status ${machine.done?.status}, expected 1`);
  if (inRoot(machine)) throw failure(machine, 'switch-root');
}

/** What prepare-root said, on a console or where else its output went: each refusal, and each image it mounted. */
export function saidIn(text: string): {
  refusals: { code: string; message: string }[];
  mounted: Expected[];
} {
  const refusals = [...text.matchAll(ERROR_LINE)].map(([, code = '', message = '']) => ({ code, message }));
  const mounted = [...text.matchAll(SUCCESS_LINE)].map(([, commit = '', digest = '']) => ({
    commit,
    digest,
  }));
  return { refusals, mounted };
}

/** The one error line of prepare-root on the console. */
export function refusalOf(machine: Machine): { code: string; message: string } {
  const errors = saidIn(machine.console).refusals;
  const [{ code, message } = {}] = errors;
  if (code === undefined || message === undefined) throw failure(machine, 'no refusal');
  if (errors.length !== 1) throw failure(machine, `${errors.length} error lines, expected one`);
  return { code, message };
}

/** Exactly one error line, of this code, and none of success. */
export function requireErrorLine(machine: Machine, code: string): void {
  if (machine.console.includes(PANIC)) throw failure(machine, 'its kernel panicked');
  const { code: found, message } = refusalOf(machine);
  if (found !== code) throw failure(machine, `refused with ${found}, expected ${code}: ${message}`);
  if (machine.console.match(SUCCESS_LINE)) throw failure(machine, 'success after a refusal');
}

/** What systemd says on the console when it leaves the initramfs; a boot that succeeds must show it. */
const SWITCH_ROOT =
  /Switching root|initrd-switch-root\.service - Switch Root|Reached target initrd-switch-root\.target/;
const EXIT_STATUS = /sealroot-prepare-root\.service: Main process exited, code=exited, status=(\d+)\//;
/** Of dracut-module/50sealroot/no-shell.sh. */
const NO_SHELL = 'a sealed initramfs opens no shell';

/** The whole system came up, and the console shows where it left the initramfs. */
export function requireSystemBooted(machine: Machine, expected: Expected): void {
  requireBooted(machine, expected);
  if (!SWITCH_ROOT.test(machine.console)) throw failure(machine, 'no word of the switch-root on its console');
}

/** The unit failed with exit status 1 and this code, which the journal has under its own id, the root was not switched, and the boot ended without a shell. */
export function requireSystemRefused(machine: Machine, code: string): void {
  requireErrorLine(machine, code);
  const { console } = machine;
  const status = EXIT_STATUS.exec(console)?.[1];
  if (status !== '1') throw failure(machine, `exit status ${status} of prepare-root, expected 1`);
  if (!console.includes(`]: refused: ${code}: `))
    throw failure(machine, `the journal has no entry of ${code}`);
  if (SWITCH_ROOT.test(console) || inRoot(machine)) throw failure(machine, 'switch-root');
  if (machine.done !== undefined) throw failure(machine, 'done after a refusal');
  if (!console.includes(NO_SHELL)) throw failure(machine, 'the boot did not end as a refused one should');
}
