/** The floor at boot: what the commits of the other deployments on the disk say, through the real program. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { makeVariant, type VariantValue } from '../../src/formats/gvariant.ts';
import { MAX_COMMIT_BYTES } from '../../src/formats/ostree-objects.ts';
import { MAX_SIGNATURES } from '../../src/formats/verdict.ts';
import { metadataWith, signedWith, UNTAMPERED } from '../formats/mutation-inputs.ts';
import { AFTER_ACCEPTANCE, addDeployment, codeOf, makeRig, type Rig } from './prepare-root-rig.ts';

/** The booted commit's. */
const TIME = 1700000000n;
let binary = '';
let rig: Rig;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});

afterEach(() => rig.remove());

function floor(value: bigint | VariantValue, timestamp = TIME + 100n) {
  const variant = typeof value === 'bigint' ? makeVariant('t', value) : value;
  return signedWith({ 'sealroot.floor': variant }, timestamp);
}

async function outcome(): Promise<string> {
  const { status, stderr } = await rig.run();
  expect(status).toBe(1);
  return codeOf(stderr);
}

describe('the floor of the deployments on the disk', () => {
  it('refuses a commit that is older than one of them allows', async () => {
    rig = makeRig(binary);
    const { checksum } = addDeployment(rig, floor(TIME + 1n));
    const { stderr } = await rig.run();
    expect(stderr).toContain(
      `error: commit-below-floor: cannot use commit ${UNTAMPERED.checksum}: its timestamp is 1700000000, ` +
        `the sealroot.floor of commit ${checksum} is 1700000001; boot a newer deployment`,
    );
  });

  it('takes the highest of several, over all stateroots', async () => {
    rig = makeRig(binary);
    addDeployment(rig, floor(TIME - 5n));
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
    addDeployment(rig, floor(TIME));
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
    addDeployment(rig, floor(TIME + 1n), 'another-os');
    expect(await outcome()).toBe('commit-below-floor');
  });

  it('gives no say to what does not verify', async () => {
    rig = makeRig(binary);
    const unsigned = floor(TIME + 1n);
    addDeployment(rig, { ...unsigned, commitmeta: metadataWith([new Uint8Array(64)]) });
    addDeployment(rig, { ...floor(TIME + 2n), commitmeta: null });
    addDeployment(rig, { ...floor(TIME + 3n), commit: null });
    addDeployment(rig, floor(makeVariant('s', ascii('1800000000'))));
    addDeployment(rig, { ...floor(TIME + 4n), checksum: 'ab'.repeat(32) });
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('asks of the others what it asks of every commit', async () => {
    const conf = utf8('[composefs]\nenabled=signed\n[sealroot]\nrefs=test/one\n');
    rig = makeRig(binary, { ...UNTAMPERED, conf });
    const other = { 'ostree.ref-binding': makeVariant('as', [ascii('os/other')]) };
    addDeployment(rig, signedWith({ ...other, 'sealroot.floor': makeVariant('t', TIME + 1n) }, TIME + 1n));
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('is that of deployments: a commit that is only in the repository has no say', async () => {
    rig = makeRig(binary);
    const { path } = addDeployment(rig, floor(TIME + 1n));
    renameSync(path, `${path}-removed`);
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('is not read where a link leads', async () => {
    rig = makeRig(binary);
    addDeployment(rig, floor(TIME + 1n), 'other');
    const stateroot = join(rig.sysroot, 'ostree/deploy/other');
    renameSync(stateroot, join(rig.sysroot, 'moved'));
    symlinkSync('../../moved', stateroot);
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('survives everything that can lie among deployments', async () => {
    rig = makeRig(binary);
    const deploy = join(rig.sysroot, 'ostree/deploy');
    execFileSync('mknod', [join(deploy, 'fifo'), 'p']);
    writeFileSync(join(deploy, 'file'), '');
    symlinkSync('loop', join(deploy, 'loop'));
    mkdirSync(Buffer.concat([Buffer.from(`${deploy}/`), Buffer.from([0xff, 0x0a])]));
    for (let i = 0; i < 500; i++) writeFileSync(join(deploy, 'os/deploy', `${'x'.repeat(200)}${i}`), '');
    const { checksum } = addDeployment(rig, floor(TIME + 1n));
    expect(await outcome()).toBe('commit-below-floor');
    const commit = rig.object('commit', checksum);
    unlinkSync(commit);
    execFileSync('mknod', [commit, 'p']);
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('has memory for a neighbour whose objects are as large as may be', async () => {
    rig = makeRig(binary);
    const { checksum } = addDeployment(rig, floor(TIME + 1n));
    for (const type of ['commit', 'commitmeta']) truncateSync(rig.object(type, checksum), MAX_COMMIT_BYTES);
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  /** Nobody's commits, of all the bytes that one may have, in a stateroot that comes first. */
  function addLargest(count: number): void {
    for (let i = 0; i < count; i++) {
      const checksum = `${i}`.repeat(64);
      addDeployment(rig, { checksum, commit: new Uint8Array(0), commitmeta: null }, 'a');
      truncateSync(rig.object('commit', checksum), MAX_COMMIT_BYTES);
    }
  }

  it('is looked for in no more bytes than two of the largest objects have', async () => {
    rig = makeRig(binary);
    addDeployment(rig, floor(TIME + 1n), 'z');
    addLargest(1);
    expect(await outcome()).toBe('commit-below-floor');
    addLargest(2);
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('and under no more signatures than four commits may have', async () => {
    rig = makeRig(binary);
    addDeployment(rig, floor(TIME + 1n), 'z');
    const commitmeta = metadataWith(Array.from({ length: MAX_SIGNATURES }, () => new Uint8Array(64)));
    const addForged = (at: bigint) => addDeployment(rig, { ...floor(at, TIME + at), commitmeta }, 'a');
    for (const at of [1n, 2n, 3n]) addForged(at);
    expect(await outcome()).toBe('commit-below-floor');
    addForged(4n);
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('and so is another deployment to boot', async () => {
    const conf = utf8('[composefs]\nenabled=signed\n[sealroot]\non-failure=next-deployment\n');
    rig = makeRig(binary, { ...UNTAMPERED, conf });
    const { path } = addDeployment(rig, floor(TIME), 'z');
    const refused = (code: string) => `cannot boot ${path.slice(rig.sysroot.length + 1)}: ${code}: `;
    expect((await rig.run()).stderr).toContain(refused(AFTER_ACCEPTANCE));
    addLargest(2);
    expect((await rig.run()).stderr).toContain(refused('file-too-large'));
  });

  it('is looked for among so many names, in whatever folders', async () => {
    rig = makeRig(binary);
    addDeployment(rig, floor(TIME + 1n), 'z');
    const addNames = (os: string) => {
      const folder = join(rig.sysroot, 'ostree/deploy', os, 'deploy');
      mkdirSync(folder, { recursive: true });
      for (let i = 0; i < 2100; i++) writeFileSync(join(folder, `${i}`), '');
    };
    addNames('a');
    expect(await outcome()).toBe('commit-below-floor');
    addNames('b');
    expect(await outcome()).toBe(AFTER_ACCEPTANCE);
  });

  it('does not weaken the floor of the policy', async () => {
    const conf = utf8(`[composefs]\nenabled=signed\n[sealroot]\nmin-timestamp=${TIME + 1n}\n`);
    rig = makeRig(binary, { ...UNTAMPERED, conf });
    addDeployment(rig, floor(TIME - 1n));
    expect(await outcome()).toBe('commit-below-floor');
  });
});
