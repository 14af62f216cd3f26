/** Deployments that bootc made: their commit is unsigned, the one that it was made from is judged in its place. */
import { unlinkSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { utf8 } from '../../src/formats/encoding.ts';
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

let binary = '';
let rig: Rig;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});
afterEach(() => rig.remove());

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

async function code(): Promise<string> {
  return codeOf((await rig.run()).stderr);
}

describe('a deployment of bootc', () => {
  it('boots when its base is signed', async () => {
    withBase(SIGNED);
    expect(await code()).toBe(AFTER_ACCEPTANCE);
  });

  it('does not when the base is not, or is not there', async () => {
    withBase({ ...SIGNED, commitmeta: null });
    expect(await code()).toBe('commitmeta-missing');
    put(rig.object('commitmeta', SIGNED.checksum), commitmeta);
    unlinkSync(rig.object('commit', SIGNED.checksum));
    expect(await code()).toBe('commit-missing');
  });

  it('is held to what the policy demands of the base', async () => {
    const conf = utf8('[composefs]\nenabled=signed\n[sealroot]\nmin-timestamp=1700000001\n');
    withBase(SIGNED, { conf });
    expect(await code()).toBe('commit-below-floor');
  });

  it('does not fall back on the base when it has signatures of its own, even bad ones', async () => {
    withBase(SIGNED, { commitmeta });
    expect(await code()).toBe('signature-none-valid');
  });

  it('does not lead from base to base', async () => {
    const middle = bootcCommitOf(SIGNED.checksum);
    withBase({ commit: middle, commitmeta: null, checksum: sha256(middle) });
    put(rig.object('commit', SIGNED.checksum), commit);
    put(rig.object('commitmeta', SIGNED.checksum), commitmeta);
    expect(await code()).toBe('commitmeta-missing');
  });

  it('is what its checksum says', async () => {
    withBase(SIGNED);
    // Another commit of bootc's under this name, whose base is signed, too.
    const other = signedWith({}, 1700000005n);
    put(rig.object('commit'), bootcCommitOf(other.checksum));
    put(rig.object('commit', other.checksum), other.commit);
    put(rig.object('commitmeta', other.checksum), other.commitmeta);
    expect(await code()).toBe('commitmeta-missing');
  });
});

describe('a commit without signatures that has a parent', () => {
  it('is not taken for one of bootc', async () => {
    const plain = signedWith({});
    rig = makeRig(binary, { ...UNTAMPERED, ...plain, commitmeta: null });
    expect(await code()).toBe('commitmeta-missing');
  });
});
