import { describe, expect, it } from 'vitest';
import type { GuestEvent } from '../../vm-tests/guest-events.ts';
import type { Machine } from '../../vm-tests/machine.ts';
import {
  requireBooted,
  requireDone,
  requireRefused,
  requireSystemBooted,
  requireSystemRefused,
} from '../../vm-tests/outcome.ts';

/** A verdict reads the console and the events of a guest that has ended, and nothing else. */
function guest(console: string, ...events: GuestEvent[]): Machine {
  const done = events.find(({ event }) => event === 'done');
  return { name: 'guest', console, events, done } as unknown as Machine;
}

const EXPECTED = { commit: 'c'.repeat(64), digest: 'd'.repeat(64) };
const MOUNTED = `[  114.07] sealroot-prepare-root[295]: sealroot-prepare-root: mounted ${EXPECTED.commit} (digest ${EXPECTED.digest}, key line 1)\n`;
const ERROR =
  '[  15.6] sealroot-prepare-root[295]: sealroot-prepare-root: error: image-missing: cannot open it: ENOENT; deploy again\n';
const ENTRY = '[  15.6] sealroot-prepare-root[295]: refused: image-missing: cannot open it: ENOENT\n';
const STATUS =
  '[  15.7] systemd[1]: sealroot-prepare-root.service: Main process exited, code=exited, status=1/FAILURE\n';
const NO_SHELL = 'sealroot: the boot has failed and a sealed initramfs opens no shell: poweroff\n';
const SWITCHED = '[  130.1] systemd[1]: Switching root.\n';
const PANIC = '[    2.0] Kernel panic - not syncing: Attempted to kill init!\n';

const DONE = { event: 'done', status: 0 };
const root = (line: string) => ({
  event: 'root',
  status: 0,
  output: Buffer.from(line).toString('base64'),
});
const SEALED_ROOT = root('ro,relatime shared:1 - overlay composefs ro,metacopy=on,verity=require\n');
const IN_ROOT = { event: 'switched-root' };

describe('requireDone()', () => {
  it('accepts done with status 0', () => requireDone(guest('', DONE)));
  it.each([
    ['no done', guest(''), 'ended without done'],
    ['another status', guest('', { event: 'done', status: 3, reason: 'x' }), 'done with status 3: x'],
    ['a panic before the end', guest(PANIC, DONE), 'panicked'],
  ])('rejects %s', (_title, machine, fact) => expect(() => requireDone(machine)).toThrow(fact));
});

describe('requireBooted()', () => {
  it('accepts the expected image on a sealed root', () => {
    requireBooted(guest(MOUNTED, IN_ROOT, SEALED_ROOT, DONE), EXPECTED);
    requireBooted(guest(MOUNTED, { event: 'started' }, SEALED_ROOT, DONE), EXPECTED);
  });
  const rw = root('rw,relatime - overlay composefs rw,verity=require\n');
  const unchecked = root('ro,relatime - overlay composefs ro,metacopy=on\n');
  const on = root('ro,relatime - overlay composefs ro,metacopy=on,verity=on\n');
  it.each([
    ['no word of success', guest('', IN_ROOT, SEALED_ROOT, DONE), '0 lines of success'],
    ['two', guest(MOUNTED + MOUNTED, IN_ROOT, SEALED_ROOT, DONE), '2 lines of success'],
    ['another commit', guest(MOUNTED.replace('ccc', 'ccd'), IN_ROOT, SEALED_ROOT, DONE), 'expected'],
    ['another digest', guest(MOUNTED.replace('ddd', 'ddc'), IN_ROOT, SEALED_ROOT, DONE), 'expected'],
    ['no switch-root', guest(MOUNTED, SEALED_ROOT, DONE), 'no switch-root'],
    ['a silent root', guest(MOUNTED, IN_ROOT, DONE), 'no event root'],
    ['a root without output', guest(MOUNTED, IN_ROOT, { event: 'root', status: 0 }, DONE), 'odd event root'],
    ['a writable root', guest(MOUNTED, IN_ROOT, rw, DONE), 'not sealed'],
    ['a root without verity', guest(MOUNTED, IN_ROOT, unchecked, DONE), 'not sealed'],
    ['a root with optional verity', guest(MOUNTED, IN_ROOT, on, DONE), 'not sealed'],
  ])('rejects %s', (_title, machine, fact) => expect(() => requireBooted(machine, EXPECTED)).toThrow(fact));
});

describe('requireRefused()', () => {
  const refused = { event: 'prepare-root', status: 1 };
  const done = { event: 'done', status: 1 };
  it('accepts exactly the code, once', () => requireRefused(guest(ERROR, refused, done), 'image-missing'));
  it.each([
    ['another code', guest(ERROR.replace('missing', 'unsafe'), refused, done), 'refused with image-unsafe'],
    [
      'a code of which it is a part',
      guest(ERROR.replace('missing', 'missing-x'), refused, done),
      'missing-x',
    ],
    ['no refusal', guest('', refused, done), 'no refusal'],
    ['two', guest(ERROR + ERROR, refused, done), '2 error lines'],
    ['success besides', guest(ERROR + MOUNTED, refused, done), 'success after a refusal'],
    ['exit status 0', guest(ERROR, { event: 'prepare-root', status: 0 }, done), 'exit status 0'],
    ['no exit status', guest(ERROR, done), 'exit status undefined'],
    ['a guest that died', guest(ERROR, refused), 'done with status undefined'],
    ['a switch-root', guest(ERROR, refused, IN_ROOT, done), 'switch-root'],
    ['a panic', guest(ERROR + PANIC, refused, done), 'panicked'],
  ])('rejects %s', (_title, machine, fact) =>
    expect(() => requireRefused(machine, 'image-missing')).toThrow(fact));
});

describe('requireSystemBooted()', () => {
  const events = [{ event: 'started' }, SEALED_ROOT, DONE];
  it('accepts a system that left the initramfs', () =>
    requireSystemBooted(guest(MOUNTED + SWITCHED, ...events), EXPECTED));
  it('rejects one whose console does not show it, since its absence is what a refusal is known by', () =>
    expect(() => requireSystemBooted(guest(MOUNTED, ...events), EXPECTED)).toThrow(
      'no word of the switch-root',
    ));
});

describe('requireSystemRefused()', () => {
  const REFUSED = ERROR + ENTRY + STATUS + NO_SHELL;
  it('accepts the code, exit status 1 and the end without a shell', () =>
    requireSystemRefused(guest(REFUSED), 'image-missing'));
  it.each([
    ['exit status 4', guest(REFUSED.replace('status=1', 'status=4')), 'exit status 4'],
    ['no exit status', guest(ERROR + NO_SHELL), 'exit status undefined'],
    ['a switch-root on the console', guest(REFUSED + SWITCHED), 'switch-root'],
    ['a word from the real root', guest(REFUSED, { event: 'started' }), 'switch-root'],
    ['done', guest(REFUSED, DONE), 'done after a refusal'],
    ['no entry in the journal', guest(ERROR + STATUS + NO_SHELL), 'the journal has no entry'],
    ['another end', guest(ERROR + ENTRY + STATUS), 'did not end as a refused one should'],
    ['another code', guest(REFUSED.replace('image-missing', 'image-unsafe')), 'refused with image-unsafe'],
  ])('rejects %s', (_title, machine, fact) =>
    expect(() => requireSystemRefused(machine, 'image-missing')).toThrow(fact));
});
