/**
 * Our composefs-info beside the real one: images of real and random trees, filters, objects that are missing, digests
 * of files, and command lines that are wrong.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { randomDump } from './random-dump.ts';
import { growRandomTree } from './random-tree.ts';
import { expectSame, forkyRoot, ours, theirs, useTools } from './reference-tool.ts';

const SEED = Number(process.env.SEALROOT_SEED ?? 20261122);
const { work, bin } = useTools();

const DUMP = `/ 4096 40755 5 0 0 0 1.0 - - - user.root=1
/a 0 40755 2 0 0 0 2.0 - - -
/a/file 100 100644 3 0 0 0 3.0 object/of\\x20ab - - user.x=y
/a\\x20b\\\\x20c 5 100644 1 0 0 0 3.0 - inl\\x00n -
/b 0 40755 2 0 0 0 2.0 - - -
/b/again 0 @100644 3 0 0 0 3.0 /a/file - -
/b/link 0 120777 1 0 0 0 3.0 to\\x20here - -
/c 0 @100644 3 0 0 0 3.0 /a/file - -
/d\\xff\\n 200 100600 1 0 0 0 3.0 ab/cd - ${'0123456789abcdef'.repeat(4)}
/dev 0 20644 1 0 0 259 3.0 - - -
/no-path 7 100644 1 0 0 0 3.0 - - -
`;

beforeAll(() => {
  const tree = path.join(work(), 'tree');
  mkdirSync(tree);
  growRandomTree(tree, SEED);
  expect(theirs('mkcomposefs', ['--digest-store=objects', 'tree', 'random.cfs']).status).toBe(0);
  expect(theirs('mkcomposefs', [path.join(forkyRoot(), 'usr/lib/systemd'), 'systemd.cfs']).status).toBe(0);
  expect(theirs('mkcomposefs', [path.join(forkyRoot(), 'etc'), 'etc.cfs']).status).toBe(0);
  expect(theirs('mkcomposefs', ['--from-file', '-', 'made.cfs'], { input: DUMP }).status).toBe(0);
  writeFileSync(path.join(work(), 'not-an-image'), 'x'.repeat(9000));
  writeFileSync(
    path.join(work(), 'cut.cfs'),
    readFileSync(path.join(work(), 'systemd.cfs')).subarray(0, 4096),
  );
});

describe('composefs-info ls, dump and objects', () => {
  const images = ['random.cfs', 'systemd.cfs', 'etc.cfs', 'made.cfs'];

  it.each(['ls', 'dump', 'objects', 'missing-objects'])('%s prints the same for every image', (command) => {
    for (const image of images) {
      const { status, stdout } = expectSame('composefs-info', [command, image]);
      expect([status, stdout.length > 0]).toEqual([0, true]);
    }
    expectSame('composefs-info', [command, ...images]);
    expectSame('composefs-info', ['--basedir=objects', command, ...images]);
    expectSame('composefs-info', [command, '--basedir', 'objects/', 'random.cfs', '--filter=crowded']);
  });

  it('prints the same for random trees', () => {
    const dumps = fc.sample(randomDump, { numRuns: 25, seed: SEED + 3 });
    for (const [i, dump] of dumps.entries()) {
      // Some trees use the one xattr that the format cannot always hold.
      if (theirs('mkcomposefs', ['--from-file', '-', `${i}.cfs`], { input: dump }).status !== 0) continue;
      expectSame('composefs-info', ['ls', `${i}.cfs`]);
      expectSame('composefs-info', ['objects', `${i}.cfs`]);
    }
  });

  it.each([
    [['a']],
    [['b']],
    [['c']],
    [['b', 'c']],
    [['c', 'c', 'a']],
    [['dev', 'no-path', 'd']],
    [['d\\xff\\n']],
    [['nothing']],
    [['']],
    [['00']],
    [['.']],
  ])('shows only the top-level names %j', (names) => {
    const filters = names.map((name) => `--filter=${name}`);
    for (const command of ['ls', 'dump', 'objects', 'missing-objects']) {
      expect(expectSame('composefs-info', [...filters, command, 'made.cfs']).status).toBe(0);
      expectSame('composefs-info', [command, 'random.cfs', ...filters]);
    }
  });

  it('prints a backing path as it is, where the real one reads past its end', () => {
    const input = '/ 0 40755 2 0 0 0 0.0 - - -\n/a 9 100644 1 0 0 0 0.0 elevenbytes - -\n';
    theirs('mkcomposefs', ['--from-file', '-', 'eleven.cfs'], { input });
    expect(ours('composefs-info', ['objects', 'eleven.cfs']).stdout.toString()).toBe('elevenbytes\n');
    expect(theirs('composefs-info', ['objects', 'eleven.cfs']).stdout.toString()).toMatch(
      /^elevenbytes.+\n$/,
    );
  });

  it('knows which objects are missing', () => {
    expect(
      expectSame('composefs-info', ['--basedir=objects', 'missing-objects', 'random.cfs']).stdout.length,
    ).toBe(0);
    const [first = ''] = readdirSync(path.join(work(), 'objects')).sort();
    rmSync(path.join(work(), 'objects', first), { recursive: true });
    const missing = expectSame('composefs-info', [
      'missing-objects',
      '--basedir',
      'objects',
      'random.cfs',
    ]).stdout;
    expect(missing.toString()).toMatch(new RegExp(`^(${first}/[0-9a-f]{62}\n)+$`));
  });

  it('reads from a pipe, which the real one cannot', () => {
    const script = `composefs-info dump <(cat made.cfs)`;
    const env = { PATH: `${bin()}:${process.env.PATH}` };
    expect(execFileSync('bash', ['--norc', '-c', script], { cwd: work(), env }).toString()).toBe(
      theirs('composefs-info', ['dump', 'made.cfs']).stdout.toString(),
    );
  });
});

describe('composefs-info measure-file', () => {
  it('prints the same digests', () => {
    const files = [];
    for (const size of [1, 4095, 4096, 4097, 524288, 524289, 70_000_000]) {
      const data = Buffer.alloc(size);
      for (let at = 0; at < size; at += 4096) data.writeUInt8((at / 4096) % 251, at);
      writeFileSync(path.join(work(), `size-${size}`), data);
      files.push(`size-${size}`);
    }
    const { status, stdout } = expectSame('composefs-info', ['measure-file', ...files, '/proc/version']);
    expect([status, stdout.toString().split('\n').length]).toEqual([0, files.length + 2]);
  });

  it('prints the digest of an empty file that the kernel has for it, where the real one has another', () => {
    writeFileSync(path.join(work(), 'empty'), '');
    const digest = (tool: typeof ours) => tool('composefs-info', ['measure-file', 'empty']).stdout.toString();
    // fsverity digest --compact of an empty file
    expect(digest(ours)).toBe('3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95\n');
    expect(digest(theirs)).toBe('cfc3391077edfd51859f6e5e16e03f82b1da3ee1a35d418b0d0b3b57740b4405\n');
  });

  it.each([
    [[]],
    [['no-such-file']],
    [['made.cfs', 'objects']],
    [['size-1', '/dev/stdin']],
  ])('fails as the real one does for %j', (files) => {
    expect(expectSame('composefs-info', ['measure-file', ...files]).status).toBe(1);
  });

  it('fails as the real one does for a pipe', () => {
    const script = (tool: string) => `${tool} measure-file <(cat made.cfs); echo $?`;
    const env = { PATH: `${bin()}:${process.env.PATH}` };
    const stdout = execFileSync('bash', ['--norc', '-c', script('composefs-info')], {
      cwd: work(),
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(stdout.toString()).toBe('1\n');
  });
});

describe('composefs-info called wrongly', () => {
  it.each([
    [[]],
    [['--help']],
    [['-h']],
    [['ls']],
    [['no-such-command', 'made.cfs']],
    [['toString', 'made.cfs']],
    [['--basedir']],
    [['--filter']],
    [['--basedir=no-such-folder', 'ls', 'made.cfs']],
    [['--basedir=no-such-folder', 'missing-objects', 'made.cfs']],
    [['--basedir=made.cfs', 'missing-objects', 'made.cfs']],
    [['--basedir=no-such-folder', 'no-such-command']],
    [['--basedir=objects', 'dump']],
    [['--filter=a/b', 'ls', 'made.cfs']],
    [['--no-such-option', 'ls', 'made.cfs']],
    [['ls', 'no-such-file']],
    [['ls', 'objects']],
    [['ls', 'made.cfs', 'no-such-file']],
    [['objects', 'made.cfs', 'no-such-file']],
  ])('fails as the real one does with %j', (args) => {
    // An image that is no file: ours cannot read it, the real one cannot map it.
    const messages = args[1] === 'objects' ? 'free' : 'same';
    expect(expectSame('composefs-info', args, { messages }).status).toBe(1);
  });

  it.each([
    ['not-an-image'],
    ['cut.cfs'],
    ['/dev/null'],
    ['/proc/version'],
  ])('refuses %s, and says more about it than the real one', (image) => {
    const { status, stderr } = expectSame('composefs-info', ['dump', image], { messages: 'free' });
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(`^composefs-info: Failed to load '${image}': cannot read `),
    ]);
  });

  it.each([
    [['--base=objects', 'missing', 'made.cfs']],
    [['--f', 'a', '--b', 'objects', 'ls', 'made.cfs']],
    [['ls', '--', 'made.cfs']],
  ])('takes abbreviated options in %j as the real one does', (args) => {
    expectSame('composefs-info', args);
  });
});
