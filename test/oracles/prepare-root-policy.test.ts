/** What the policy does to a boot beside the verdict: which deployment, what after a failure; and the questions about it. */

import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { utf8 } from '../../src/formats/encoding.ts';
import { makeVariant } from '../../src/formats/gvariant.ts';
import { type BootInputs, metadataWith, signedWith, UNTAMPERED } from '../formats/mutation-inputs.ts';
import { AFTER_ACCEPTANCE, addDeployment, codeOf, makeRig, type Rig } from './prepare-root-rig.ts';

const TIME = 1700000000n;
let binary = '';
let rig: Rig;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});

afterEach(() => rig.remove());

/** Runs the program with these arguments; standard error is a file. */
function ask(...words: string[]) {
  return rig.run('file', words);
}

function rigWith(policy: string, inputs: Partial<BootInputs> = {}): Rig {
  return makeRig(binary, {
    ...UNTAMPERED,
    conf: utf8(`[composefs]\nenabled=signed\n[sealroot]\n${policy}`),
    ...inputs,
  });
}

const LATEST = { cmdline: 'root=x ostree=latest rw\n' };

/** The deployments that were passed over, in order, and the code that ended it. */
async function passedOver(): Promise<{ over: string[]; code: string }> {
  const { status, stderr } = await rig.run();
  expect(status).toBe(1);
  const lines = stderr.matchAll(
    /warning: cannot boot (?:\S+\/)?([0-9a-f]{4})[0-9a-f]{60}\.(\d+): ([a-z-]+): /g,
  );
  return {
    over: [...lines].map(([, name, serial, code]) => `${name}.${serial} ${code}`),
    code: codeOf(stderr),
  };
}

const name = (checksum: string) => `${checksum.slice(0, 4)}.0`;
const at = (timestamp: bigint, floor?: bigint) =>
  signedWith(floor === undefined ? {} : { 'sealroot.floor': makeVariant('t', floor) }, timestamp);

describe('ostree=latest', () => {
  it('takes the newest signed timestamp first, then the highest checksum, then the later deployment', async () => {
    rig = rigWith('', LATEST);
    const newest = addDeployment(rig, at(TIME + 9n), 'another');
    const twins = [
      addDeployment(rig, signedWith({ a: makeVariant('b', true) }, TIME + 5n)).checksum,
      addDeployment(rig, signedWith({ b: makeVariant('b', true) }, TIME + 5n)).checksum,
    ].sort();
    renameSync(newest.path, newest.path.replace(/0$/, '2'));
    addDeployment(rig, at(TIME + 9n), 'another');
    renameSync(newest.path, newest.path.replace(/0$/, '10'));
    expect(await passedOver()).toEqual({
      over: [
        `${newest.checksum.slice(0, 4)}.10 ${AFTER_ACCEPTANCE}`,
        `${newest.checksum.slice(0, 4)}.2 ${AFTER_ACCEPTANCE}`,
        `${name(twins[1] ?? '')} ${AFTER_ACCEPTANCE}`,
        `${name(twins[0] ?? '')} ${AFTER_ACCEPTANCE}`,
        `${name(UNTAMPERED.checksum)} ${AFTER_ACCEPTANCE}`,
      ],
      code: 'no-candidate',
    });
  });

  it('leaves out what does not verify, is of another ref, or lies below the floor, whoever sets it', async () => {
    rig = rigWith('refs=test/one\n', LATEST);
    const unsigned = addDeployment(rig, { ...at(TIME + 9n), commitmeta: metadataWith([new Uint8Array(64)]) });
    const other = addDeployment(rig, signedWith({ 'ostree.ref-binding': undefined }, TIME + 8n));
    const setter = addDeployment(rig, at(TIME + 2n, TIME + 1n));
    const { over, code } = await passedOver();
    expect(over.toSorted()).toEqual(
      [
        `${name(unsigned.checksum)} signature-none-valid`,
        `${name(other.checksum)} ref-not-allowed`,
        `${name(UNTAMPERED.checksum)} commit-below-floor`,
        `${name(setter.checksum)} ${AFTER_ACCEPTANCE}`,
      ].toSorted(),
    );
    expect(over.at(-1)).toBe(`${name(setter.checksum)} ${AFTER_ACCEPTANCE}`);
    expect(code).toBe('no-candidate');
  });

  it('does not take what /ostree/sealroot-skip names, whose floor still counts', async () => {
    rig = rigWith('', LATEST);
    const newer = addDeployment(rig, at(TIME + 5n));
    const skip = join(rig.sysroot, 'ostree/sealroot-skip');
    writeFileSync(skip, `# back to the last one\n\n${newer.checksum}.0\n`);
    expect((await passedOver()).over).toEqual([`${name(UNTAMPERED.checksum)} ${AFTER_ACCEPTANCE}`]);
    writeFileSync(skip, `${newer.checksum}\n${newer.checksum}.7\n`);
    expect((await passedOver()).over).toEqual([`${name(UNTAMPERED.checksum)} ${AFTER_ACCEPTANCE}`]);
    const setter = addDeployment(rig, at(TIME + 6n, TIME + 1n));
    writeFileSync(skip, `${newer.checksum}\n${setter.checksum}\n`);
    expect((await passedOver()).over).toEqual([`${name(UNTAMPERED.checksum)} commit-below-floor`]);
  });

  it('follows no link and no nonsense in the place of that file', async () => {
    rig = rigWith('', LATEST);
    const skip = join(rig.sysroot, 'ostree/sealroot-skip');
    writeFileSync(join(rig.sysroot, 'elsewhere'), `${UNTAMPERED.checksum}\n`);
    symlinkSync('../elsewhere', skip);
    expect((await passedOver()).over).toHaveLength(1);
    rmSync(skip);
    execFileSync('mknod', [skip, 'p']);
    expect((await passedOver()).over).toHaveLength(1);
    rmSync(skip);
    writeFileSync(skip, `*\n../${UNTAMPERED.checksum}.0\n${UNTAMPERED.checksum} \n`);
    const { stderr } = await rig.run();
    // One line, however many there are: a serial console would take minutes for tens of thousands.
    expect(stderr.match(/^.*sealroot-skip.*$/gm)).toEqual([
      'sealroot-prepare-root: warning: cannot follow ostree/sealroot-skip: 3 of its lines are no CHECKSUM or ' +
        'CHECKSUM.SERIAL, the first is "*"',
    ]);
    expect(stderr).toContain(
      `cannot boot ostree/deploy/os/deploy/${UNTAMPERED.checksum}.0: ${AFTER_ACCEPTANCE}: `,
    );
  });

  it('is not asked for by anything else', async () => {
    rig = rigWith('', { cmdline: 'ostree=latest2\n' });
    expect((await passedOver()).code).toBe('deployment-unresolvable');
  });
});

describe('on-failure=next-deployment', () => {
  it('tries the others by the rule of ostree=latest, each once, and ends with the first refusal', async () => {
    rig = rigWith('on-failure=next-deployment\n');
    const older = addDeployment(rig, at(TIME - 5n));
    const newer = addDeployment(rig, at(TIME + 5n));
    expect(await passedOver()).toEqual({
      over: [
        `${name(UNTAMPERED.checksum)} ${AFTER_ACCEPTANCE}`,
        `${name(newer.checksum)} ${AFTER_ACCEPTANCE}`,
        `${name(older.checksum)} ${AFTER_ACCEPTANCE}`,
      ],
      code: AFTER_ACCEPTANCE,
    });
  });

  it('also follows an entry that leads nowhere', async () => {
    rig = rigWith('on-failure=next-deployment\n', { cmdline: 'ostree=/ostree/boot.0/os/0/0\n' });
    const { over, code } = await passedOver();
    expect(over).toEqual([`${name(UNTAMPERED.checksum)} ${AFTER_ACCEPTANCE}`]);
    expect(code).toBe('deployment-unresolvable');
  });

  it.each([
    '',
    'on-failure=emergency\n',
    'on-failure=reboot\n',
    'on-failure=poweroff\n',
  ])('is not what %j says', async (policy) => {
    rig = rigWith(policy);
    addDeployment(rig, at(TIME + 5n));
    expect(await passedOver()).toEqual({ over: [], code: AFTER_ACCEPTANCE });
  });

  it('does not choose a deployment when none was asked for', async () => {
    rig = rigWith('on-failure=next-deployment\n', { cmdline: 'root=x\n' });
    expect(await passedOver()).toEqual({ over: [], code: 'cmdline-ostree-missing' });
  });
});

describe('kernel arguments of ostree and sealroot', () => {
  it('are named and not followed', async () => {
    rig = rigWith('', {
      cmdline: `${UNTAMPERED.cmdline.trim()} sealroot.on-failure=next-deployment ostree.x=1\n`,
    });
    addDeployment(rig, at(TIME + 5n));
    const { stderr } = await rig.run();
    for (const argument of ['sealroot.on-failure', 'ostree.x']) {
      expect(stderr).toContain(`warning: cannot follow kernel argument ${argument}: only `);
    }
    expect(stderr).not.toContain('cannot boot');
  });

  it('are followed where the policy says so', async () => {
    rig = rigWith('allow-karg-override=true\n', {
      cmdline: `${UNTAMPERED.cmdline.trim()} sealroot.refs=os/x\n`,
    });
    expect((await passedOver()).code).toBe('ref-not-allowed');
  });
});

describe('--check-policy', () => {
  const check = (conf: string, root = '') => {
    writeFileSync(join(rig.folder, 'conf'), conf);
    return ask('--check-policy', '/conf', ...(root === '' ? [] : [root]));
  };

  it('says what whoever builds the initramfs has to know, and touches nothing', async () => {
    rig = makeRig(binary);
    rmSync(join(rig.folder, 'usr/lib/sealroot/prepare-root.conf'));
    expect(await check('[composefs]\nenabled=signed\n')).toMatchObject({
      status: 0,
      stdout: 'sealed=true\nkeypath=/etc/ostree/initramfs-root-binding.key\nshell=false\n',
      stderr: '',
      console: '',
    });
    expect((await check('[composefs]\nenabled=signed\n[sealroot]\nshell=1\n')).stdout).toContain(
      '\nshell=true\n',
    );
  });

  it('looks for the keys in the tree', async () => {
    rig = makeRig(binary);
    execFileSync('cp', ['-r', join(rig.folder, 'etc'), join(rig.folder, 'etc2')]);
    execFileSync('sh', ['-c', `mkdir ${rig.folder}/tree && mv ${rig.folder}/etc ${rig.folder}/tree/etc`]);
    expect((await check('[composefs]\nenabled=signed\n')).stderr).toContain(
      'keys-missing: cannot read /etc/ostree/',
    );
    expect((await check('[composefs]\nenabled=signed\n', '/tree')).stdout).toContain('keypath=/etc/ostree/');
  });

  it('says what is wrong on standard error only', async () => {
    rig = makeRig(binary);
    const { status, stdout, stderr, console } = await check('[composefs]\n');
    expect({ status, stdout, console }).toEqual({ status: 1, stdout: '', console: '' });
    expect(codeOf(stderr)).toBe('policy-not-sealed');
    writeFileSync(join(rig.folder, 'etc/ostree/initramfs-root-binding.key'), `${'A'.repeat(43)}=\n`);
    expect(codeOf((await check('[composefs]\nenabled=signed\n')).stderr)).toBe('keys-missing');
    expect(codeOf((await ask('--check-policy', '/none')).stderr)).toBe('policy-missing');
  });
});

describe('--failure-action', () => {
  it.each([
    ['', '', 'emergency'],
    ['on-failure=reboot\n', '', 'reboot'],
    ['on-failure=poweroff\n', 'sealroot.on-failure=reboot', 'poweroff'],
    ['on-failure=next-deployment\n', '', 'emergency'],
    ['on-failure=emergency\nallow-karg-override=true\n', 'sealroot.on-failure=reboot', 'reboot'],
  ])('says what %j and the command line %j come to', async (policy, cmdline, expected) => {
    rig = rigWith(policy, { cmdline: `${cmdline}\n`, keys: null });
    expect(await ask('--failure-action')).toMatchObject({
      status: 0,
      stdout: `${expected}\n`,
      stderr: '',
    });
  });

  it('has no answer without a policy', async () => {
    rig = makeRig(binary, { ...UNTAMPERED, conf: null });
    expect(await ask('--failure-action')).toMatchObject({ status: 1, stdout: '', console: '' });
  });
});

describe('--plan', () => {
  it('refuses as the boot would, and tells nobody but the caller', async () => {
    rig = rigWith('on-failure=next-deployment\n');
    const { status, stdout, stderr, console } = await ask('--plan', '/sysroot');
    expect({ status, stdout, console }).toEqual({ status: 1, stdout: '', console: '' });
    expect(codeOf(stderr)).toBe(AFTER_ACCEPTANCE);
    expect(stderr).toContain('warning: cannot boot ostree/deploy/os/');
  });
});

describe('the arguments of the program', () => {
  it.each([
    [['--frobnicate']],
    [['/sysroot', '/other']],
    [['--check-policy']],
    [['--failure-action', 'x']],
  ])('are not %j', async (words) => {
    rig = makeRig(binary);
    const { status, stdout, stderr } = await ask(...words);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(codeOf(stderr)).toBe('usage');
  });
});
