/**
 * ostree-prepare-root and ours by turns over one disk with fs-verity: the same mounts, the same word to the booted system,
 * the same access. Boots that nobody has signed; parity-signed.ts has the others.
 *
 * The whole table of modes is test/oracles/prepare-root-parity.test.ts, which needs no guest and has no fs-verity.
 */
import { strict as assert } from 'node:assert';
import { ensureBaseDisk } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import {
  ETC,
  parityPrograms,
  policyOf,
  READONLY,
  ROOT,
  ROOT_READONLY,
  requireAlike,
  type Turn,
  takeTurns,
} from '../parity-guest.ts';
import { RefusalCase } from '../refusal.ts';

const USUAL: readonly Turn[] = [
  { name: 'verity', policy: policyOf('verity') },
  { name: 'verity-transient', policy: policyOf('verity', `${ETC}${ROOT}`) },
  { name: 'yes', policy: policyOf('yes', ETC) },
  { name: 'maybe', policy: policyOf('maybe', ROOT_READONLY) },
  { name: 'no', policy: policyOf('no') },
  { name: 'no-readonly', policy: policyOf('no', `${READONLY}${ETC}`) },
];
/** On a disk with what \`ostree admin unlock --hotfix\` leaves. */
const HOTFIX: readonly Turn[] = [
  { name: 'verity-hotfix', policy: policyOf('verity') },
  { name: 'no-hotfix', policy: policyOf('no', ETC) },
];

export default {
  title: 'beside ostree-prepare-root, the same root by the same configuration',
  deadlineSeconds: 1200,
  async run(context) {
    const stage = new RefusalCase(context, await ensureBaseDisk());
    const programs = await parityPrograms(context.folder, { ed25519: false });
    const compare = async (name: string, turns: readonly Turn[]) => {
      const outcome = await context.step(`${name}: both run in one guest`, () =>
        takeTurns(stage, name, programs, turns),
      );
      for (const turn of turns) {
        await context.step(`${turn.name}: alike`, () => {
          const ours = outcome('sealroot', turn);
          requireAlike(outcome('reference', turn), ours);
          assert.equal(ours.access.includes('usr/added=hotfix'), name === 'hotfix');
        });
      }
    };
    await compare('usual', USUAL);
    const beside = `${stage.base.deployment}/.usr-ovl`;
    for (const name of ['upper', 'work']) stage.disk.makeDirectory(`${beside}-${name}`);
    stage.disk.replace(`${beside}-upper/added`, Buffer.from('hotfix\n'), { verity: false });
    await compare('hotfix', HOTFIX);
  },
} satisfies VmCase;
