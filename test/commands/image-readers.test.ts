import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseDump } from '../../src/formats/dump-read.ts';
import { type ImageOptions, writeImage } from '../../src/formats/erofs-write.ts';
import { BACKING, DIGEST, FIXTURE_DUMP, fixtureImage, locate } from '../formats/image-fixture.ts';
import { ArchiveRepo } from './archive-repo.ts';
import { sealroot, useCli } from './run-cli.ts';

useCli();

let folder: string;
let image: string;

beforeEach(() => {
  folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'sealroot-image-'));
  image = join(folder, 'os.cfs');
  writeFileSync(image, fixtureImage());
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('sealroot image check', () => {
  it('has no complaint about an image of composefs, from a file and from standard input', () => {
    expect(sealroot(['image', 'check', image])).toEqual({
      status: 0,
      stdout: '267 inodes, no violations\n',
      stderr: '',
    });
    expect(sealroot(['image', 'check', '-'], fixtureImage()).status).toBe(0);
  });

  it('prints all violations, with code, offset and path, and fails', () => {
    const bytes = fixtureImage();
    bytes[500] = 1;
    bytes[locate(bytes, '/d/link').offset + 16] = 1;
    bytes[locate(bytes, '/d').offset + 6] = 9;
    writeFileSync(image, bytes);
    const { status, stdout, stderr } = sealroot(['image', 'check', image]);
    expect(status).toBe(3);
    expect(stdout.split('\n')).toEqual([
      'erofs-nlink-mismatch: the link count is 9, expected 3, at offset 14880 (0x3a20), of "/d"',
      'composefs-padding-not-zero: the byte 1 stands between header and superblock at offset 500 (0x1f4)',
      'composefs-block-mismatch: the first block is 1, composefs would write 0, at offset 18432 (0x4800), of "/d/link"',
      '',
    ]);
    expect(stderr).toBe(`sealroot: error: cannot accept image ${image}: 3 violations\n`);
    const json = sealroot(['image', 'check', '--json', image]);
    expect(json.status).toBe(3);
    const result = JSON.parse(json.stdout);
    expect(result).toMatchObject({ image, inodes: 267, count: 3 });
    expect(result.violations[0]).toEqual({
      code: 'erofs-nlink-mismatch',
      offset: 14880,
      text: 'the link count is 9, expected 3, at offset 14880 (0x3a20), of "/d"',
      nid: 465,
      path: '/d',
    });
    expect(result.violations[1]).not.toHaveProperty('path');
  });

  it('takes whatever it is given for an image', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(9000, 0x5a)]) {
      expect(sealroot(['image', 'check', '-'], bytes).status).toBe(3);
    }
    expect(sealroot(['image', 'check', join(folder, 'none')]).status).toBe(4);
  });
});

describe('sealroot image ls', () => {
  it('lists what a mount shows, with links of both kinds', () => {
    expect(sealroot(['image', 'ls', image]).stdout.split('\n')).toEqual([
      'drwxr-xr-x 0 0 4096 /',
      '-rw-r--r-- 0 0 3000 /a-block',
      '-rw-r--r-- 0 0 5 /b',
      '-rw-r--r-- 0 0 5000000 /c',
      'drwxr-xr-x 0 0 69 /d',
      'drwxr-xr-x 0 0 59 /d/e',
      'crw------- 0 0 5, 1 /d/e/char',
      'prw-r--r-- 0 0 0 /d/e/fifo',
      '-rw-r--r-- 0 0 5 /d/h = /b',
      'lrwxrwxrwx 0 0 6 /d/link -> target',
      'drwxr-xr-x 0 0 43 /w',
      'crw-r--r-- 0 0 0, 0 /w/gone',
      '',
    ]);
  });

  it('lists one directory, or one file', () => {
    const paths = (...args: string[]) =>
      JSON.parse(sealroot(['image', 'ls', '--json', image, ...args]).stdout).map(
        ({ path }: { path: string }) => path,
      );
    expect(paths('/d/e')).toEqual(['/d/e', '/d/e/char', '/d/e/fifo']);
    expect(paths('d//e/')).toEqual(['/d/e', '/d/e/char', '/d/e/fifo']);
    expect(paths('/b')).toEqual(['/b']);
    const missing = sealroot(['image', 'ls', image, '/d/none']);
    expect(missing).toEqual({
      status: 3,
      stdout: '',
      stderr: `sealroot: error: cannot list "/d/none": not in image ${image}\n`,
    });
  });

  it('says everything in JSON', () => {
    const records = JSON.parse(sealroot(['image', 'ls', '--json', image, '/c']).stdout);
    expect(records).toEqual([
      {
        ...{ path: '/c', type: 'file', mode: '0644', uid: 0, gid: 0, size: 5000000, nlink: 1 },
        ...{ mtime: '1000.5', backing: BACKING, digest: DIGEST },
      },
    ]);
    const [hardlink] = JSON.parse(sealroot(['image', 'ls', '--json', image, '/d/h']).stdout);
    expect(hardlink).toMatchObject({ hardlink: '/b', content: 'hello', xattrs: { 'user.only': 'b' } });
  });
});

describe('sealroot image objects and missing-objects', () => {
  it('lists the backing files', () => {
    expect(sealroot(['image', 'objects', image]).stdout).toBe(`${BACKING}\n`);
    expect(JSON.parse(sealroot(['image', 'objects', '--json', image]).stdout)).toEqual([
      { object: BACKING, size: 5000000, digest: DIGEST, usedBy: '/c' },
    ]);
  });

  it('lists those that no store has', () => {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    mkdirSync(first);
    mkdirSync(join(second, BACKING.slice(0, 2)), { recursive: true });
    const missing = (...stores: string[]) =>
      sealroot(['image', 'missing-objects', ...stores.flatMap((store) => ['--basedir', store]), image]);
    expect(missing(first, second)).toEqual({ status: 0, stdout: `${BACKING}\n`, stderr: '' });
    writeFileSync(join(second, BACKING), '');
    expect(missing(first, second)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(missing(join(folder, 'none')).status).toBe(4);
    expect(missing().status).toBe(2);
  });

  it('looks into a repository and its parents', () => {
    const repo = new ArchiveRepo(join(folder, 'repo'));
    mkdirSync(join(repo.path, 'objects', BACKING.slice(0, 2)), { recursive: true });
    const child = new ArchiveRepo(join(folder, 'child'));
    appendFileSync(join(child.path, 'config'), `parent=${repo.path}\n`);
    const missing = () => sealroot(['image', 'missing-objects', '--repo', child.path, image]).stdout;
    expect(missing()).toBe(`${BACKING}\n`);
    writeFileSync(join(repo.path, 'objects', BACKING), '');
    expect(missing()).toBe('');
  });

  it('looks for nothing outside of the store', () => {
    writeFileSync(join(folder, 'outside'), '');
    mkdirSync(join(folder, 'store'));
    const dump = ['/ 0 40755 2 0 0 0 0.0 - - -', '/f 9 100644 1 0 0 0 0.0 ../outside - -', ''].join('\n');
    writeFileSync(image, writeImage(parseDump(Buffer.from(dump))));
    const { stdout } = sealroot(['image', 'missing-objects', '--basedir', join(folder, 'store'), image]);
    expect(stdout).toBe('../outside\n');
  });
});

describe('sealroot image diff', () => {
  function write(name: string, dump: string, options: ImageOptions = {}): string {
    const file = join(folder, name);
    writeFileSync(file, writeImage(parseDump(Buffer.from(dump)), options));
    return file;
  }

  it('says nothing about two images that are the same', () => {
    const other = write('other.cfs', FIXTURE_DUMP);
    expect(sealroot(['image', 'diff', image, other])).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(JSON.parse(sealroot(['image', 'diff', '--json', image, other]).stdout)).toEqual({
      ...{ a: image, b: other, same: true, differences: [] },
    });
  });

  it('says what was added, removed and changed, and fails as diff does', () => {
    const other = write(
      'other.cfs',
      FIXTURE_DUMP.replace('/b 5 100644 1 0 0', '/b 5 104755 1 0 7')
        .replace('user.only=b', 'user.other=b\\x20c')
        .replace('/d/e/fifo', '/d/e/pipe'),
    );
    const { status, stdout, stderr } = sealroot(['image', 'diff', image, other]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    const change =
      'mode 0644 -> 04755, owner 0:0 -> 0:7, xattr user.only: b -> none, xattr user.other: none -> b\\x20c';
    expect(stdout.split('\n')).toEqual([
      `changed /b: ${change}`,
      'removed /d/e/fifo',
      'added /d/e/pipe',
      `changed /d/h: ${change}`,
      '',
    ]);
    const { differences } = JSON.parse(sealroot(['image', 'diff', '--json', image, other]).stdout);
    expect(differences[0]).toEqual({
      path: '/b',
      change: 'changed',
      changes: [
        { aspect: 'mode', a: '0644', b: '04755' },
        { aspect: 'owner', a: '0:0', b: '0:7' },
        { aspect: 'xattr', name: 'user.only', a: 'b' },
        { aspect: 'xattr', name: 'user.other', b: 'b\\x20c' },
      ],
    });
    expect(differences[1]).toEqual({ path: '/d/e/fifo', change: 'removed', changes: [] });
  });

  it('says in what form two images of one tree differ', () => {
    const dump = ['/ 0 40755 2 0 0 0 0.0 - - -', '/f 0 100644 1 0 0 0 0.0 - - -', ''].join('\n');
    const [old, late] = [write('0.cfs', dump), write('1.cfs', dump, { minVersion: 1 })];
    expect(sealroot(['image', 'diff', old, late])).toEqual({
      status: 1,
      stdout: 'the same tree in another form: format version 0 and 1\n',
      stderr: '',
    });
  });

  it('compares commits with each other and with images', () => {
    const repo = new ArchiveRepo(join(folder, 'repo'));
    repo.commit({ ref: 'os/x' });
    sealroot(['image', 'create', '--repo', repo.path, '--commit', 'os/x', image]);
    expect(sealroot(['image', 'diff', '--repo', repo.path, image, 'os/x'])).toMatchObject({
      status: 0,
      stdout: '',
    });
    const bare = join(folder, 'bare.cfs');
    sealroot(['image', 'create', '--no-digests', '--repo', repo.path, '--commit', 'os/x', bare]);
    const { status, stdout } = sealroot(['image', 'diff', '--repo', repo.path, 'os/x', bare]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^(?:changed \/usr\/\S+: digest [0-9a-f]{64} -> none\n){2}$/);
  });

  it('is in trouble, not different, when it cannot read one', () => {
    expect(sealroot(['image', 'diff', image, join(folder, 'none')]).status).toBe(4);
    writeFileSync(join(folder, 'bad'), 'x');
    expect(sealroot(['image', 'diff', image, join(folder, 'bad')]).status).toBe(3);
    expect(sealroot(['image', 'diff', '-', '-']).status).toBe(2);
  });
});
