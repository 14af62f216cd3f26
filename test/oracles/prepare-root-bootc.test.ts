/**
 * Deployments that bootc made: their commit is unsigned, the one that it was made from is judged in its place, by
 * ostree-prepare-root and by ours.
 */
import { mkdirSync, rmSync, unlinkSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { utf8 } from '../../src/formats/encoding.ts';
import { encodeCommit, parseCommit } from '../../src/formats/ostree-objects.ts';
import {
  type BootInputs,
  bootcCommitOf,
  commit,
  commitmeta,
  sha256,
  signedWith,
  UNTAMPERED,
} from '../formats/mutation-inputs.ts';
import { AFTER_ACCEPTANCE, codeOf, makeRig, put, type Rig } from './prepare-root-rig.ts';
import { makeSignedReference, type ReferenceVerdict, referenceVerdict } from './signed-reference.ts';

let binary = '';
let reference = '';
let rig: Rig;

beforeAll(async () => {
  binary = await buildPrepareRoot();
  reference = await makeSignedReference();
});
afterEach(() => rig.remove());
afterAll(() => rmSync(reference, { recursive: true, force: true }));

const SIGNED = { commit, commitmeta, checksum: UNTAMPERED.checksum };

/** A deployment of a commit that bootc made of `base`, which lies beside it. */
function withBase(
  base: Pick<BootInputs, 'commit' | 'commitmeta' | 'checksum'>,
  inputs: Partial<BootInputs> = {},
) {
  const made = bootcCommitOf(base.checksum);
  rig = makeRig(binary, { ...UNTAMPERED, commit: made, commitmeta: null, checksum: sha256(made), ...inputs });
  put(rig.object('commit', base.checksum), base.commit);
  put(rig.object('commitmeta', base.checksum), base.commitmeta);
}

/** Our code, and what the reference makes of the same boot. */
async function verdicts(): Promise<[code: string, reference: ReferenceVerdict]> {
  const { stderr } = await rig.run();
  return [codeOf(stderr), referenceVerdict(rig, reference)];
}

describe('a deployment of bootc', () => {
  it('boots when its base is signed', async () => {
    withBase(SIGNED);
    expect(await verdicts()).toEqual([AFTER_ACCEPTANCE, 'accepts']);
  });

  it('does not when the base is not signed', async () => {
    withBase({ ...SIGNED, commitmeta: null });
    expect(await verdicts()).toEqual(['commitmeta-missing', 'refuses']);
  });

  it('does not when the base is not there', async () => {
    withBase(SIGNED);
    unlinkSync(rig.object('commit', SIGNED.checksum));
    expect(await verdicts()).toEqual(['commit-missing', 'refuses']);
  });

  it('is held to what the policy demands of the base', async () => {
    const conf = utf8('[composefs]\nenabled=signed\n[sealroot]\nmin-timestamp=1700000001\n');
    withBase(SIGNED, { conf });
    expect(await verdicts()).toEqual(['commit-below-floor', 'accepts']);
  });

  it('does not fall back on the base when it has signatures of its own, even bad ones', async () => {
    withBase(SIGNED, { commitmeta });
    expect(await verdicts()).toEqual(['signature-none-valid', 'refuses']);
  });

  it('does not fall back on the base when its own detached metadata cannot be read', async () => {
    withBase(SIGNED);
    mkdirSync(rig.object('commitmeta'));
    expect(await verdicts()).toEqual(['not-a-regular-file', 'refuses']);
  });

  it('does not lead from base to base', async () => {
    const middle = bootcCommitOf(SIGNED.checksum);
    withBase({ commit: middle, commitmeta: null, checksum: sha256(middle) });
    put(rig.object('commit', SIGNED.checksum), commit);
    put(rig.object('commitmeta', SIGNED.checksum), commitmeta);
    expect(await verdicts()).toEqual(['commitmeta-missing', 'refuses']);
  });

  it('is what its checksum says, for which the reference does not ask', async () => {
    withBase(SIGNED);
    // Another commit of bootc's under this name, whose base is signed, too.
    const other = signedWith({}, 1700000005n);
    put(rig.object('commit'), bootcCommitOf(other.checksum));
    put(rig.object('commit', other.checksum), other.commit);
    put(rig.object('commitmeta', other.checksum), other.commitmeta);
    expect(await verdicts()).toEqual(['commitmeta-missing', 'accepts']);
  });
});

describe('a commit without signatures whose parent is signed', () => {
  const child = encodeCommit({ ...parseCommit(commit), parent: SIGNED.checksum });

  it.each([
    ['that says nothing of a container', child],
    ['that says it in another type', bootcCommitOf(SIGNED.checksum, 'ay')],
  ])('%s, is not one of bootc', async (_, bytes) => {
    withBase(SIGNED, { commit: bytes, checksum: sha256(bytes) });
    expect(await verdicts()).toEqual(['commitmeta-missing', 'refuses']);
  });
});
