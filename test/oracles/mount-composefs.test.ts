/**
 * Our mount.composefs beside the real one, on this kernel, in a mount namespace of its own: what is mounted is walked
 * and compared with the source. Needs root. The kernel here may lack fs-verity: vm-tests/cases/composefs-tools.ts has it.
 */

import { execFileSync, spawn } from 'node:child_process';
import {
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { mountOverlayByText } from '../../src/adapters/composefs-mount.ts';
import { enterMountNamespace } from '../../src/adapters/mount-namespace.ts';
import { pathBytes } from '../../src/adapters/syscalls.ts';
import { directory, file, growRandomTree, link } from './random-tree.ts';
import { expectSame, forkyProgram, ours, type ToolName, theirs, useTools } from './reference-tool.ts';

const SEED = Number(process.env.SEALROOT_SEED ?? 20261122);
const TOOL: ToolName = 'mount.composefs';
const { work, bin } = useTools();

let foldersBefore: string[] = [];

function temporaryFolders(): string[] {
  return readdirSync('/tmp').filter((name) => name.startsWith('.composefs.'));
}

beforeAll(() => {
  foldersBefore = temporaryFolders();
  enterMountNamespace();
  const tree = directory(work(), 'tree');
  growRandomTree(tree, SEED);
  file(tree, 'large', 3_000_000);
  linkSync(path.join(tree, 'large'), path.join(tree, 'crowded/large-too'));
  execFileSync('mknod', [path.join(tree, 'device'), 'c', '1', '3']);
  execFileSync('mkfifo', [path.join(tree, 'fifo')]);
  directory(work(), 'mnt');
  expect(ours('mkcomposefs', ['--hardlinks', '--digest-store=objects', 'tree', 'image.cfs']).status).toBe(0);
  mkdirSync(path.join(work(), 'image-folder'));
  writeFileSync(path.join(work(), 'image-folder/not-an-image'), 'x'.repeat(9000));
});

function shell(script: string, cwd = work()): string {
  return execFileSync('bash', ['--norc', '-euo', 'pipefail', '-c', script], {
    cwd,
    env: { PATH: `${bin()}:${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C.UTF-8' },
    maxBuffer: 64 * 1024 * 1024,
  }).toString('latin1');
}

/** Runs `use` while it is mounted at mnt, and unmounts it. */
function whileMounted<T>(mount: () => { status: number | null; stderr: string }, use: () => T): T {
  const { status, stderr } = mount();
  expect([status, stderr]).toEqual([0, '']);
  try {
    return use();
  } finally {
    execFileSync('umount', ['mnt'], { cwd: work() });
    expect(readdirSync(path.join(work(), 'mnt'))).toEqual([]);
  }
}

/** Names, types, modes, owners, times, link counts and targets, xattrs and content of a tree. */
function walk(folder: string): string {
  const getfattr = forkyProgram('getfattr').join(' ');
  return shell(
    `find . -mindepth 1 '(' -type d -printf '%P %y %m %U %G %T@\\n' -o -printf '%P %y %m %U %G %T@ %n %s %l\\n' ')' | sort
    ${getfattr} -R -P -h -d -m - -e hex . | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum`,
    path.join(work(), folder),
  );
}

/** The mount as the kernel describes it, without the name of the temporary folder. */
function mountOptions(): string {
  return shell('findmnt --noheadings --output FSTYPE,SOURCE,OPTIONS mnt').replace(
    /\.composefs\.\w+/g,
    'IMAGE',
  );
}

/** overlayfs writes a mark into a new upper directory, and mounts it with other options from then on. */
function makeLayerFolders(): void {
  for (const name of ['upper', 'workdir', 'with,comma']) {
    rmSync(path.join(work(), name), { recursive: true, force: true });
    mkdirSync(path.join(work(), name));
  }
}

describe('mount.composefs', () => {
  it('shows the tree that the image was made of', () => {
    const source = walk('tree');
    expect(source.split('\n').length).toBeGreaterThan(1000);
    whileMounted(
      () => ours(TOOL, ['-o', 'basedir=objects', 'image.cfs', 'mnt']),
      () => {
        expect(walk('mnt') === source).toBe(true);
        expect(shell('mkcomposefs --hardlinks --print-digest-only mnt')).toBe(
          shell('mkcomposefs --hardlinks --print-digest-only tree'),
        );
      },
    );
  });

  it.each([
    ['basedir=objects'],
    ['basedir=objects,ro'],
    ['ro,basedir=objects,rw'],
    ['basedir=objects,verity'],
    ['basedir=objects,tryverity'],
    ['basedir=objects:tree:image-folder'],
    ['basedir=nothing,basedir=objects'],
    ['basedir=obj\\ects'],
    ['basedir=with\\,comma'],
    ['basedir=objects,upperdir=upper,workdir=workdir'],
    ['basedir=objects,upperdir=upper,workdir=workdir,ro'],
  ])('asks the kernel for the same with %s as the real one', (options) => {
    const args = ['-o', options, 'image.cfs', 'mnt'];
    makeLayerFolders();
    const expected = whileMounted(() => theirs(TOOL, args), mountOptions);
    makeLayerFolders();
    const actual = whileMounted(() => ours(TOOL, args), mountOptions);
    expect(actual).toBe(expected);
  });

  it('finds objects in several base directories', () => {
    mkdirSync(path.join(work(), 'first'));
    mkdirSync(path.join(work(), 'second'));
    for (const [i, name] of readdirSync(path.join(work(), 'objects')).sort().entries()) {
      const target = i % 2 === 0 ? 'first' : 'second';
      execFileSync('cp', ['-a', `objects/${name}`, target], { cwd: work() });
    }
    const source = walk('tree');
    whileMounted(
      () => ours(TOOL, ['-o', 'basedir=first:second', 'image.cfs', 'mnt']),
      () => expect(walk('mnt') === source).toBe(true),
    );
  });

  it('keeps changes in the upper directory, unless it is read-only', () => {
    mkdirSync(path.join(work(), 'changes'));
    mkdirSync(path.join(work(), 'changes-work'));
    const options = 'basedir=objects,upperdir=changes,workdir=changes-work';
    const image = readFileSync(path.join(work(), 'image.cfs'));
    whileMounted(
      () => ours(TOOL, ['-o', options, 'image.cfs', 'mnt']),
      () => shell('echo changed > mnt/large; rm mnt/fifo; cmp mnt/crowded/large-too tree/large'),
    );
    expect(shell('cat changes/large; stat --format=%t:%T changes/fifo')).toBe('changed\n0:0\n');
    expect(readFileSync(path.join(work(), 'image.cfs')).equals(image)).toBe(true);
    whileMounted(
      () => ours(TOOL, ['-o', `${options},ro`, 'image.cfs', 'mnt']),
      () =>
        expect(shell('cat mnt/large; touch mnt/new 2>&1 || true')).toMatch(
          /^changed\n.*Read-only file system\n$/,
        ),
    );
  });

  it('maps owners as a user namespace does', async () => {
    const tree = directory(work(), 'owned');
    for (const owner of [0, 5, 1000]) chownSync(file(tree, String(owner), 100), owner, owner);
    shell('mkcomposefs --digest-store=objects owned owned.cfs');
    const holder = spawn('unshare', ['--user', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      // It answers when it is in its namespace.
      holder.stdin.write('ready\n');
      await new Promise((resolve) => holder.stdout.once('data', resolve));
      for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${holder.pid}/${map}`, '0 100000 2000');
      const args = ['-o', `basedir=objects,idmap=/proc/${holder.pid}/ns/user`, 'owned.cfs', 'mnt'];
      const owners = () => shell('stat --format="%n %u %g" mnt/*; cat mnt/5 | cmp - owned/5');
      const expected = whileMounted(() => theirs(TOOL, args), owners);
      expect(whileMounted(() => ours(TOOL, args), owners)).toBe(expected);
      expect(expected).toBe('mnt/0 100000 100000\nmnt/1000 101000 101000\nmnt/5 100005 100005\n');
    } finally {
      const ended = new Promise((resolve) => holder.once('close', resolve));
      holder.stdin.end();
      await ended;
    }
  });

  it('takes a loop device for an image that the kernel cannot mount as a file, and leaves none', () => {
    const memory = directory(work(), 'memory');
    shell('mount -t tmpfs memory memory && cp image.cfs memory');
    try {
      const source = walk('tree');
      const devices = () =>
        shell('losetup --list --noheadings --output BACK-FILE')
          .split('\n')
          .filter((name) => name.startsWith(memory));
      whileMounted(
        () => ours(TOOL, ['-o', 'basedir=objects', 'memory/image.cfs', 'mnt']),
        () => {
          expect(devices()).toHaveLength(1);
          expect(walk('mnt') === source).toBe(true);
        },
      );
      expect(devices()).toEqual([]);
    } finally {
      shell('umount memory');
    }
  });

  it('is the helper of mount(8)', () => {
    const helper = directory(work(), 'helper');
    link(helper, TOOL, path.join(bin(), TOOL));
    // Nothing is installed: in this namespace alone, /usr/sbin has one more name.
    shell(`mount -t overlay -o lowerdir=${helper}:/usr/sbin none /usr/sbin`);
    try {
      whileMounted(
        () => ({ status: 0, stderr: shell('mount -t composefs -o ro,basedir=objects image.cfs mnt') }),
        () => expect(mountOptions()).toMatch(/^overlay composefs ro,/),
      );
    } finally {
      shell('umount /usr/sbin');
    }
  });

  it('mounts as kernels before 6.7 want it, too', () => {
    const image = directory(work(), 'image');
    shell('mount -t erofs -o ro,noacl image.cfs image');
    try {
      const inWork = (name: string) => pathBytes(path.join(work(), name));
      renameSync(path.join(work(), 'with,comma'), path.join(work(), 'second,comma'));
      const mount = () => {
        const basedirs = [inWork('second,comma'), inWork('objects')];
        mountOverlayByText(pathBytes(image), inWork('mnt'), { basedirs, verity: 'none', readOnly: true });
        return { status: 0, stderr: '' };
      };
      const source = walk('tree');
      whileMounted(mount, () => expect(walk('mnt') === source).toBe(true));
    } finally {
      shell('umount image');
    }
  });
});

describe('mount.composefs refused', () => {
  it.each([
    [[]],
    [['--help']],
    [['-x']],
    [['-o']],
    [['-t', 'erofs', 'image.cfs', 'mnt']],
    [['image.cfs']],
    [['image.cfs', 'mnt']],
    [['-o', '', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,', 'image.cfs', 'mnt']],
    [['-o', 'basedir', 'image.cfs', 'mnt']],
    [['-o', 'digest', 'image.cfs', 'mnt']],
    [['-o', 'upperdir', 'image.cfs', 'mnt']],
    [['-o', 'workdir', 'image.cfs', 'mnt']],
    [['-o', 'idmap', 'image.cfs', 'mnt']],
    [['-o', 'basedir=', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects::tree', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects:', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,nosuid', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,upperdir=upper', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,workdir=workdir', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,idmap=no-such-file', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,idmap=image.cfs', 'image.cfs', 'mnt']],
    [['-o', 'basedir=no-such-folder', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects', 'no-such-file', 'mnt']],
    [['-o', 'basedir=objects', 'objects', 'mnt']],
    [['-o', 'basedir=objects', '/dev/null', 'mnt']],
    [['-o', 'basedir=objects', 'image-folder/not-an-image', 'mnt']],
    [['-o', 'basedir=objects', 'image.cfs', 'no-such-folder']],
    [['-o', 'basedir=objects', 'image.cfs', 'image.cfs']],
    [['-o', 'basedir=objects,upperdir=image.cfs,workdir=workdir', 'image.cfs', 'mnt']],
    [['-o', `basedir=objects,digest=${'a'.repeat(64)}`, 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,digest=xyz', 'image.cfs', 'mnt']],
    [['-o', 'basedir=objects,digest=abc', 'image.cfs', 'mnt']],
    [['-o', `basedir=objects,digest=${'a'.repeat(130)}`, 'image.cfs', 'mnt']],
  ])('as the real one does with %j, and nothing stays mounted', (args) => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8');
    expect(expectSame(TOOL, args).status).toBe(1);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before);
  });

  it('shows its usage for -h, and that is no failure', () => {
    expect(expectSame(TOOL, ['-h', '-x']).status).toBe(0);
  });

  it('for an empty digest, where the real one then checks none', () => {
    const args = ['-o', 'basedir=objects,digest=', 'image.cfs', 'mnt'];
    whileMounted(
      () => theirs(TOOL, args),
      () => {},
    );
    const { status, stderr } = ours(TOOL, args);
    expect([status, stderr]).toEqual([
      1,
      'mount.composefs: Failed to mount composefs image.cfs: Invalid argument\n\n',
    ]);
  });

  it('leaves no folder of its own in /tmp', () => {
    expect(temporaryFolders()).toEqual(foldersBefore);
  });
});
