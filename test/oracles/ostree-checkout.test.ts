/**
 * Our image beside that of `ostree checkout --composefs` (Debian forky's ostree) for the same commit: byte for byte,
 * out of every repository mode. Trees are committed by that same ostree. Needs root.
 */

import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DigestCache } from '../../src/adapters/digest-cache.ts';
import { buildImage } from '../../src/adapters/image.ts';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { ascii, hex } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { compileFileReader } from '../../tools/bundle.ts';
import { ensureForky, runIn } from '../../tools/chroots.ts';
import { ensureInstallerTree } from '../../tools/installer-tree.ts';
import { directory, file, growRandomTree, link, xattr } from './random-tree.ts';

const MODES = ['bare', 'bare-user', 'archive'] as const;

let forky = '';
let work = '';

beforeAll(async () => {
  forky = await ensureForky();
  work = mkdtempSync(path.join(tmpdir(), 'sealroot-checkout-'));
  await inForky(`
    mkdir repos images trees
    for mode in ${MODES.join(' ')} bare-user-only; do ostree init --repo=repos/$mode --mode=$mode; done`);
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs a shell script in the oracle, in the working folder: `checkout --composefs` writes relative to it. */
async function inForky(script: string): Promise<string> {
  const result = await runIn(forky, ['sh', '-euc', script], { binds: [[work, '/work']], cwd: '/work' });
  return result.stdout.toString();
}

function newTree(name: string): string {
  const root = path.join(work, 'trees', name);
  mkdirSync(root, { mode: 0o755 });
  return root;
}

/** Commits trees/NAME into every mode and compares the images; all modes must agree on the commit. */
async function compare(name: string, commitOptions = '', modes: readonly string[] = MODES): Promise<void> {
  const output = await inForky(`
    for mode in ${modes.join(' ')}; do
      ostree --repo=repos/$mode commit --branch=${name} --tree=dir=trees/${name} --timestamp=@1700000000 \\
        --subject=${name} ${commitOptions} >/dev/null
      ostree --repo=repos/$mode rev-parse ${name}
      ostree --repo=repos/$mode checkout --composefs ${name} images/${name}.$mode
      ostree --repo=repos/$mode checkout --composefs-noverity ${name} images/${name}.$mode.noverity
    done`);
  const checksums = output.trim().split('\n');
  expect(checksums).toHaveLength(modes.length);
  for (const [i, mode] of modes.entries()) {
    const folder = path.join(work, 'repos', mode);
    const { image } = buildImage(openObjectStore(folder), checksums[i] ?? '');
    expectSameBytes(image, path.join(work, 'images', `${name}.${mode}`));
    const unverified = buildImage(openObjectStore(folder, { digests: 'none' }), checksums[i] ?? '');
    expectSameBytes(unverified.image, path.join(work, 'images', `${name}.${mode}.noverity`));
  }
  expect(new Set(checksums).size).toBe(1);
}

/** Not toEqual: a diff of two megabytes helps nobody. */
function expectSameBytes(image: Uint8Array, reference: string): void {
  const expected = readFileSync(reference);
  const first = expected.findIndex((byte, i) => byte !== image[i]);
  expect({ size: image.length, firstDifference: first }).toEqual({
    size: expected.length,
    firstDifference: -1,
  });
}

describe('buildImage()', () => {
  it('writes the same bytes as ostree for a Debian tree', async () => {
    await inForky(`
      mkdir -p trees/debian/usr/lib
      cp -a /usr/bin /usr/sbin /usr/share trees/debian/usr
      cp -a /usr/lib/x86_64-linux-gnu trees/debian/usr/lib
      cp -a /etc trees/debian/usr/etc
      cp -a /bin /sbin /lib trees/debian`);
    await compare('debian');
  });

  it('writes the same bytes as ostree for the system of the Debian installer', async () => {
    await inForky('mkdir trees/installer');
    const binds = [
      [await ensureInstallerTree(), '/mnt'],
      [work, '/work'],
    ] as const;
    // ostree takes no devices, and an /etc belongs where it is a default.
    const script =
      'cp -a /mnt/. trees/installer; rm -r trees/installer/dev/*; mv trees/installer/etc trees/installer/usr';
    await runIn(forky, ['sh', '-euc', script], { binds, cwd: '/work' });
    await compare('installer');
  });

  it('writes the same bytes as ostree for an empty tree', async () => {
    newTree('empty');
    await compare('empty');
  });

  it('writes the same bytes as ostree for empty files, links and mount points that are no directories', async () => {
    const root = newTree('corners');
    file(root, 'empty', 0);
    xattr(path.join(root, 'empty'), 'user.on-empty', 'x');
    file(root, 'one', 1);
    link(root, 'dangling', 'no/such/file');
    link(root, 'long', 'a/'.repeat(1900));
    link(root, 'utf8', 'zïel');
    link(root, 'boot', 'usr/lib/ostree-boot');
    file(root, 'sysroot', 12);
    directory(root, 'ab');
    file(root, '00', 5);
    linkSync(path.join(root, 'one'), path.join(root, 'one-more'));
    xattr(path.join(root, 'dangling'), 'trusted.on-link', 'value');
    await compare('corners');
  });

  it('writes the same bytes as ostree for xattrs that overlayfs or EROFS treat specially', async () => {
    const root = newTree('xattrs');
    for (const name of ['first', 'second']) {
      const below = directory(root, name);
      xattr(below, 'trusted.overlay.opaque', 'y');
      xattr(below, 'user.overlay.whiteouts', '');
      const target = file(below, 'file', 100);
      xattr(target, 'trusted.overlay.metacopy', 'not really');
      xattr(target, 'user.shared', 'the same value everywhere');
      xattr(target, 'user.own', name);
      xattr(target, 'user.empty', '');
      xattr(target, 'security.sealroot', 'label');
      // Version 2; user rwx, group r-x, mask rwx, other r--: what `setfacl` would write.
      const acl = Uint8Array.from(
        [2, 0, 0, 0].concat(
          [1, 0, 7, 0, 255, 255, 255, 255],
          [2, 0, 5, 0, 232, 3, 0, 0],
          [4, 0, 5, 0, 255, 255, 255, 255],
          [16, 0, 7, 0, 255, 255, 255, 255],
          [32, 0, 4, 0, 255, 255, 255, 255],
        ),
      );
      setXattr(pathBytes(target), ascii('system.posix_acl_access'), acl);
      setXattr(pathBytes(below), ascii('system.posix_acl_default'), acl);
    }
    await compare('xattrs');
  });

  it('writes the same bytes as ostree for files around block, tree level and chunk limits', async () => {
    const root = newTree('sizes');
    const block = 4096;
    for (const size of [
      block - 1,
      block,
      block + 1,
      32 * block,
      32 * block + 1,
      128 * block,
      128 * block + 1,
    ]) {
      file(root, `size-${size}`, size);
    }
    file(root, 'large', 128 * 128 * block + 1);
    await compare('sizes');
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('writes the same bytes as ostree for random tree %i', async (seed) => {
    growRandomTree(newTree(`random-${seed}`), seed);
    await compare(`random-${seed}`);
  });

  it('writes the same bytes as ostree out of a bare-user-only repository', async () => {
    growRandomTree(newTree('canonical'), 100);
    await compare('canonical', '--canonical-permissions --no-xattrs', ['bare-user-only']);
  });

  it('writes the same bytes as ostree when objects lie in a parent repository', async () => {
    const root = newTree('child');
    file(root, 'file', 7);
    await compare('child', '', ['bare-user']);
    const checksum = (await inForky('ostree --repo=repos/bare-user rev-parse child')).trim();
    await inForky('ostree init --repo=repos/child --mode=bare-user');
    const parent = path.join(work, 'repos', 'bare-user');
    appendFileSync(path.join(work, 'repos', 'child', 'config'), `parent=${parent}\n`);
    const store = openObjectStore(path.join(work, 'repos', 'child'));
    expectSameBytes(buildImage(store, checksum).image, path.join(work, 'images', 'child.bare-user'));
  });

  it.each(
    MODES,
  )('writes the same bytes as ostree for commits in a row, from what was kept: %s', async (mode) => {
    const name = `row-${mode}`;
    const root = newTree(name);
    growRandomTree(root, 300);
    const library = pathToFileURL(await compileFileReader(newTree(`${name}-library`)));
    const kept = path.join(work, `${name}.kept`);
    const states: (readonly number[])[] = [];
    const changes = [
      () => {},
      () => file(root, 'new-file', 5000),
      () => link(root, 'new', 'a/b'),
      () => rmSync(path.join(root, 'crowded'), { recursive: true }),
      () => growRandomTree(directory(root, 'more'), 301),
      () => {
        file(directory(root, 'last'), 'file', 10);
        chmodSync(path.join(root, 'more'), 0o700);
      },
    ];
    for (const [i, change] of changes.entries()) {
      change();
      const checksum = await inForky(`
        ostree --repo=repos/${mode} commit --branch=${name} --tree=dir=trees/${name}
        ostree --repo=repos/${mode} checkout --composefs ${name} images/${name}.${i}`);
      const cache = new DigestCache(kept, { now: () => Date.now() + 3000 });
      states.push(cache.known.map(({ count }) => count));
      const store = openObjectStore(path.join(work, 'repos', mode), { cache, library });
      expectSameBytes(buildImage(store, checksum.trim()).image, path.join(work, 'images', `${name}.${i}`));
      expect(cache.save()).toBeUndefined();
    }
    const [first = 0] = states[1] ?? [];
    expect(first).toBeGreaterThan(100);
    // Alone, with what was added, and as one again.
    expect(states.map(([count, added = 0]) => [count === first, added])).toEqual([
      [false, 0],
      [true, 0],
      [true, 1],
      [true, 2],
      [true, 2],
      [false, 0],
    ]);
  });

  it('computes the digest that ostree puts into the commit', async () => {
    growRandomTree(newTree('digest'), 200);
    const output = await inForky(`
      ostree --repo=repos/bare-user commit --branch=digest --tree=dir=trees/digest --generate-composefs-metadata
      ostree --repo=repos/bare-user show --print-hex --print-metadata-key=ostree.composefs.digest.v0 digest`);
    const [checksum = '', printed = ''] = output.trim().split('\n');
    const { digest } = buildImage(openObjectStore(path.join(work, 'repos', 'bare-user')), checksum);
    expect(hex(digest)).toBe(printed);
  });

  it('refuses a partial commit by name', async () => {
    file(newTree('partial'), 'file', 10);
    const output = await inForky(`
      ostree --repo=repos/archive commit --branch=partial --tree=dir=trees/partial
      ostree init --repo=repos/partial --mode=bare-user
      ostree --repo=repos/partial pull-local --commit-metadata-only repos/archive partial`);
    const checksum = output.trim().split('\n')[0] ?? '';
    const store = openObjectStore(path.join(work, 'repos', 'partial'));
    expect(codeOf(() => buildImage(store, checksum))).toBe('commit-partial');
  });
});

describe('ostree', () => {
  it('refuses names that are not UTF-8, so no commit can hold one', async () => {
    newTree('not-utf8');
    await inForky(`cd trees/not-utf8; touch "$(printf 'a\\377')"`);
    await expect(compare('not-utf8')).rejects.toThrow(/UTF-8/);
  });

  it('refuses devices, so no commit can hold one', async () => {
    newTree('device');
    await inForky('mknod trees/device/null c 1 3');
    expect(lstatSync(path.join(work, 'trees/device/null')).isCharacterDevice()).toBe(true);
    await expect(compare('device')).rejects.toThrow(/not a regular file|Unsupported file type/i);
  });
});

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SealrootError) return error.code;
    throw error;
  }
  return 'no error';
}
