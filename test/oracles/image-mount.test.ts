/** `sealroot image mount` on this kernel, in a mount namespace of its own. Needs root. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { enterMountNamespace } from '../../src/adapters/mount-namespace.ts';
import { growRandomTree } from './random-tree.ts';
import { useTools } from './reference-tool.ts';

const { work, bin } = useTools();

/** In the working folder, with our tools in the PATH. */
function shell(script: string, options: { uid?: number } = {}) {
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], {
    cwd: work(),
    env: { PATH: `${bin()}:${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C.UTF-8' },
    maxBuffer: 64 * 1024 * 1024,
    ...options,
  });
  return { status, stdout: stdout.toString('latin1'), stderr: stderr.toString('latin1') };
}

function mounted(): string {
  return shell('findmnt --noheadings --output FSTYPE,SOURCE,OPTIONS mnt').stdout.replace(
    /\.composefs\.\w+/g,
    'IMAGE',
  );
}

beforeAll(() => {
  enterMountNamespace();
  for (const name of ['tree', 'mnt']) mkdirSync(path.join(work(), name));
  growRandomTree(path.join(work(), 'tree'), 20261122);
  expect(shell('mkcomposefs --digest-store=objects tree image.cfs').status).toBe(0);
});

describe('sealroot image mount', () => {
  it('shows the tree, read-only, as mount.composefs does', () => {
    const quiet = { status: 0, stdout: '', stderr: '' };
    expect(shell('mount.composefs -o ro,basedir=objects image.cfs mnt')).toEqual(quiet);
    const expected = mounted();
    expect(shell('umount mnt')).toEqual(quiet);
    expect(shell('sealroot image mount --basedir objects image.cfs mnt')).toEqual(quiet);
    try {
      expect(mounted().replaceAll(`${work()}/`, '')).toBe(expected);
      expect(shell('diff --no-dereference -r tree mnt && find mnt -type f | wc -l').stdout).toMatch(/^[1-9]/);
      expect(shell('touch mnt/new').stderr).toContain('Read-only file system');
    } finally {
      expect(shell('umount mnt')).toEqual(quiet);
    }
  });

  it('mounts nothing for a digest that nobody enforces', () => {
    const digest = shell('sealroot image digest image.cfs').stdout.trim();
    // In memory, where no kernel has fs-verity.
    const script = `mkdir memory && mount -t tmpfs none memory && cp image.cfs memory &&
      sealroot image mount --basedir objects --digest ${digest} memory/image.cfs mnt; s=$?; umount memory; exit $s`;
    expect(shell(script)).toEqual({
      status: 1,
      stdout: '',
      stderr: `sealroot: error: cannot mount memory/image.cfs by its digest: it has no fs-verity
sealroot: hint: fsverity enable, or leave --digest out and trust the file\n`,
    });
    expect(readdirSync(path.join(work(), 'mnt'))).toEqual([]);
  });

  it('mounts nothing that the reader does not accept', () => {
    const image = readFileSync(path.join(work(), 'image.cfs'));
    image[1030] = 1 ^ (image[1030] ?? 0);
    writeFileSync(path.join(work(), 'damaged.cfs'), image);
    const { status, stderr } = shell('sealroot image mount --basedir objects damaged.cfs mnt');
    expect(stderr).toMatch(/^sealroot: error: cannot read image: /);
    expect(status).toBe(3);
    expect(readdirSync(path.join(work(), 'mnt'))).toEqual([]);
  });

  it.each([
    [2, 'image.cfs mnt', 'cannot look for objects: no store was given'],
    [3, '--basedir objects pipe mnt', 'cannot mount pipe: not a regular file'],
    [4, '--basedir objects none.cfs mnt', 'cannot read none.cfs: ENOENT'],
    [4, '--basedir none image.cfs mnt', 'cannot read none: ENOENT'],
    [4, '--basedir objects image.cfs none', 'cannot mount image.cfs on none: mount at "WORK/none": ENOENT'],
    [3, '--basedir objects --digest 0 image.cfs mnt', 'cannot read digest "0": odd number of hex digits'],
  ])('ends with status %i for %s', (status, args, message) => {
    execFileSync('bash', ['-c', 'test -p pipe || mkfifo pipe'], { cwd: work() });
    const result = shell(`sealroot image mount ${args}`);
    expect(result.stderr.split('\n')[0]).toBe(`sealroot: error: ${message.replace('WORK', work())}`);
    expect(result.status).toBe(status);
  });

  it('asks for root', () => {
    execFileSync('chmod', ['-R', 'a+rX', '.'], { cwd: work() });
    const { status, stderr } = shell('sealroot image mount --basedir objects image.cfs mnt', { uid: 12345 });
    expect([status, stderr]).toEqual([
      4,
      'sealroot: error: cannot mount image.cfs on mnt: open file system erofs: EPERM\nsealroot: hint: run this command as root\n',
    ]);
  });
});
