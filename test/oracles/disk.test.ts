/** `disk create` against what others say of the disk: sfdisk, e2fsck, debugfs, mtools, and fsverity-utils. */

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { checkExt4 } from '../../src/adapters/disk-image.ts';
import { OfflineVerity } from '../../src/adapters/offline-verity.ts';
import { type DiskCreateResult, diskCreate } from '../../src/commands/disk-create.ts';
import { imageCreate } from '../../src/commands/image-create.ts';
import { seal } from '../../src/commands/seal.ts';
import { imageObjects } from '../../src/formats/erofs-read.ts';
import { ensureForky, runIn } from '../../tools/chroots.ts';
import { PROGRAM, useCli } from '../commands/run-cli.ts';
import { BORDER_SIZES, makeSealedRepo, REF, type SealedRepo } from './sealed-repo.ts';

useCli();

let sealed: SealedRepo;
let disk: DiskCreateResult;
let forky: string;
let device: string;

beforeAll(async () => {
  forky = await ensureForky();
  sealed = await makeSealedRepo();
  disk = await diskCreate({
    repo: sealed.repo,
    ref: REF,
    os: 'debian',
    pubkeys: [sealed.publicKey],
    output: join(sealed.folder, 'disk.raw'),
    format: 'raw',
    kargs: ['console=ttyS0', 'spaced="a b"'],
    exportBoot: join(sealed.folder, 'boot'),
  });
  device = `${disk.output}?offset=${partition('root').offset}`;
});
afterAll(() => rmSync(sealed.folder, { recursive: true }));

function partition(name: string) {
  const found = disk.partitions.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no partition ${name}`);
  return found;
}

function debugfs(...commands: string[]): string {
  return execFileSync('debugfs', ['-f', '-', device], {
    input: `${commands.join('\n')}\n`,
    encoding: 'utf8',
    stdio: 'pipe',
  });
}

/** A file's data, up to its size. */
function dump(path: string): Buffer {
  const target = join(sealed.folder, 'dumped');
  debugfs(`dump ${path} ${target}`);
  return readFileSync(target);
}

/** Block `index` of a file as it lies on the disk, beyond its size too. */
function block(path: string, index: number): Buffer {
  const physical = Number(/^(\d+)$/m.exec(debugfs(`bmap ${path} ${index}`))?.[1]);
  expect(physical, `block ${index} of ${path}`).toBeGreaterThan(0);
  const bytes = Buffer.alloc(4096);
  const fd = openSync(disk.output, 'r');
  try {
    readSync(fd, bytes, 0, bytes.length, partition('root').offset + physical * 4096);
  } finally {
    closeSync(fd);
  }
  return bytes;
}

function objectPath(payload: string): string {
  return `/ostree/repo/objects/${payload}`;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Blocks of the Merkle tree of a file of this size. */
function treeBlocks(size: number): number {
  let blocks = 0;
  for (let count = Math.ceil(size / 4096); count > 1; ) {
    count = Math.ceil(count / 128);
    blocks += count;
  }
  return blocks;
}

describe('sealroot disk create', () => {
  it('writes a GPT that sfdisk reads', () => {
    const { partitiontable } = JSON.parse(
      execFileSync('sfdisk', ['--json', disk.output], { encoding: 'utf8' }),
    );
    const seen = partitiontable.partitions.map((one: { name: string; start: number; size: number }) => ({
      name: one.name,
      offset: one.start * 512,
      size: one.size * 512,
    }));
    expect(seen).toEqual(disk.partitions.map(({ name, offset, size }) => ({ name, offset, size })));
    expect(partitiontable.partitions[0].type).toBe('C12A7328-F81F-11D2-BA4B-00A0C93EC93B');
  });

  it('leaves a file system that e2fsck finds clean', () => {
    execFileSync('e2fsck', ['-fn', device], { stdio: 'ignore' });
    expect(debugfs('features')).toMatch(/ verity( |$)/m);
  });

  it('tells libostree to leave the boot loader alone, and to take objects with and without fs-verity', () => {
    const config = dump('/ostree/repo/config').toString();
    expect(config).toMatch(/^bootloader=none$/m);
    expect(config).toMatch(/^\[ex-integrity\]\nfsverity=maybe$/m);
  });

  it('is for its owner only: an OS tree may hold secrets', () => {
    expect(statSync(disk.output).mode & 0o777).toBe(0o600);
  });

  it('leaves no loop device behind', () => {
    expect(execFileSync('losetup', ['--associated', disk.output], { encoding: 'utf8' })).toBe('');
  });

  it('puts the image of the commit into the deployment', async () => {
    const { image } = await imageCreate({ repo: sealed.repo, rev: sealed.commit, output: '-', cache: false });
    expect(dump(`${disk.deployment}/.ostree.cfs`).equals(image)).toBe(true);
    expect(disk.digest).toBe(sealed.digest);
  });

  it('measures, by the fsverity program, exactly what lies on the disk', async () => {
    const image = dump(`${disk.deployment}/.ostree.cfs`);
    const objects = imageObjects(image);
    const files = new Map([[`${disk.deployment}/.ostree.cfs`, sealed.digest]]);
    for (const { payload, digest } of objects)
      files.set(objectPath(payload), Buffer.from(digest ?? '', 'latin1').toString('hex'));
    expect(files.size).toBe(disk.sealedFiles);

    const work = join(sealed.folder, 'work');
    mkdirSync(work);
    const paths = [...files.keys()];
    debugfs(...paths.map((path, index) => `dump ${path} ${work}/${index}`));
    for (const index of paths.keys()) writeFileSync(join(work, `${index}.tree`), '');
    const script =
      'for f in *[0-9]; do fsverity digest --compact --out-merkle-tree=$f.tree --out-descriptor=$f.desc $f > $f.digest; done';
    await runIn(forky, ['sh', '-c', script], { binds: [[work, '/mnt']], cwd: '/mnt' });

    let trees = 0;
    for (const [index, path] of paths.entries()) {
      expect(readFileSync(join(work, `${index}.digest`), 'utf8').trim(), path).toBe(files.get(path));
      const size = readFileSync(join(work, String(index))).length;
      const start = Math.ceil(size / 65536) * 16;
      const tree = readFileSync(join(work, `${index}.tree`));
      const count = treeBlocks(size);
      expect(tree.length, path).toBe(count * 4096);
      for (let i = 0; i < count; i++) {
        expect(sha256(block(path, start + i)), path).toBe(sha256(tree.subarray(i * 4096, (i + 1) * 4096)));
        trees++;
      }
      const last = block(path, start + count);
      expect(last.subarray(0, 256).equals(readFileSync(join(work, `${index}.desc`))), path).toBe(true);
      expect(last.readUInt32LE(4092)).toBe(256);
    }
    expect(trees).toBeGreaterThan(10);
  });

  it('marks each of them as a verity file of its own size', () => {
    const objects = imageObjects(dump(`${disk.deployment}/.ostree.cfs`));
    const borders = objects.filter(({ size }) => BORDER_SIZES.includes(size));
    expect(borders.length).toBe(BORDER_SIZES.length);
    for (const { payload, size } of borders) {
      const stat = debugfs(`stat ${objectPath(payload)}`);
      expect(stat).toContain('Flags: 0x180000');
      expect(stat).toMatch(new RegExp(`Size: ${size}\\b`));
    }
  });

  it('keeps file capabilities, which a write to the object takes away', () => {
    const ping = imageObjects(dump(`${disk.deployment}/.ostree.cfs`)).find(
      ({ path }) => path === '/usr/bin/ping',
    );
    expect(debugfs(`ea_list ${objectPath(ping?.payload ?? '')}`)).toContain('security.capability');
  });

  it('boots by an entry on the ESP with the files of the deployment', () => {
    const drive = `${disk.output}@@${partition('esp').offset}`;
    const read = (path: string) => execFileSync('mtype', ['-i', drive, `::/${path}`]);
    expect(read('loader/entries/debian.conf').toString()).toContain(`options ${disk.kernelArguments}\n`);
    expect(read('loader/loader.conf').toString()).toBe('default debian.conf\ntimeout 0\n');
    expect(read('ostree/debian/kernel').equals(sealed.kernel)).toBe(true);
    expect(read('ostree/debian/initramfs').equals(sealed.initramfs)).toBe(true);
  });

  it('exports what a direct boot needs', () => {
    const folder = join(sealed.folder, 'boot');
    expect(readFileSync(join(folder, 'kernel')).equals(sealed.kernel)).toBe(true);
    expect(readFileSync(join(folder, 'initramfs')).equals(sealed.initramfs)).toBe(true);
    expect(readFileSync(join(folder, 'cmdline'), 'utf8')).toBe(`${disk.kernelArguments}\n`);
    expect(disk.kernelArguments).toMatch(
      /^root=UUID=\S+ rw systemd\.gpt_auto=0 console=ttyS0 spaced="a b" ostree=\/ostree\/boot\.\d\/debian\//,
    );
    expect(debugfs(`stat ${disk.ostree.replace(/boot\.(\d)/, 'boot.$1.1')}`)).toContain('Type: symlink');
  });

  it('says what it has made, and leaves nothing of its progress on a terminal', () => {
    const output = join(sealed.folder, 'terminal.raw');
    const argv = [
      '--repo',
      sealed.repo,
      '--ref',
      REF,
      '--os',
      'debian',
      '--output',
      output,
      '--format',
      'raw',
    ];
    const command = [process.execPath, PROGRAM, 'disk create', ...argv, '--pubkey', sealed.publicKey].join(
      ' ',
    );
    // A clock that goes on by a second whenever it is read: quick work draws as slow work would.
    const clock = 'let now=0;Date.now=()=>now+=1000';
    const shown = execFileSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(clock)}` },
    });
    expect(shown).toContain('writing the ESP');
    const text = shown.split('\r\x1b[K').at(-1)?.replaceAll('\r', '');
    expect(text).toMatch(new RegExp(`^disk {7}${output} \\(raw, \\d+ bytes\\)\npartition  esp at 1048576, `));
    expect(text).toContain(`\ncommit     ${sealed.commit}\ndigest     ${sealed.digest}\nsigned `);
    expect(text).toMatch(/\nboot {7}directly only: the tree has no systemd-boot\n$/);
  });

  it('makes qcow2 where nothing else is said, over what a run that was killed has left', async () => {
    const folder = join(sealed.folder, 'killed');
    mkdirSync(folder);
    const output = join(folder, 'disk.qcow2');
    writeFileSync(`${output}.raw.tmp`, 'half');
    // Nothing is written to what a link in its place names.
    const other = join(sealed.folder, 'elsewhere');
    writeFileSync(other, 'mine');
    symlinkSync(other, `${output}.tmp`);
    const made = await diskCreate({
      repo: sealed.repo,
      ref: REF,
      os: 'debian',
      pubkeys: [sealed.publicKey],
      output,
    });
    expect(made).toMatchObject({ format: 'qcow2', bootLoader: false });
    expect(readFileSync(other, 'utf8')).toBe('mine');
    const info = execFileSync('qemu-img', ['info', '--output=json', output], { encoding: 'utf8' });
    expect(JSON.parse(info)).toMatchObject({ format: 'qcow2', 'virtual-size': made.size });
    expect(statSync(output).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['disk.qcow2']);
  });

  it('leaves nothing when the last program fails halfway', async () => {
    const programs = join(sealed.folder, 'programs');
    mkdirSync(programs);
    const script = '#!/bin/sh\nfor output; do :; done\necho half > "$output"\nexit 1\n';
    writeFileSync(join(programs, 'qemu-img'), script, { mode: 0o755 });
    const output = join(sealed.folder, 'new/folder/disk.qcow2');
    const argv = ['--repo', sealed.repo, '--ref', REF, '--os', 'debian', '--pubkey', sealed.publicKey];
    const { status, stderr } = spawnSync(
      process.execPath,
      [PROGRAM, 'disk', 'create', ...argv, '--output', output],
      { encoding: 'utf8', env: { ...process.env, PATH: `${programs}:${process.env.PATH}` } },
    );
    expect(status).toBe(4);
    expect(stderr).toMatch(/^sealroot: error: cannot run qemu-img convert .*: exit status 1\n$/);
    expect(readdirSync(dirname(output))).toEqual([]);
  });

  it('refuses what the verdict refuses, and leaves no file', async () => {
    const output = join(sealed.folder, 'refused.qcow2');
    const options = { repo: sealed.repo, ref: REF, os: 'debian', output };
    await expect(diskCreate({ ...options, pubkeys: [sealed.otherKey] })).rejects.toMatchObject({
      code: 'signature-none-valid',
      kind: 'refused',
    });
    expect(readdirSync(sealed.folder).filter((name) => name.startsWith('refused'))).toEqual([]);
  });

  it('refuses a tree that nothing can boot, and leaves no file', async () => {
    const tree = join(sealed.folder, 'no-initramfs');
    const modules = join(tree, 'usr/lib/modules/6.12.0');
    mkdirSync(modules, { recursive: true });
    mkdirSync(join(tree, 'usr/etc'));
    writeFileSync(join(modules, 'vmlinuz'), sealed.kernel);
    writeFileSync(join(tree, 'usr/lib/os-release'), 'ID=test\n');
    const ref = 'os/no-initramfs';
    execFileSync('ostree', [`--repo=${sealed.repo}`, 'commit', `--branch=${ref}`, `--tree=dir=${tree}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await seal({ repo: sealed.repo, ref, keys: [sealed.secretKey] });
    const output = join(sealed.folder, 'unbootable.qcow2');
    const options = { repo: sealed.repo, ref, os: 'debian', pubkeys: [sealed.publicKey], output };
    const temporary = join(sealed.folder, 'temporary');
    mkdirSync(temporary);
    vi.stubEnv('TMPDIR', temporary);
    try {
      await expect(diskCreate(options)).rejects.toMatchObject({ code: 'boot-files-missing', kind: 'input' });
    } finally {
      vi.unstubAllEnvs();
    }
    expect(readdirSync(temporary)).toEqual([]);
    expect(readdirSync(sealed.folder).filter((name) => name.startsWith('unbootable'))).toEqual([]);
  });

  it('refuses a branch that moves meanwhile, and leaves no file', async () => {
    const ostree = (...argv: string[]) =>
      execFileSync('ostree', [`--repo=${sealed.repo}`, ...argv], { stdio: ['ignore', 'ignore', 'inherit'] });
    const failed = diskCreate({
      repo: sealed.repo,
      ref: REF,
      os: 'debian',
      pubkeys: [sealed.publicKey],
      output: join(sealed.folder, 'moved.qcow2'),
      onProgress: (message) => {
        if (message === 'deploying') ostree('commit', `--branch=${REF}`, `--tree=ref=${REF}`);
      },
    });
    try {
      await expect(failed).rejects.toMatchObject({ code: 'ref-moved', kind: 'refused' });
      expect(readdirSync(sealed.folder).filter((name) => name.startsWith('moved'))).toEqual([]);
    } finally {
      ostree('reset', REF, sealed.commit);
    }
  });

  it('names the object that is not what it should be', async () => {
    const { payload } =
      imageObjects(dump(`${disk.deployment}/.ostree.cfs`)).find(({ path }) => path === '/usr/bin/twin') ?? {};
    const object = join(sealed.repo, 'objects', payload ?? '');
    const original = readFileSync(object);
    writeFileSync(object, 'ten bytes!');
    try {
      const output = join(sealed.folder, 'corrupt.qcow2');
      const failed = diskCreate({
        repo: sealed.repo,
        ref: REF,
        os: 'debian',
        pubkeys: [sealed.publicKey],
        output,
      });
      await expect(failed).rejects.toMatchObject({ code: 'object-corrupt', kind: 'refused' });
      await expect(failed).rejects.toThrow(/object [0-9a-f]{64}, \/usr\/bin\/(?:twin|brother), is corrupt: /);
      expect(readdirSync(sealed.folder).filter((name) => name.startsWith('corrupt'))).toEqual([]);
    } finally {
      writeFileSync(object, original);
    }
  });
});

describe('OfflineVerity', () => {
  it('says what debugfs says of a device that it cannot change', () => {
    const file = join(sealed.folder, 'plain-file');
    writeFileSync(file, 'no file system');
    const verity = new OfflineVerity();
    verity.add(file);
    expect(() => verity.finish(join(sealed.folder, 'keys/sealroot.pub'))).toThrow(
      expect.objectContaining({
        code: 'verity-offline-failed',
        message: expect.stringMatching(
          /^cannot mark files as sealed on .*sealroot\.pub: debugfs: .* while trying to open /,
        ),
      }),
    );
  });
});

describe('checkExt4()', () => {
  it('says what e2fsck says of a damaged file system', () => {
    const damaged = join(sealed.folder, 'damaged.raw');
    execFileSync('cp', ['--sparse=always', disk.output, damaged]);
    const root = partition('root');
    execFileSync('debugfs', ['-w', '-R', 'sif <2> links_count 77', `${damaged}?offset=${root.offset}`], {
      stdio: 'ignore',
    });
    expect(() => checkExt4(damaged, root)).toThrow(
      expect.objectContaining({
        code: 'file-system-damaged',
        message: expect.stringMatching(/^cannot use .*: e2fsck exit status 4: .*Inode 2 ref count is 77/s),
      }),
    );
  });
});
