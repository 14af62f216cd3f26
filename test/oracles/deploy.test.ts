/**
 * Deployments where fs-verity is missing: everything up to it, and that nothing stays behind. The success path needs
 * a kernel that has it and runs in the virtual machines (vm-tests/cases/upgrade-and-rollback.ts).
 */

import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPartitionedImage, MIB, makeExt4, planLayout } from '../../src/adapters/disk-image.ts';
import { setImmutable } from '../../src/adapters/inode-attributes.ts';
import { mountImagePart } from '../../src/adapters/mount-namespace.ts';
import { openSysroot } from '../../src/adapters/sysroot.ts';
import { adminDeploy } from '../../src/commands/admin-deploy.ts';
import { adminPlan } from '../../src/commands/admin-plan.ts';
import { adminStatus } from '../../src/commands/admin-status.ts';
import { seal } from '../../src/commands/seal.ts';
import { TREE_POLICY } from '../../src/commands/trusted-keys.ts';
import { refused } from '../../src/formats/errors.ts';
import { sealroot, useCli } from '../commands/run-cli.ts';
import { put } from './prepare-root-rig.ts';
import { makeSealedRepo, REF, type SealedRepo } from './sealed-repo.ts';

useCli();

let sealed: SealedRepo;
let root: string;
let unmount: () => void;

beforeAll(async () => {
  sealed = await makeSealedRepo();
  const image = join(sealed.folder, 'sysroot.raw');
  const layout = planLayout({ size: 300 * MIB, espSize: 64 * MIB, espUuid: uuid('1'), rootUuid: uuid('2') });
  createPartitionedImage(image, layout);
  makeExt4(image, layout.root, uuid('3'));
  // Whatever the kernel can do: this file system cannot have verity files.
  execFileSync('debugfs', ['-w', '-R', 'feature -verity', `${image}?offset=${layout.root.offset}`], {
    stdio: 'ignore',
  });
  root = join(sealed.folder, 'root');
  mkdirSync(root);
  unmount = mountImagePart(image, layout.root, root);
  mkdirSync(join(root, 'boot'));
  const sysroot = await openSysroot(root, { create: true, lock: true });
  sysroot.setRepoConfig('sysroot', 'bootloader', 'none');
  sysroot.initOs('debian');
  sysroot.pullLocal(sealed.repo, REF);
  const { path } = sysroot.deploy({
    os: 'debian',
    checksum: sealed.commit,
    refspec: REF,
    kernelArguments: ['root=LABEL=root', 'first'],
  });
  sysroot.close();
  put(join(path, TREE_POLICY), '[composefs]\nenabled=signed\n');
});
afterAll(() => {
  unmount();
  rmSync(sealed.folder, { recursive: true });
});

function uuid(digit: string): string {
  return `00000000-0000-4000-8000-00000000000${digit}`;
}

function deployments(): string[] {
  return readdirSync(join(root, 'ostree/deploy/debian/deploy')).sort();
}

function entries(): string {
  const folder = join(root, 'boot/loader/entries');
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n');
}

/** What a refused deployment must not change. */
function state() {
  return {
    deployments: deployments(),
    entries: entries(),
    probes: readdirSync(join(root, 'ostree/repo/tmp')),
  };
}

describe('sealroot admin deploy', () => {
  const options = () => ({ sysroot: root, os: 'debian', refspec: REF, pubkeys: [sealed.publicKey] });

  it('says that the file system has no fs-verity, and changes nothing', async () => {
    const before = state();
    await expect(adminDeploy(options())).rejects.toMatchObject({
      code: 'verity-unsupported',
      kind: 'refused',
    });
    expect(state()).toEqual(before);
  });

  it('takes the verdict before anything else', async () => {
    const before = state();
    await expect(adminDeploy({ ...options(), pubkeys: [sealed.otherKey] })).rejects.toMatchObject({
      code: 'signature-none-valid',
    });
    expect(state()).toEqual(before);
  });

  it('names a refspec that does not resolve', async () => {
    await expect(adminDeploy({ ...options(), refspec: 'os/none' })).rejects.toMatchObject({
      code: 'rev-not-found',
    });
    await expect(adminDeploy({ ...options(), refspec: '../x' })).rejects.toMatchObject({
      code: 'rev-not-found',
    });
  });

  it('refuses a repository whose file objects are not the files themselves', async () => {
    const config = join(root, 'ostree/repo/config');
    const original = readFileSync(config, 'utf8');
    writeFileSync(config, original.replace('mode=bare\n', 'mode=bare-user\n'));
    try {
      await expect(adminDeploy(options())).rejects.toMatchObject({
        code: 'repo-mode-unsupported',
        message: `cannot deploy from ${root}/ostree/repo: its mode is bare-user, expected bare`,
      });
    } finally {
      writeFileSync(config, original);
    }
  });

  it('says that it waits for the lock while somebody else has it', async () => {
    const held = await openSysroot(root, { lock: true });
    const seen: string[] = [];
    // Thrown, since nobody would end the wait that follows.
    const onProgress = (message: string) => {
      seen.push(message);
      throw new Error('seen');
    };
    try {
      await expect(adminDeploy({ ...options(), onProgress })).rejects.toThrow('seen');
      expect(seen).toEqual(['waiting for the lock of the sysroot']);
    } finally {
      held.close();
    }
  });

  it('releases the lock after a refusal', async () => {
    await expect(adminDeploy(options())).rejects.toThrow();
    const again = await openSysroot(root, {
      lock: true,
      // Thrown, since nobody would end the wait that follows.
      onWait: () => {
        throw new Error('the lock is still held');
      },
    });
    again.close();
  });
});

describe('sealroot admin on the command line', () => {
  const admin = (...args: string[]) => sealroot(['admin', ...args, '--sysroot', root]);
  const lines = (signature: string, marks = '') =>
    [
      `  debian ${sealed.commit}.0${marks}`,
      `    signature  ${signature}`,
      `    digest     ${sealed.digest}`,
      '    image      missing',
      '',
    ].join('\n');

  it('status shows each deployment, whether or not there are keys', () => {
    const key = readFileSync(sealed.publicKey, 'utf8').trim();
    execFileSync('ostree', ['admin', `--sysroot=${root}`, 'pin', '0'], { stdio: 'ignore' });
    try {
      expect(admin('status', '--pubkey', sealed.publicKey)).toEqual({
        status: 0,
        stdout: lines(`valid: ${key}  (${sealed.publicKey}, line 1)`, ' (pinned)'),
        stderr: '',
      });
    } finally {
      execFileSync('ostree', ['admin', `--sysroot=${root}`, 'pin', '--unpin', '0'], { stdio: 'ignore' });
    }
    const { deployments } = JSON.parse(admin('status', '--json', '--pubkey', sealed.publicKey).stdout);
    expect(deployments).toEqual([expect.objectContaining({ commit: sealed.commit, digest: sealed.digest })]);
    // Where a boot has recorded keys, this machine's are taken.
    expect(admin('status')).toEqual({
      status: 0,
      stdout: lines('unknown: no keys to judge by'),
      stderr:
        'sealroot: warning: cannot verify any commit: no public key is named, and this boot has recorded none in /run/sealroot/keys\n',
    });
    const unusable = admin('status', '--pubkey', join(root, 'none'));
    expect(unusable).toMatchObject({ status: 4, stdout: '' });
    expect(unusable.stderr).toContain('ENOENT');
  });

  it('deploy and plan say what to do about a refusal', () => {
    const { status, stdout, stderr } = admin(
      ...['deploy', '--os', 'debian', '--pubkey', sealed.otherKey, REF],
    );
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(
      new RegExp(
        `^sealroot: error: cannot verify commit ${sealed.commit}: none of 1 .*\nsealroot: hint: .+\n$`,
      ),
    );
    const plan = admin('plan', sealed.commit, '--pubkey', sealed.publicKey);
    expect(plan).toMatchObject({ status: 1, stdout: '' });
    expect(plan.stderr).toContain(`${sealed.commit}.0/.ostree.cfs: ENOENT`);
  });
});

describe('Sysroot.deploy()', () => {
  it('removes the checkout and leaves the boot loader alone when sealing fails', async () => {
    const before = state();
    const sysroot = await openSysroot(root, { lock: true });
    let checkedOut = '';
    try {
      expect(() =>
        sysroot.deploy({
          os: 'debian',
          checksum: sealed.commit,
          refspec: REF,
          kernelArguments: undefined,
          beforeBootLoader: (path) => {
            checkedOut = path;
            expect(existsSync(join(path, 'usr/bin/ping'))).toBe(true);
            throw refused('no-good', 'cannot seal: no good');
          },
        }),
      ).toThrow(expect.objectContaining({ code: 'no-good', message: 'cannot seal: no good' }));
    } finally {
      sysroot.close();
    }
    expect(existsSync(checkedOut)).toBe(false);
    expect(state()).toEqual(before);
  });

  it('refuses an OS that the sysroot does not have', async () => {
    const sysroot = await openSysroot(root, { lock: true });
    try {
      const options = { checksum: sealed.commit, refspec: REF, kernelArguments: undefined };
      expect(() => sysroot.deploy({ ...options, os: 'fedora' })).toThrow(
        expect.objectContaining({ code: 'os-missing' }),
      );
    } finally {
      sysroot.close();
    }
  });

  it('refuses a sysroot that is not locked', async () => {
    const sysroot = await openSysroot(root);
    try {
      const options = { os: 'debian', checksum: sealed.commit, refspec: REF, kernelArguments: undefined };
      expect(() => sysroot.deploy(options)).toThrow(expect.objectContaining({ code: 'sysroot-not-locked' }));
    } finally {
      sysroot.close();
    }
  });

  it('hands the kernel arguments on, without ostree=', async () => {
    const sysroot = await openSysroot(root);
    expect(sysroot.inheritedKernelArguments('debian')).toEqual(['root=LABEL=root', 'first']);
    sysroot.close();
  });
});

describe('sealroot admin status', () => {
  it('tells an unsealed deployment of a sealed commit', async () => {
    const { deployments, warnings } = await adminStatus({ sysroot: root, pubkeys: [sealed.publicKey] });
    expect(warnings).toEqual([]);
    expect(deployments).toEqual([
      {
        os: 'debian',
        commit: sealed.commit,
        serial: 0,
        path: join(root, `ostree/deploy/debian/deploy/${sealed.commit}.0`),
        refspec: REF,
        booted: false,
        staged: false,
        pinned: false,
        signature: { state: 'valid', key: expect.objectContaining({ file: sealed.publicKey, line: 1 }) },
        digest: sealed.digest,
        image: 'missing',
      },
    ]);
  });

  it('tells a signature that the keys do not accept', async () => {
    const { deployments } = await adminStatus({ sysroot: root, pubkeys: [sealed.otherKey] });
    expect(deployments[0]?.signature).toMatchObject({ state: 'refused', code: 'signature-none-valid' });
    expect(deployments[0]?.digest).toBe(sealed.digest);
  });

  it('tells what is wrong with a key file, and judges by its other lines', async () => {
    const keys = join(sealed.folder, 'some-keys');
    const lines = [sealed.otherKey, sealed.publicKey].map((file) => readFileSync(file, 'utf8'));
    writeFileSync(keys, `nonsense\n${lines.join('')}`);
    const { deployments, warnings } = await adminStatus({ sysroot: root, pubkeys: [keys] });
    expect(warnings).toEqual([expect.stringContaining(`${keys}: cannot use public key in line 1: `)]);
    expect(deployments[0]?.signature).toMatchObject({ state: 'valid', key: { line: 3 } });
  });

  it('tells a commit that is not there any more', async () => {
    const object = join(
      root,
      'ostree/repo/objects',
      sealed.commit.slice(0, 2),
      `${sealed.commit.slice(2)}.commit`,
    );
    renameSync(object, `${object}.away`);
    try {
      const { deployments } = await adminStatus({ sysroot: root, pubkeys: [sealed.publicKey] });
      expect(deployments[0]?.signature).toMatchObject({ state: 'refused', code: 'commit-missing' });
      expect(deployments[0]).not.toHaveProperty('digest');
    } finally {
      renameSync(`${object}.away`, object);
    }
  });
});

describe('sealroot admin plan', () => {
  const plan = (deployment: string, key = sealed.publicKey) =>
    adminPlan({ sysroot: root, deployment, pubkeys: [key] });

  it('refuses what the boot would: a deployment without an image, a signer that nobody trusts', async () => {
    await expect(plan(`${sealed.commit}.0`)).rejects.toMatchObject({
      kind: 'refused',
      code: 'image-missing',
    });
    await expect(plan(sealed.commit, sealed.otherKey)).rejects.toMatchObject({
      code: 'signature-none-valid',
    });
  });

  it('names a deployment that is not there', async () => {
    for (const name of [`${sealed.commit}.7`, 'debian']) {
      await expect(plan(name)).rejects.toMatchObject({
        code: 'deployment-missing',
        message: `cannot plan the boot of ${name}: there is no such deployment`,
      });
    }
  });
});

describe('an image without fs-verity', () => {
  it.each([
    ['file', 'no-verity', 'image-verity-missing'],
    ['link', 'unreadable', 'image-unsafe'],
  ])('that is a %s is %s, and nothing that would be mounted', async (kind, image, code) => {
    const deployment = join(root, `ostree/deploy/debian/deploy/${sealed.commit}.0`);
    const path = join(deployment, '.ostree.cfs');
    setImmutable(deployment, false);
    if (kind === 'file') writeFileSync(path, 'an image');
    else symlinkSync('usr/lib/os-release', path);
    try {
      const pubkeys = [sealed.publicKey];
      const { deployments } = await adminStatus({ sysroot: root, pubkeys });
      expect(deployments[0]?.image).toBe(image);
      await expect(adminPlan({ sysroot: root, deployment: sealed.commit, pubkeys })).rejects.toMatchObject({
        kind: 'refused',
        code,
      });
    } finally {
      rmSync(path);
    }
  });
});

describe('beside a deployed commit that sets a floor', () => {
  const pubkeys = () => [sealed.publicKey];

  beforeAll(async () => {
    for (const ref of ['os/plain', 'os/floor']) {
      const source = [`--branch=${ref}`, `--tree=ref=${REF}`, '--timestamp=@4000000000', `--subject=${ref}`];
      execFileSync('ostree', [`--repo=${sealed.repo}`, 'commit', '--bootable', ...source], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      if (ref === 'os/floor') {
        await seal({ repo: sealed.repo, ref, keys: [sealed.secretKey], floor: 4_000_000_000n });
      }
      // What is not booted would have to go for the new one.
      execFileSync('ostree', ['admin', `--sysroot=${root}`, 'pin', '0'], { stdio: 'ignore' });
      const sysroot = await openSysroot(root, { lock: true });
      sysroot.pullLocal(sealed.repo, ref);
      const checksum = sysroot.resolveRev(ref);
      sysroot.deploy({ os: 'debian', checksum, refspec: ref, kernelArguments: undefined });
      sysroot.close();
    }
  });

  it('an older one is not deployed', async () => {
    await expect(
      adminDeploy({ sysroot: root, os: 'debian', refspec: REF, pubkeys: pubkeys() }),
    ).rejects.toMatchObject({ kind: 'refused', code: 'commit-below-floor' });
  });

  it('status and plan say so, and what an unsealed one lacks', async () => {
    const { deployments } = await adminStatus({ sysroot: root, pubkeys: pubkeys() });
    const states = new Map(deployments.map(({ refspec, ...one }) => [refspec, one]));
    expect(states.get('os/floor')?.signature.state).toBe('valid');
    expect(states.get(REF)?.signature).toMatchObject({ state: 'refused', code: 'commit-below-floor' });
    expect(states.get(REF)?.digest).toBe(sealed.digest);
    expect(states.get('os/plain')?.signature).toMatchObject({ state: 'refused', code: 'commitmeta-missing' });
    expect(states.get('os/plain')).not.toHaveProperty('digest');
    await expect(
      adminPlan({ sysroot: root, deployment: sealed.commit, pubkeys: pubkeys() }),
    ).rejects.toMatchObject({ code: 'commit-below-floor' });
  });
});
