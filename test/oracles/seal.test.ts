/**
 * What we seal, beside the real ostree (Debian forky's, with composefs), and what upstream's ostree signed, beside
 * ours (test/vectors/upstream-signed). Needs root.
 */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureForky, runIn } from '../../tools/chroots.ts';
import { sealroot, useCli } from '../commands/run-cli.ts';

useCli();

const VECTORS = path.join(import.meta.dirname, '../vectors/upstream-signed');
const MODES = ['archive', 'bare', 'bare-user'] as const;

let forky = '';
let work = '';

beforeAll(async () => {
  forky = await ensureForky();
  work = mkdtempSync(path.join(tmpdir(), 'sealroot-oracle-seal-'));
  expect(sealroot(['keygen', '--out', path.join(work, 'keys')]).status).toBe(0);
  await inForky(`
    mkdir -p tree/boot tree/sysroot tree/ostree tree/var tree/usr/etc tree/usr/bin tree/usr/lib/ostree
    mkdir -p tree/usr/lib/modules/6.12
    echo kernel > tree/usr/lib/modules/6.12/vmlinuz
    echo initramfs > tree/usr/lib/modules/6.12/initramfs.img
    echo ID=test > tree/usr/lib/os-release
    cp /bin/cat tree/usr/bin/cat
    chmod 4755 tree/usr/bin/cat
    ln -s cat tree/usr/bin/dog
    : > tree/usr/bin/empty
    printf '[composefs]\\nenabled=verity\\n' > tree/usr/lib/ostree/prepare-root.conf`);
});

afterAll(async () => {
  // ostree makes the root of a deployment immutable.
  if (forky !== '') await inForky('chattr -R -i sysroot* 2>/dev/null || true');
  rmSync(work, { recursive: true, force: true });
});

/** Runs a shell script in the oracle, in the working folder. */
async function inForky(script: string): Promise<string> {
  const result = await runIn(forky, ['sh', '-euc', script], { binds: [[work, '/work']], cwd: '/work' });
  return result.stdout.toString();
}

async function tryInForky(script: string): Promise<{ status: number; stderr: string }> {
  const options = { binds: [[work, '/work']] as const, cwd: '/work', allowedStatus: [0, 1] };
  return await runIn(forky, ['sh', '-euc', script], options);
}

function sealed(repo: string, ref: string): { commit: string; digest: string; replaced?: string } {
  const key = path.join(work, 'keys/sealroot.key');
  const result = sealroot(['seal', '--repo', path.join(work, repo), ref, '--key', key, '--json']);
  expect(result).toMatchObject({ status: 0, stderr: '' });
  return JSON.parse(result.stdout);
}

describe('ostree accepts what sealroot sealed', () => {
  const results = new Map<string, { commit: string; digest: string }>();

  it.each(MODES)('in a repository of mode %s', async (mode) => {
    await inForky(`
      ostree init --repo=${mode} --mode=${mode}
      ostree commit --repo=${mode} --branch=os/x --tree=dir=tree --timestamp=@1699999999 --subject=first
      ostree commit --repo=${mode} --branch=os/x --tree=dir=tree --timestamp=@1700000000 --bootable \\
        --owner-uid=0 --owner-gid=0 --no-xattrs --subject='a subject' --body='a body' --add-metadata-string=version=7`);
    const { commit, digest, replaced } = sealed(mode, 'os/x');
    results.set(mode, { commit, digest });

    const show = `ostree show --repo=${mode} --print-hex`;
    // The signature stands there as [[byte 0x..., or, when its last byte happens to be 0, as [b'...
    const output = await inForky(`
      ostree fsck --repo=${mode} >/dev/null
      ostree rev-parse --repo=${mode} os/x
      ${show} --print-metadata-key=ostree.composefs.digest.v0 os/x
      ostree checkout --repo=${mode} --composefs os/x ${mode}.cfs
      fsverity digest --compact ${mode}.cfs
      ostree show --repo=${mode} --print-metadata-key=version os/x
      ostree diff --repo=${mode} ${replaced} os/x
      ostree show --repo=${mode} --print-detached-metadata-key=ostree.sign.ed25519 os/x | grep -c '^\\[[[b]'`);
    expect(output.trim().split('\n')).toEqual([commit, digest, digest, "'7'", '1']);

    // `ostree log` prints the commit, its parent, date, subject and body: all but the first are as they were.
    const [before, after] = (
      await inForky(`ostree log --repo=${mode} ${replaced}; echo =====; ostree log --repo=${mode} os/x`)
    ).split('=====\n');
    expect(after?.replace(commit, replaced ?? '')).toBe(before);
    expect(after).toContain('a body');
  });

  it('the same bytes in every mode', () => {
    expect(results.size).toBe(MODES.length);
    const [first] = results.values();
    for (const result of results.values()) expect(result).toEqual(first);
  });

  it('and deploys it with a digest check that refuses another digest', async () => {
    await inForky(`
      ostree init --repo=build --mode=bare
      ostree commit --repo=build --branch=os/x --tree=dir=tree --bootable --owner-uid=0 --owner-gid=0 --no-xattrs`);
    const { commit, digest } = sealed('build', 'os/x');
    await inForky(`
      ostree commit --repo=build --branch=os/wrong --tree=ref=os/x --bootable \\
        --add-metadata="ostree.composefs.digest.v0=@ay [$(printf '0xab,%.0s' $(seq 31))0xab]"
      mkdir sysroot
      ostree admin init-fs --modern sysroot
      ostree admin --sysroot=sysroot os-init test
      ostree config --repo=sysroot/ostree/repo set sysroot.bootloader none
      ostree pull-local --repo=sysroot/ostree/repo build`);

    const deployment = `sysroot/ostree/deploy/test/deploy/${commit}.0`;
    await inForky(`ostree admin --sysroot=sysroot deploy --os=test os/x`);
    expect(await inForky(`fsverity digest --compact ${deployment}/.ostree.cfs`)).toBe(`${digest}\n`);

    const wrong = await tryInForky(`ostree admin --sysroot=sysroot deploy --os=test os/wrong`);
    expect(wrong.status).toBe(1);
    expect(wrong.stderr).toContain(`(${digest}) doesn't match expected digest (${'ab'.repeat(32)})`);

    const refusal = sealroot([
      ...['seal', '--repo', path.join(work, 'build'), 'os/wrong'],
      ...['--key', path.join(work, 'keys/sealroot.key')],
    ]);
    expect(refusal.status).toBe(1);
    expect(refusal.stderr).toContain(
      `names the image digest ${'ab'.repeat(32)}, but its objects make ${digest}`,
    );
  });

  it('with a signature that a pull takes along', async () => {
    await inForky(`
      ostree init --repo=mirror --mode=archive
      ostree pull-local --repo=mirror archive os/x`);
    const pubkey = path.join(work, 'keys/sealroot.pub');
    const result = sealroot(['verify', '--repo', path.join(work, 'mirror'), 'os/x', '--pubkey', pubkey]);
    expect(result).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('commits that upstream signed', () => {
  let repo = '';

  beforeEach(() => {
    repo = mkdtempSync(path.join(work, 'upstream-'));
    cpSync(path.join(VECTORS, 'repo'), repo, { recursive: true });
    // git keeps no empty folders.
    for (const folder of ['tmp', 'state', 'extensions', 'refs/remotes', 'refs/mirrors']) {
      mkdirSync(path.join(repo, folder), { recursive: true });
    }
  });

  function verify(rev: string, key: string) {
    return sealroot(['verify', '--repo', repo, rev, '--pubkey', path.join(VECTORS, key), '--json']);
  }

  function seal(ref: string, ...more: string[]) {
    const secret = path.join(work, 'key1.test-secret');
    writeFileSync(secret, readFileSync(path.join(VECTORS, 'key1.test-secret')), { mode: 0o600 });
    return sealroot(['seal', '--repo', repo, ref, '--key', secret, '--json', ...more]);
  }

  const ONE = '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb';

  function detachedPath(checksum: string): string {
    return path.join(repo, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.commitmeta`);
  }

  it.each([
    ['test/one', 'key1.pub'],
    ['test/two', 'key1.pub'],
    ['test/two', 'key2.pub'],
  ])('verify accepts %s under %s', (ref, key) => {
    const { status, stdout, stderr } = verify(ref, key);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout).key.publicKey).toBe(readFileSync(path.join(VECTORS, key), 'utf8').trim());
  });

  it.each([
    ['test/one', 'key2.pub', 'none of 1 signatures holds'],
    ['test/unsigned', 'key1.pub', 'it has no detached metadata'],
    ['test/plain', 'key1.pub', 'has no ostree.composefs.digest.v0'],
  ])('verify refuses %s under %s', (ref, key, text) => {
    const { status, stdout, stderr } = verify(ref, key);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(text);
  });

  it('our signature by the same key is the same bytes', () => {
    const theirs = readFileSync(detachedPath(ONE));
    rmSync(detachedPath(ONE));
    expect(seal('test/one').status).toBe(0);
    expect(readFileSync(detachedPath(ONE)).equals(theirs)).toBe(true);
  });

  it('sealing again adds nothing', () => {
    const theirs = readFileSync(detachedPath(ONE));
    const { status, stdout } = seal('test/one');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ commit: ONE, signatures: [{ added: false }] });
    expect(readFileSync(detachedPath(ONE)).equals(theirs)).toBe(true);
  });

  it('image create makes the image that upstream made', () => {
    const image = path.join(repo, 'one.cfs');
    const result = sealroot(['image', 'create', '--repo', repo, '--commit', 'test/one', image]);
    expect(result.status).toBe(0);
    expect(readFileSync(image).equals(readFileSync(path.join(VECTORS, 'one.cfs')))).toBe(true);
  });

  it('a signed commit without digest is sealed only with --resign', () => {
    const refusal = seal('test/plain');
    expect(refusal.status).toBe(1);
    expect(refusal.stderr).toContain('drops its signatures ostree.sign.ed25519 (1)');
    expect(seal('test/plain', '--resign').status).toBe(0);
    expect(verify('test/plain', 'key1.pub').status).toBe(0);
  });
});
