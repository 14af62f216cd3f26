/** A file of the sealed root that a fast boot does not need, and what the guest finds when it reads it. */
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { ascii } from '../src/formats/encoding.ts';
import { imageObjects } from '../src/formats/erofs-read.ts';
import type { BaseDisk } from './base-disk.ts';
import type { Machine } from './machine.ts';
import { captured, requireBooted } from './outcome.ts';
import { PROVE_ROOT } from './refusal.ts';
import type { Ext4Image } from './tamper.ts';

const VICTIM = '/usr/bin/find';

/**
 * Reads the victim twice, as whoever mistakes the first error for a passing one. Its bytes stay in the guest: QEMU drops
 * what a virtconsole writes while the host's pipe is full, and with it the end of an event of 300 KB.
 */
export const READ_VICTIM = `${PROVE_ROOT}
capture read sha256sum ${VICTIM}
capture again sha256sum ${VICTIM}
exit 0
`;

/** Where the victim's bytes lie: the object's path on the root file system. */
export function victimObject(disk: Ext4Image, imagePath: string): string {
  const found = imageObjects(disk.read(imagePath)).find(({ path }) => path === ascii(VICTIM));
  if (found === undefined) throw new Error(`cannot tamper with ${VICTIM}: the image has no such file`);
  return `/ostree/repo/objects/${found.payload}`;
}

/** The guest booted and read exactly `content`. */
export function requireReadable(machine: Machine, base: BaseDisk, content: Uint8Array): void {
  requireBooted(machine, base);
  for (const name of ['read', 'again']) {
    const { status, output } = captured(machine, name);
    assert.equal(status, 0, output);
    assert.equal(output, `${createHash('sha256').update(content).digest('hex')}  ${VICTIM}\n`);
  }
}

/** The guest booted, every read failed with EIO, and the kernel said why. */
export function requireUnreadable(machine: Machine, base: BaseDisk, kernelSays: RegExp): void {
  requireBooted(machine, base);
  for (const name of ['read', 'again']) {
    const { status, output } = captured(machine, name);
    assert.notEqual(status, 0, `${name} of the tampered file succeeded`);
    assert.match(output, /Input\/output error\n$/);
  }
  assert.match(machine.console, kernelSays);
}
