/**
 * Real old kernels, beside ostree-prepare-root: what needs no more than bind mounts boots alike. An image, which EROFS
 * mounts from a loop device there, has files that would need data-only layers: refused with the name of what the kernel
 * lacks, after the verdict and without a trace. For kernels between these and today's test/oracles/lesser-kernel.c
 * stands in.
 */
import { strict as assert } from 'node:assert';
import { generateKeyPair } from '../../src/adapters/keys.ts';
import { base64 } from '../../src/formats/encoding.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import { ensureDebianKernel } from '../debian-kernel.ts';
import {
  ETC,
  type Outcomes,
  parityPrograms,
  policyOf,
  READONLY,
  ROOT,
  requireAlike,
  requireRefusal,
  requireRefusedAlike,
  type Turn,
  takeTurns,
} from '../parity-guest.ts';
import type { Outcome } from '../parity-outcome.ts';
import { RefusalCase } from '../refusal.ts';

const turn = (name: string, enabled = name, more = ''): Turn => ({ name, policy: policyOf(enabled, more) });

const BOUND = [turn('no'), turn('no-readonly', 'no', `${READONLY}${ETC}`)];
const VERIFIED = [turn('verity'), turn('signed'), turn('signed-root', 'signed', ROOT)];
const UNVERIFIED = [turn('maybe'), turn('yes')];
const STRANGER = { ...turn('wrong-key', 'signed'), keys: `${base64(generateKeyPair().publicKey)}\n` };

function requireTooOld(ours: Outcome): void {
  requireRefusal(ours, 'kernel-too-old');
  assert.match(ours.said, /this kernel has no data-only lower layers, which came with Linux 6\.5/);
  assert.deepEqual(ours.loops, []);
}

async function compareAll(context: CaseContext, suite: string, outcome: Outcomes): Promise<void> {
  const compare = (title: string, one: Turn, judge: (reference: Outcome, ours: Outcome) => void) =>
    context.step(`${suite}, ${one.name}: ${title}`, () =>
      judge(outcome('reference', one), outcome('sealroot', one)),
    );
  for (const one of BOUND) await compare('alike', one, requireAlike);
  for (const one of VERIFIED) {
    await compare('neither boots', one, (reference, ours) => {
      requireRefusedAlike(reference, ours, 'kernel-too-old', /composefs: failed to mount: Invalid argument/);
      requireTooOld(ours);
    });
  }
  for (const one of UNVERIFIED) {
    // Where nothing is compared with a digest the reference makes the object store a part of the root.
    await compare('refused, where the reference shows the objects', one, (reference, ours) => {
      assert.equal(reference.status, 0, reference.said);
      assert.match(reference.mounts.join('\n'), /cfsroot-lower:\/sysroot\/ostree\/repo\/objects,/);
      requireTooOld(ours);
    });
  }
  await compare('refused before the kernel is asked', STRANGER, (reference, ours) =>
    requireRefusedAlike(reference, ours, 'signature-none-valid', /No valid \(of 1\) signatures found/),
  );
}

export default {
  title: 'Linux 6.1 and 5.10: bind mounts boot as they do by the reference, an image is refused by name',
  deadlineSeconds: 1200,
  async run(context) {
    const stage = new RefusalCase(context, await ensureBaseDisk());
    const programs = await parityPrograms(context.folder, { ed25519: true });
    for (const suite of ['bookworm', 'bullseye'] as const) {
      const kernel = await ensureDebianKernel(suite);
      const turns = [...BOUND, ...VERIFIED, ...UNVERIFIED, STRANGER];
      const outcome = await context.step(`${suite}: both run under Linux ${kernel.version}`, () =>
        takeTurns(stage, suite, programs, turns, kernel),
      );
      await compareAll(context, suite, outcome);
    }
  },
} satisfies VmCase;
