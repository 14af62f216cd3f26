/**
 * composefs.enabled=signed in ostree-prepare-root and in ours: whose commit they trust, over the mutation table of the
 * verdict. Both get as far as the image, which has no fs-verity here; vm-tests/cases/parity-signed.ts takes what they
 * trust to the mounts.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import {
  applyMutation,
  conf,
  key1Line,
  type Mutation,
  OSTREE_ARGUMENT,
  text,
  UNTAMPERED,
} from '../formats/mutation-inputs.ts';
import { MUTATIONS } from '../formats/verdict-mutations.ts';
import { AFTER_ACCEPTANCE, codeOf, makeRig, put, type Rig } from './prepare-root-rig.ts';
import { makeSignedReference, type ReferenceVerdict, referenceVerdict } from './signed-reference.ts';

let binary = '';
let reference = '';
let rig: Rig | undefined;

beforeAll(async () => {
  binary = await buildPrepareRoot();
  reference = await makeSignedReference();
});
afterEach(() => {
  rig?.remove();
  rig = undefined;
});
afterAll(() => rmSync(reference, { recursive: true, force: true }));

/** Where the reference decides otherwise, and why we do not follow it. */
const OTHERWISE: ReadonlyMap<string, ReferenceVerdict> = new Map([
  // One malformed key or signature hides no good one behind it.
  ['malformed key line before the good one', 'refuses'],
  ['short signature entry before the good one', 'refuses'],
  // An argument of the kernel, signed by nobody, takes the seal off, or stops a boot that the policy would let through.
  ['kernel argument ostree.prepare-root.composefs=0', 'unsealed'],
  ['kernel argument ostree.prepare-root.composefs=no', 'unsealed'],
  ['kernel argument ostree.prepare-root.composefs=maybe', 'unsealed'],
  ['kernel argument ostree.prepare-root.composefs=verity', 'refuses'],
  ['kernel argument ostree.prepare-root.composefs="0"', 'refuses'],
  // It does not ask whether the commit is the one that the deployment is named after.
  ['commit: another one, well signed', 'accepts'],
  // GVariant reads what is not in normal form, and what is there twice.
  ['signed: truncated commit', 'accepts'],
  ['signed: commit with padding that is not zero', 'accepts'],
  ['commitmeta: padding that is not zero', 'accepts'],
  ['commitmeta: signatures twice', 'accepts'],
  // It has no bound.
  ['commitmeta: 65 entries', 'accepts'],
  // Without a word on the seal it boots without one.
  ['policy: no file', 'unsealed'],
  ['policy: empty', 'unsealed'],
  ['policy: signed in another group', 'unsealed'],
  // OpenSSL lets one signature hold for every message under such a key.
  ['keys: of small order, with a signature that holds for every message', 'accepts'],
]);

/** What only ours has: its own group of the policy, and revocations. */
function isOursAlone(row: Mutation): boolean {
  const { conf, revoked } = applyMutation(row);
  return revoked !== null || (conf !== null && Buffer.from(conf).includes('[sealroot]'));
}

describe('the mutation table', () => {
  const rows = MUTATIONS.filter((row) => !isOursAlone(row));

  it('names every difference once', () => {
    const names = rows.map(({ name }) => name);
    expect(names.length).toBeGreaterThan(130);
    for (const name of OTHERWISE.keys()) expect(names.filter((one) => one === name)).toEqual([name]);
  });

  it.each(rows.map((row) => [row.name, row] as const))('%s', (name, row) => {
    const alike = row.expectedCode === undefined ? 'accepts' : 'refuses';
    expect(OTHERWISE.get(name)).not.toBe(alike);
    rig = makeRig(binary, applyMutation(row));
    expect(referenceVerdict(rig, reference)).toBe(OTHERWISE.get(name) ?? alike);
  });
});

describe('composefs.keypath', () => {
  const KEYPATH = '/usr/share/keys/os.pub';
  const inputs = {
    ...UNTAMPERED,
    keys: null,
    conf: text(`[composefs]\nenabled=signed\nkeypath=${KEYPATH}\n`),
  };

  it.each([
    ['holds the key', `${key1Line}\n`, 'accepts', AFTER_ACCEPTANCE],
    ['is not there', null, 'refuses', 'keys-missing'],
  ] as const)('%s', async (_, keys, verdict, code) => {
    rig = makeRig(binary, inputs);
    put(join(rig.folder, KEYPATH), keys);
    expect(codeOf((await rig.run()).stderr)).toBe(code);
    expect(referenceVerdict(rig, reference)).toBe(verdict);
  });

  it('is the only one that counts', async () => {
    rig = makeRig(binary, { ...inputs, keys: text(key1Line) });
    expect(codeOf((await rig.run()).stderr)).toBe('keys-missing');
    expect(referenceVerdict(rig, reference)).toBe('refuses');
  });
});

describe('ostree.prepare-root.composefs=signed', () => {
  const cmdline = `${OSTREE_ARGUMENT} ostree.prepare-root.composefs=signed\n`;

  it.each([
    'no',
    'maybe',
    'yes',
    'verity',
  ])('seals a boot whose policy says %s; the reference has read no keys then, and crashes', async (enabled) => {
    rig = makeRig(binary, { ...UNTAMPERED, cmdline, conf: text(`[composefs]\nenabled=${enabled}\n`) });
    expect(codeOf((await rig.run()).stderr)).toBe(AFTER_ACCEPTANCE);
    expect(referenceVerdict(rig, reference)).toBe('crashes');
  });

  it('changes nothing where the policy says so', async () => {
    rig = makeRig(binary, { ...UNTAMPERED, cmdline, conf });
    expect(codeOf((await rig.run()).stderr)).toBe(AFTER_ACCEPTANCE);
    expect(referenceVerdict(rig, reference)).toBe('accepts');
  });
});
