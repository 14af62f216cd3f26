import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { ascii, hex } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { encode, openVariant } from '../../src/formats/gvariant.ts';
import {
  COMPOSEFS_DIGEST_KEY,
  ED25519_SIGNATURES_KEY,
  encodeCommit,
  encodeCommitMeta,
  MAX_COMMIT_BYTES,
  parseCommit,
  parseCommitMeta,
} from '../../src/formats/ostree-objects.ts';

const VECTORS = path.join(import.meta.dirname, '../vectors/upstream-signed');
const COMMITS: Record<string, string> = {
  one: '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb',
  two: '60357084d0ea07f5b89ea5449a084f455e4da0d2b37250c6fe32df5fd5e0b986',
  unsigned: '9da2d396d5b107f2cfc89781a26e3531e643bf06097f6034022150acbf32eebc',
  plain: '641a85e082d7fdfa95fac7d9396a4bdba61962b066d6c31adbe3bc900841027e',
};

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(path.join(VECTORS, name)));
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SealrootError) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('parseCommit()', () => {
  it('reads what upstream ostree wrote', () => {
    const commit = parseCommit(vector('one.commit'));
    expect(commit).toMatchObject({
      related: [],
      subject: 'one signature',
      body: 'body',
      timestamp: 1700000000n,
      rootTree: 'dc23f1e07f6bcc950964ffba645a61b127dfa28f407199c375ac9b211652102c',
      rootMeta: '446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488',
    });
    expect(commit.parent).toBeUndefined();
    expect([...commit.metadata.keys()]).toEqual(['ostree.ref-binding', 'ostree.composefs.digest.v0']);
    const digest = commit.metadata.get(COMPOSEFS_DIGEST_KEY);
    expect(digest && hex(openVariant(digest, 'ay', 'digest'))).toBe(
      'e2b8c0916e4be4b0911b3bb636bef716e87be784a32f254a89a1ea4853c71410',
    );
  });

  it.each(Object.entries(COMMITS))('and encodeCommit() keep every byte of %s', (name, checksum) => {
    const bytes = encodeCommit(parseCommit(vector(`${name}.commit`)));
    expect(hex(nodeHasher.sha256(bytes))).toBe(checksum);
  });

  it('and encodeCommit() carry a parent and related objects', () => {
    const commit = {
      ...parseCommit(vector('one.commit')),
      parent: COMMITS.plain ?? '',
      related: [{ name: ascii('x'), checksum: COMMITS.two ?? '' }],
    };
    expect(parseCommit(encodeCommit(commit))).toEqual(commit);
  });

  it.each(['parent', 'rootTree', 'rootMeta', 'related'])('refuses a checksum of 31 bytes: %s', (field) => {
    const short = new Uint8Array(31);
    const sum = new Uint8Array(32);
    const bytes = encode('(a{sv}aya(say)sstayay)', [
      new Map(),
      field === 'parent' ? short : sum,
      [[ascii('x'), field === 'related' ? short : sum]],
      ascii(''),
      ascii(''),
      0n,
      field === 'rootTree' ? short : sum,
      field === 'rootMeta' ? short : sum,
    ]);
    expect(codeOf(() => parseCommit(bytes))).toBe('checksum-malformed');
  });

  it('refuses every truncation of a commit', () => {
    const bytes = vector('two.commit');
    for (let length = 0; length < bytes.length; length++) {
      const code = codeOf(() => parseCommit(bytes.subarray(0, length)));
      expect(['gvariant-malformed', 'truncated', 'checksum-malformed']).toContain(code);
    }
  });

  it('refuses more than 16 MiB before it reads any of it', () => {
    expect(codeOf(() => parseCommit(new Uint8Array(MAX_COMMIT_BYTES + 1)))).toBe('file-too-large');
    expect(codeOf(() => parseCommitMeta(new Uint8Array(MAX_COMMIT_BYTES + 1)))).toBe('file-too-large');
  });
});

describe('parseCommitMeta()', () => {
  it('reads the signatures that upstream ostree wrote', () => {
    const counts = ['one', 'two', 'plain'].map((name) => {
      const signatures = parseCommitMeta(vector(`${name}.commitmeta`)).get(ED25519_SIGNATURES_KEY);
      return signatures && openVariant(signatures, 'aay', 'signatures').map((bytes) => bytes.length);
    });
    expect(counts).toEqual([[64], [64, 64], [64]]);
  });

  it('and encodeCommitMeta() keep every byte', () => {
    for (const name of ['one', 'two', 'plain']) {
      const bytes = vector(`${name}.commitmeta`);
      expect(encodeCommitMeta(parseCommitMeta(bytes))).toEqual(bytes);
    }
  });

  it('takes no bytes at all for an empty dictionary', () => {
    expect(parseCommitMeta(new Uint8Array(0)).size).toBe(0);
  });
});
