/**
 * Deployments where fs-verity is missing: everything up to it, and that nothing stays behind. The success path needs
 * a kernel that has it and runs in the virtual machines (vm-tests/cases/upgrade-and-rollback.ts).
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPartitionedImage, MIB, makeExt4, planLayout } from '../../src/adapters/disk-image.ts';
import { mountImagePart } from '../../src/adapters/mount-namespace.ts';
import { openSysroot } from '../../src/adapters/sysroot.ts';
import { adminDeploy } from '../../src/commands/admin-deploy.ts';
import { adminPlan } from '../../src/commands/admin-plan.ts';
import { adminStatus } from '../../src/commands/admin-status.ts';
import { refused } from '../../src/formats/errors.ts';
import { makeSealedRepo, REF, type SealedRepo } from './sealed-repo.ts';

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
  sysroot.deploy({
    os: 'debian',
    checksum: sealed.commit,
    refspec: REF,
    kernelArguments: ['root=LABEL=root', 'first'],
  });
  sysroot.close();
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
