import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSecretKey, sign } from '../../src/adapters/keys.ts';
import { keygen } from '../../src/commands/keygen.ts';
import { seal } from '../../src/commands/seal.ts';
import { ascii } from '../../src/formats/encoding.ts';
import { makeVariant } from '../../src/formats/gvariant.ts';
import { COMPOSEFS_DIGEST_KEY, ED25519_SIGNATURES_KEY } from '../../src/formats/ostree-objects.ts';
import { FIXTURE_IMAGE_VERITY, fixtureImage } from '../formats/image-fixture.ts';
import { ArchiveRepo } from './archive-repo.ts';
import { sealroot, useCli } from './run-cli.ts';

useCli();

let folder: string;
let repo: ArchiveRepo;
let key: string;
let pub: string;
let otherPub: string;
let sealed: Awaited<ReturnType<typeof seal>>;

beforeEach(async () => {
  folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'sealroot-verify-'));
  repo = new ArchiveRepo(join(folder, 'repo'));
  ({ secretKey: key, publicKey: pub } = await keygen({ out: join(folder, 'one') }));
  ({ publicKey: otherPub } = await keygen({ out: join(folder, 'two') }));
  repo.commit({ ref: 'os/x' });
  sealed = await seal({ repo: repo.path, ref: 'os/x', keys: [key] });
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function verifyCli(rev: string, ...args: string[]) {
  return sealroot(['verify', '--repo', repo.path, rev, ...args]);
}

describe('sealroot verify', () => {
  it('accepts a sealed commit by branch, checksum and remote ref', () => {
    repo.setRef('../remotes/far/os/x', sealed.commit);
    const line = readFileSync(pub, 'utf8').trim();
    for (const rev of ['os/x', sealed.commit, 'far:os/x']) {
      expect(verifyCli(rev, '--pubkey', pub)).toEqual({
        status: 0,
        stdout: `commit  ${sealed.commit}\ndigest  ${sealed.digest}\nsigned  ${line}  (${pub}, line 1)\n`,
        stderr: '',
      });
    }
  });

  it('names the key that signed, its file and its line, and warns of lines that are no keys', () => {
    const keys = join(folder, 'keys');
    writeFileSync(keys, `bm8ga2V5\n\n${readFileSync(pub, 'utf8')}`);
    // In the same line of the file before it stands another key.
    writeFileSync(otherPub, `\n\n${readFileSync(otherPub, 'utf8')}`);
    const { status, stdout, stderr } = verifyCli('os/x', '--pubkey', otherPub, '--pubkey', keys, '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      commit: sealed.commit,
      digest: sealed.digest,
      key: { publicKey: readFileSync(pub, 'utf8').trim(), file: keys, line: 3 },
      warnings: [`${keys}: cannot use public key in line 1: 6 bytes, expected 32`],
    });
    expect(stderr).toBe(
      `sealroot: warning: ${keys}: cannot use public key in line 1: 6 bytes, expected 32\n`,
    );
  });

  it('refuses another key', () => {
    const { status, stdout, stderr } = verifyCli('os/x', '--pubkey', otherPub);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(
      `sealroot: error: cannot verify commit ${sealed.commit}: none of 1 signatures holds`,
    );
  });

  it('refuses a commit that nobody signed', () => {
    const unsigned = repo.commit({ subject: ascii('another'), metadata: digestOf(sealed.digest) });
    const { status, stderr } = verifyCli(unsigned, '--pubkey', pub);
    expect(status).toBe(1);
    expect(stderr).toContain('it has no detached metadata');
  });

  it('refuses a signed commit without digest', () => {
    const checksum = repo.commit();
    signWithKey(checksum);
    const { status, stderr } = verifyCli(checksum, '--pubkey', pub);
    expect(status).toBe(1);
    expect(stderr).toContain('its metadata has no ostree.composefs.digest.v0');
  });

  it('refuses a signed commit whose digest is not that of its objects', () => {
    const checksum = repo.commit({ metadata: digestOf('ab'.repeat(32)) });
    signWithKey(checksum);
    const { status, stdout, stderr } = verifyCli(checksum, '--pubkey', pub);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(
      `it names the image digest ${'ab'.repeat(32)}, but its objects make ${sealed.digest}`,
    );
  });

  it('names the first path that differs from the image that was signed, where that one is at hand', () => {
    const checksum = repo.commit({ metadata: digestOf(FIXTURE_IMAGE_VERITY) });
    signWithKey(checksum);
    const image = join(folder, 'signed.cfs');
    writeFileSync(image, fixtureImage());
    const where = (file: string) =>
      `; from ${file}, which has the expected digest, the first is changed /: time 1000.0 -> 0.0, xattr security.selinux: root -> none\n`;
    const named = verifyCli(checksum, '--pubkey', pub, '--image', image);
    expect(named.status).toBe(1);
    expect(named.stderr).toContain(where(image));
    // Not the image that was signed: then nothing is known of that one.
    writeFileSync(image, 'another');
    expect(verifyCli(checksum, '--pubkey', pub, '--image', image).stderr).not.toContain('the first is');

    const deployment = join(dirname(realpathSync(repo.path)), `deploy/os/deploy/${checksum}.1`);
    mkdirSync(deployment, { recursive: true });
    writeFileSync(join(deployment, '.ostree.cfs'), fixtureImage());
    const found = verifyCli(checksum, '--pubkey', pub);
    expect(found.stderr).toContain(where(join(deployment, '.ostree.cfs')));
  });

  it('refuses when no key is usable', () => {
    const empty = join(folder, 'empty');
    writeFileSync(empty, '');
    expect(verifyCli('os/x', '--pubkey', empty).status).toBe(1);
  });

  it('refuses an altered commit as the boot does', () => {
    const path = repo.objectPath(sealed.commit, 'commit');
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const { status, stderr } = verifyCli(sealed.commit, '--pubkey', pub);
    expect(status).toBe(1);
    expect(stderr).toContain(`cannot verify commit ${sealed.commit}: the SHA-256 of its bytes is`);
  });

  it('says which commit, file or option is missing', () => {
    const absent = '00'.repeat(32);
    const cases: [string[], number, string][] = [
      [[absent, '--pubkey', pub], 4, `cannot read commit ${absent}: not in repository`],
      [['os/nope', '--pubkey', pub], 3, 'cannot resolve "os/nope"'],
      [['os/x', '--pubkey', join(folder, 'none')], 4, 'ENOENT'],
      [['os/x'], 2, "required option '--pubkey FILE' not specified"],
    ];
    for (const [[rev = '', ...args], status, text] of cases) {
      const result = verifyCli(rev, ...args);
      expect(result.stderr).toContain(text);
      expect(result.status).toBe(status);
    }
  });
});

function digestOf(digest: string) {
  return new Map([[COMPOSEFS_DIGEST_KEY, makeVariant('ay', Buffer.from(digest, 'hex'))]]);
}

function signWithKey(checksum: string): void {
  const signature = sign(loadSecretKey(key), repo.object(checksum, 'commit'));
  repo.setDetached(checksum, new Map([[ED25519_SIGNATURES_KEY, makeVariant('aay', [signature])]]));
}
