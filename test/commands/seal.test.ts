import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRepo } from '../../src/adapters/ostree-repo.ts';
import { keygen } from '../../src/commands/keygen.ts';
import { type SealOptions, seal } from '../../src/commands/seal.ts';
import { verify } from '../../src/commands/verify.ts';
import { ascii, hex } from '../../src/formats/encoding.ts';
import { makeVariant, openVariant, type Vardict } from '../../src/formats/gvariant.ts';
import {
  COMPOSEFS_DIGEST_KEY,
  ED25519_SIGNATURES_KEY,
  parseCommit,
  parseCommitMeta,
} from '../../src/formats/ostree-objects.ts';
import { MAX_SIGNATURES } from '../../src/formats/verdict.ts';
import { ArchiveRepo, type TestCommit } from './archive-repo.ts';
import { sealroot, useCli } from './run-cli.ts';

useCli();

let folder: string;
let repo: ArchiveRepo;
let key: string;
let pub: string;
let key2: string;
let pub2: string;

beforeEach(async () => {
  folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'sealroot-seal-'));
  repo = new ArchiveRepo(join(folder, 'repo'));
  ({ secretKey: key, publicKey: pub } = await keygen({ out: join(folder, 'one') }));
  ({ secretKey: key2, publicKey: pub2 } = await keygen({ out: join(folder, 'two') }));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function commitOf(checksum: string) {
  return parseCommit(repo.object(checksum, 'commit'));
}

function detachedOf(checksum: string): Vardict {
  return parseCommitMeta(repo.object(checksum, 'commitmeta'));
}

function signaturesOf(checksum: string): readonly Uint8Array[] {
  const entry = detachedOf(checksum).get(ED25519_SIGNATURES_KEY);
  return entry === undefined ? [] : openVariant(entry, 'aay', 'signatures');
}

/** Every object, ref and state of the repository with its content and inode, for "nothing changed", or was written again. */
function snapshot(): string[] {
  return readdirSync(repo.path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.lock'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.startsWith(join(repo.path, 'tmp')))
    .map((path) => `${path} ${statSync(path).ino} ${readFileSync(path, 'hex')}`)
    .sort();
}

function sealCli(ref: string, ...more: string[]) {
  return sealroot(['seal', '--repo', repo.path, ref, '--key', key, ...more]);
}

/** The content of an object in archive mode; empty for a link. */
function inflated(path: string): string {
  const bytes = readFileSync(path);
  const content = bytes.subarray(8 + bytes.readUInt32BE(0));
  return content.length === 0 ? '' : inflateRawSync(content).toString();
}

/** A commit that names the digest its image really has. */
async function commitWithDigest(options: TestCommit = {}): Promise<string> {
  const probe = repo.commit({ ...options, ref: 'probe' });
  const { digest } = await seal({ repo: repo.path, ref: 'probe', keys: [key2] });
  const metadata = new Map(commitOf(probe).metadata);
  metadata.set(COMPOSEFS_DIGEST_KEY, makeVariant('ay', Buffer.from(digest, 'hex')));
  return repo.commit({ ...options, metadata, subject: ascii('has the digest') });
}

describe('sealroot seal', () => {
  const DETAILS: TestCommit = {
    parent: 'ab'.repeat(32),
    related: [{ name: ascii('friend'), checksum: 'cd'.repeat(32) }],
    metadata: new Map([
      [ascii('version'), makeVariant('s', ascii('1.2'))],
      [ascii('ostree.ref-binding'), makeVariant('as', [ascii('os/x')])],
    ]),
  };

  it('writes the commit anew with the digest, signs it and moves the branch', async () => {
    const old = repo.commit({ ...DETAILS, ref: 'os/x' });
    const { status, stdout, stderr } = sealCli('os/x', '--json');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const result = JSON.parse(stdout);
    const commit = repo.ref('os/x');
    expect(result).toMatchObject({ ref: 'os/x', commit, replaced: old, dropped: [], destroyed: [] });
    expect(result.signatures).toEqual([{ publicKey: readFileSync(pub, 'utf8').trim(), added: true }]);

    const [before, after] = [commitOf(old), commitOf(commit)];
    expect({ ...after, metadata: before.metadata }).toEqual(before);
    const digest = after.metadata.get(COMPOSEFS_DIGEST_KEY);
    expect(digest?.type).toBe('ay');
    expect(digest && hex(digest.data)).toBe(result.digest);
    expect([...after.metadata].slice(0, -1)).toEqual([...before.metadata]);
    expect(signaturesOf(commit)).toHaveLength(1);
    await expect(verify({ repo: repo.path, rev: 'os/x', pubkeys: [pub] })).resolves.toMatchObject({ commit });
  });

  it('prints commit, digest and key for people', () => {
    const old = repo.commit({ ref: 'os/x' });
    const { stdout } = sealCli('os/x');
    expect(stdout).toMatch(
      new RegExp(
        `^commit {2}${repo.ref('os/x')}\nwas {5}${old}\ndigest {2}[0-9a-f]{64}\nsigned {2}[A-Za-z0-9+/]{43}=\n$`,
      ),
    );
  });

  it('changes nothing the second time', () => {
    repo.commit({ ref: 'os/x' });
    expect(sealCli('os/x').status).toBe(0);
    const before = snapshot();
    const { status, stdout } = sealCli('os/x', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ commit: repo.ref('os/x'), signatures: [{ added: false }] });
    expect(snapshot()).toEqual(before);
  });

  it('signs with several keys, and adds a later one to those before', async () => {
    repo.commit({ ref: 'os/x' });
    expect(sealCli('os/x', '--key', key2).status).toBe(0);
    const checksum = repo.ref('os/x');
    const both = signaturesOf(checksum);
    expect(both).toHaveLength(2);

    const { secretKey: key3, publicKey: pub3 } = await keygen({ out: join(folder, 'three') });
    await seal({ repo: repo.path, ref: 'os/x', keys: [key3] });
    expect(repo.ref('os/x')).toBe(checksum);
    expect(signaturesOf(checksum).slice(0, 2)).toEqual(both);
    for (const pubkey of [pub, pub2, pub3]) {
      await expect(verify({ repo: repo.path, rev: 'os/x', pubkeys: [pubkey] })).resolves.toBeDefined();
    }
  });

  it('adds the signature of a new key that is given beside one that signed before', async () => {
    repo.commit({ ref: 'os/x' });
    expect(sealCli('os/x').status).toBe(0);
    const { stdout } = sealCli('os/x', '--key', key2, '--json');
    expect(JSON.parse(stdout).signatures.map(({ added }: { added: boolean }) => added)).toEqual([
      false,
      true,
    ]);
    expect(signaturesOf(repo.ref('os/x'))).toHaveLength(2);
    await expect(verify({ repo: repo.path, rev: 'os/x', pubkeys: [pub2] })).resolves.toBeDefined();
  });

  it('takes a key that is given twice for one, and warns of one that others may read', () => {
    repo.commit({ ref: 'os/x' });
    const copy = join(folder, 'copy.key');
    copyFileSync(key, copy);
    chmodSync(copy, 0o644);
    const { status, stdout, stderr } = sealCli('os/x', '--key', copy, '--json');
    const warning = `secret key ${copy} is open to other users: mode 0644, expected 0600`;
    expect({ status, stderr }).toEqual({ status: 0, stderr: `sealroot: warning: ${warning}\n` });
    expect(JSON.parse(stdout)).toMatchObject({ signatures: [{ added: true }], warnings: [warning] });
    expect(JSON.parse(stdout).signatures).toHaveLength(1);
  });

  it('signs a checksum whose digest is right, keeping what else is detached', async () => {
    const checksum = await commitWithDigest();
    const note = makeVariant('s', ascii('kept'));
    const odd = makeVariant('aay', [new Uint8Array(3)]);
    repo.setDetached(
      checksum,
      new Map([
        [ascii('note'), note],
        [ED25519_SIGNATURES_KEY, odd],
      ]),
    );
    expect(sealCli(checksum).status).toBe(0);
    expect(detachedOf(checksum).get(ascii('note'))).toEqual(note);
    expect(signaturesOf(checksum).map(({ length }) => length)).toEqual([3, 64]);
  });

  it('keeps the signatures of a commit that was sealed before from the same original', async () => {
    const old = repo.commit({ ref: 'os/x' });
    const first = await seal({ repo: repo.path, ref: 'os/x', keys: [key] });
    repo.setRef('os/x', old);
    const second = await seal({ repo: repo.path, ref: 'os/x', keys: [key2] });
    expect(second.commit).toBe(first.commit);
    expect(signaturesOf(second.commit)).toHaveLength(2);
  });
});

describe('sealroot seal refuses', () => {
  const SIGNED: Vardict = new Map([
    [ED25519_SIGNATURES_KEY, makeVariant('aay', [new Uint8Array(64)])],
    [ascii('ostree.gpgsigs'), makeVariant('aay', [new Uint8Array(9), new Uint8Array(9)])],
    [ascii('note'), makeVariant('s', ascii('kept'))],
  ]);

  it('to drop signatures, by name, unless --resign is given', () => {
    const old = repo.commit({ ref: 'os/x', detached: SIGNED });
    const before = snapshot();
    const refusal = sealCli('os/x');
    expect(refusal).toEqual({
      status: 1,
      stdout: '',
      stderr:
        `sealroot: error: cannot seal os/x: commit ${old} has to be written anew, which drops its signatures ` +
        'ostree.sign.ed25519 (1), ostree.gpgsigs (2)\n' +
        'sealroot: hint: pass --resign to drop them; the commit is then signed only by the keys given here\n',
    });
    expect(snapshot()).toEqual(before);

    const resigned = sealCli('os/x', '--resign', '--json');
    expect(resigned.status).toBe(0);
    expect(JSON.parse(resigned.stdout).dropped).toEqual(['ostree.sign.ed25519 (1)', 'ostree.gpgsigs (2)']);
    expect([...detachedOf(repo.ref('os/x')).keys()].sort()).toEqual(['note', 'ostree.sign.ed25519']);
    expect(signaturesOf(repo.ref('os/x'))).toHaveLength(1);
    expect(detachedOf(old)).toEqual(SIGNED);

    repo.setRef('os/x', old);
    expect(sealCli('os/x', '--resign').stdout).toContain(
      '\ndropped ostree.sign.ed25519 (1)\ndropped ostree.gpgsigs (2)\n',
    );
  });

  it('a wrong digest, naming both, whether or not --resign is given', async () => {
    const wrong = new Uint8Array(32).fill(0xee);
    const metadata = new Map([[COMPOSEFS_DIGEST_KEY, makeVariant('ay', wrong)]]);
    const checksum = repo.commit({ ref: 'os/x', metadata });
    const before = snapshot();
    const { status, stdout, stderr } = sealCli('os/x', '--resign');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(
      new RegExp(
        `^sealroot: error: cannot seal commit ${checksum}: it names the image digest (ee){32}, but its objects make [0-9a-f]{64}\n`,
      ),
    );
    expect(snapshot()).toEqual(before);
  });

  it('a digest of the wrong size', () => {
    const metadata = new Map([[COMPOSEFS_DIGEST_KEY, makeVariant('ay', new Uint8Array(16))]]);
    repo.commit({ ref: 'os/x', metadata });
    const { status, stderr } = sealCli('os/x');
    expect(status).toBe(1);
    expect(stderr).toContain('has 16 bytes, expected 32');
  });

  it.each(['checksum', 'remote ref', 'alias', 'abbreviated checksum'])('to write anew a %s', async (kind) => {
    const checksum = repo.commit({ ref: 'os/x' });
    symlinkSync('x', join(repo.path, 'refs/heads/os/alias'));
    repo.setRef('../remotes/far/os/x', checksum);
    const before = snapshot();
    const ref = { checksum, 'remote ref': 'far:os/x', alias: 'os/alias' }[kind] ?? checksum.slice(0, 12);
    await expect(seal({ repo: repo.path, ref, keys: [key] })).rejects.toMatchObject({
      kind: 'usage',
      code: 'branch-required',
      message: expect.stringContaining('names no image digest and has to be written anew, but '),
    });
    expect(snapshot()).toEqual(before);
  });

  /** Runs `meanwhile` when the image is being computed; whoever gets a result has no progress on the terminal any more. */
  async function sealWhile(meanwhile: () => void, options: Partial<SealOptions> = {}) {
    let done = false;
    let finished = false;
    const progress = {
      update: () => {
        if (!done) meanwhile();
        done = true;
      },
      finish: () => {
        finished = done;
      },
    };
    const result = await seal({ repo: repo.path, ref: 'os/x', keys: [key], progress, ...options });
    expect(finished).toBe(true);
    return result;
  }

  it('to drop signatures before it computes the image', async () => {
    repo.commit({ ref: 'os/x', detached: SIGNED });
    const attempt = sealWhile(() => {
      throw new Error('the image is being computed');
    });
    await expect(attempt).rejects.toMatchObject({ code: 'signatures-dropped' });
  });

  it('what the boot would refuse although the signature holds', async () => {
    const checksum = await commitWithDigest();
    const entries = Array.from({ length: MAX_SIGNATURES }, () => new Uint8Array(64));
    repo.setDetached(checksum, new Map([[ED25519_SIGNATURES_KEY, makeVariant('aay', entries)]]));
    const before = snapshot();
    await expect(seal({ repo: repo.path, ref: checksum, keys: [key] })).rejects.toMatchObject({
      kind: 'refused',
      code: 'signatures-too-many',
    });
    expect(snapshot()).toEqual(before);
  });

  it('to move a branch that moved meanwhile', async () => {
    const old = repo.commit({ ref: 'os/x' });
    const other = repo.commit({ subject: ascii('somebody was faster') });
    const attempt = sealWhile(() => repo.setRef('os/x', other));
    await expect(attempt).rejects.toMatchObject({
      kind: 'refused',
      code: 'ref-moved',
      message: `cannot move ref os/x: it names ${other} now, expected ${old}`,
    });
    expect(repo.ref('os/x')).toBe(other);
    expect(readdirSync(join(repo.path, 'tmp')).filter((name) => name.startsWith('staging'))).toEqual([]);
  });

  it('to drop a signature that was added meanwhile', async () => {
    const old = repo.commit({ ref: 'os/x' });
    const attempt = sealWhile(() => repo.setDetached(old, SIGNED));
    await expect(attempt).rejects.toMatchObject({ code: 'signatures-dropped' });
    expect(repo.ref('os/x')).toBe(old);
  });

  it('nothing, but loses no signature that was added meanwhile', async () => {
    const checksum = await commitWithDigest();
    await sealWhile(() => repo.setDetached(checksum, SIGNED), { ref: checksum });
    expect(signaturesOf(checksum)).toHaveLength(2);
  });

  it('a repository with a corrupt directory object', () => {
    const old = repo.commit({ ref: 'os/x' });
    const tree = repo.objectPath(commitOf(old).rootTree, 'dirtree');
    writeFileSync(tree, Buffer.concat([readFileSync(tree), Buffer.alloc(8)]));
    const { status, stderr } = sealCli('os/x');
    expect(status).toBe(3);
    expect(stderr).toContain(commitOf(old).rootTree);
    expect(repo.ref('os/x')).toBe(old);
  });

  it('a repository with a corrupt file object', () => {
    const old = repo.commit({ ref: 'os/x' });
    const [file] = readdirSync(join(repo.path, 'objects'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.filez'))
      .map((name) => join(repo.path, 'objects', name))
      .filter((path) => inflated(path) === 'echo hello\n');
    if (file === undefined) throw new Error('no such object');
    // Well-formed in every respect, of the same size, but another content.
    const bytes = readFileSync(file);
    const header = bytes.subarray(0, 8 + bytes.readUInt32BE(0));
    writeFileSync(file, Buffer.concat([header, deflateRawSync(Buffer.from('echo pwned\n'))]));
    const { status, stdout, stderr } = sealCli('os/x');
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
    expect(stderr).toContain(`sealroot: error: cannot seal object ${file}: `);
    expect(repo.ref('os/x')).toBe(old);
  });

  it('an unknown branch, a missing repository, a missing and a malformed key', async () => {
    repo.commit({ ref: 'os/x' });
    writeFileSync(join(folder, 'bad.key'), 'not a key\n');
    const before = snapshot();
    const cases: [Partial<SealOptions>, string, string][] = [
      [{ ref: 'os/y' }, 'rev-not-found', 'cannot resolve "os/y": no such ref'],
      [{ ref: '../..' }, 'rev-not-found', 'cannot resolve "../.."'],
      [{ repo: join(folder, 'none') }, 'not-a-repository', 'cannot open repository'],
      [{ keys: [join(folder, 'none')] }, 'file-missing', 'ENOENT'],
      [{ keys: [join(folder, 'bad.key')] }, 'secret-key-malformed', 'secret key'],
      [{ keys: [] }, 'key-missing', 'no secret key was given'],
    ];
    for (const [options, code, text] of cases) {
      const attempt = seal({ repo: repo.path, ref: 'os/x', keys: [key], ...options });
      await expect(attempt).rejects.toMatchObject({ code, message: expect.stringContaining(text) });
    }
    expect(snapshot()).toEqual(before);
  });
});

describe('sealroot seal --destroy-key', () => {
  it('removes the key after it signed, and says what that guarantees', () => {
    repo.commit({ ref: 'os/x' });
    const { status, stdout } = sealCli('os/x', '--destroy-key');
    expect(status).toBe(0);
    expect(stdout).toContain(`destroyed ${key}: overwritten, synced and unlinked; copies`);
    expect(existsSync(key)).toBe(false);
    expect(sealroot(['verify', '--repo', repo.path, 'os/x', '--pubkey', pub]).status).toBe(0);
  });

  it('destroys a file once that is named twice', () => {
    repo.commit({ ref: 'os/x' });
    const { status, stdout } = sealCli(
      'os/x',
      ...['--key', key, '--key', relative('.', key), '--destroy-key', '--json'],
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout).destroyed).toEqual([key]);
    expect(existsSync(key)).toBe(false);
  });

  it('keeps the key when nothing was sealed', () => {
    repo.commit({ ref: 'os/x', detached: new Map([[ascii('ostree.gpgsigs'), makeVariant('aay', [])]]) });
    const bytes = readFileSync(key);
    expect(sealCli('os/x', '--destroy-key').status).toBe(1);
    expect(readFileSync(key)).toEqual(bytes);
  });

  it('refuses a link before it signs', () => {
    const old = repo.commit({ ref: 'os/x' });
    const link = join(folder, 'link.key');
    symlinkSync(key, link);
    const { status, stderr } = sealroot([
      'seal',
      '--repo',
      repo.path,
      'os/x',
      '--key',
      link,
      '--destroy-key',
    ]);
    expect(status).toBe(2);
    expect(stderr).toContain('not a regular file');
    expect(repo.ref('os/x')).toBe(old);
    expect(existsSync(key)).toBe(true);
  });
});

describe('openRepo()', () => {
  it('says what is missing', async () => {
    await expect(openRepo(join(folder, 'none'))).rejects.toMatchObject({ code: 'libostree-failed' });
  });
});
