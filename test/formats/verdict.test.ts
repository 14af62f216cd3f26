/** The verdict: upstream's commits, the mutation table, and that unverified bytes are not parsed. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeHasher as hasher } from '../../src/adapters/hasher.ts';
import { concatBytes } from '../../src/formats/bytes.ts';
import { findKernelArgument, kernelArguments } from '../../src/formats/cmdline.ts';
import { ascii, hex } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { parsePublicKeys, parseRevokedKeys } from '../../src/formats/keys.ts';
import { parsePolicy } from '../../src/formats/policy.ts';
import { decide, type Verdict } from '../../src/formats/verdict.ts';
import {
  applyMutation,
  type BootInputs,
  type Mutation,
  UNTAMPERED,
  UNTAMPERED_DIGEST,
} from './mutation-inputs.ts';
import { MUTATIONS } from './verdict-mutations.ts';

const vectors = join(import.meta.dirname, '../vectors/upstream-signed');

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(vectors, name)));
}

/** What the initramfs does with its inputs, without the files. */
function judge(inputs: BootInputs): Verdict {
  if (inputs.conf === null || inputs.keys === null || inputs.commit === null)
    throw new Error('a program row');
  const { demands, sealed } = parsePolicy(inputs.conf);
  expect(sealed).toBe(true);
  const revoked = inputs.revoked === null ? [] : parseRevokedKeys(inputs.revoked, 'revoked keys');
  expect(findKernelArgument(kernelArguments(ascii(inputs.cmdline)), 'ostree')).toBe('/ostree/boot.1/os/0/0');
  const { keys, warnings } = parsePublicKeys(inputs.keys);
  const verdict = decide({
    commit: inputs.commit,
    checksum: inputs.checksum,
    commitmeta: inputs.commitmeta ?? undefined,
    keys,
    demands: { ...demands, revoked },
    hasher,
  });
  return { ...verdict, warnings: [...warnings, ...verdict.warnings] };
}

function outcome(row: Mutation): string {
  try {
    const verdict = judge(applyMutation(row));
    return `accepted ${hex(verdict.digest)}, ${verdict.warnings.length} warnings`;
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    return `${error.kind} ${error.code}`;
  }
}

describe('decide() and the mutation table', { timeout: 60_000 }, () => {
  it('has at least 40 refusals with different names', () => {
    const refusals = MUTATIONS.filter((row) => row.expectedCode !== undefined);
    expect(refusals.length).toBeGreaterThanOrEqual(40);
    expect(new Set(MUTATIONS.map((row) => row.name)).size).toBe(MUTATIONS.length);
  });

  for (const row of MUTATIONS.filter((row) => row.program === undefined)) {
    it(row.name, () => {
      const accepted = `accepted ${UNTAMPERED_DIGEST}, ${row.warnings ?? 0} warnings`;
      expect(outcome(row)).toBe(row.expectedCode === undefined ? accepted : `refused ${row.expectedCode}`);
    });
  }

  it('refuses a bit flipped in every byte of commit, name and detached metadata', () => {
    const { checksum } = UNTAMPERED;
    const commit = vector('one.commit');
    const commitmeta = vector('one.commitmeta');
    const flip = (bytes: Uint8Array, bit: number) => {
      const out = bytes.slice();
      out[bit >> 3] = (out[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return out;
    };
    const trusted = parsePublicKeys(vector('key1.pub')).keys;
    const attempt = (bytes: Uint8Array, name: string, meta: Uint8Array) => () =>
      decide({ commit: bytes, checksum: name, commitmeta: meta, keys: trusted, hasher });
    for (let bit = 0; bit < commit.length * 8; bit += 9) {
      const bytes = flip(commit, bit);
      expect(attempt(bytes, checksum, commitmeta)).toThrow(
        expect.objectContaining({ code: 'commit-checksum-mismatch' }),
      );
    }
    for (let bit = 0; bit < commit.length * 8; bit += 67) {
      const bytes = flip(commit, bit);
      expect(attempt(bytes, hex(hasher.sha256(bytes)), commitmeta)).toThrow(
        expect.objectContaining({ code: 'signature-none-valid' }),
      );
    }
    for (let bit = 0; bit < commitmeta.length * 8; bit += 9) {
      expect(attempt(commit, checksum, flip(commitmeta, bit))).toThrow(SealrootError);
    }
  });

  it('ends in a refusal with a code for any detached metadata', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (commitmeta) => {
        expect(outcome({ name: '', commitmeta, expectedCode: '' })).toMatch(
          /^refused (commitmeta-malformed|signatures-missing|signature-none-valid)$/,
        );
      }),
      { numRuns: 150 },
    );
  });
});

describe("decide() and upstream's commits", () => {
  const key1 = vector('key1.pub');
  const key2 = vector('key2.pub');
  const two = {
    commit: vector('two.commit'),
    commitmeta: vector('two.commitmeta'),
    checksum: '60357084d0ea07f5b89ea5449a084f455e4da0d2b37250c6fe32df5fd5e0b986',
    hasher,
  };

  it('accepts two signatures under either key, and names the line of the key that held', () => {
    const other = new TextEncoder().encode('3VzqcvXJ1AWx0CJbCcE9QLLBCLSFNCbJ0MFwCmQZJ4w=\n');
    const lineOf = (...files: Uint8Array[]) =>
      decide({ ...two, keys: parsePublicKeys(concatBytes(files)).keys }).key.line;
    expect(lineOf(key1)).toBe(1);
    expect(lineOf(key2)).toBe(1);
    expect(lineOf(key1, key2)).toBe(1);
    expect(lineOf(other, key2, key1)).toBe(2);
  });

  it('returns the verified commit', () => {
    const verdict = decide({ ...two, keys: parsePublicKeys(key1).keys });
    expect(verdict.commit.metadata.has(ascii('version'))).toBe(true);
    expect(verdict.checksum).toBe(two.checksum);
    expect(hex(verdict.digest)).toBe(UNTAMPERED_DIGEST);
  });

  it('says commit and counts when nothing holds', () => {
    expect(() =>
      decide({ ...two, commitmeta: vector('one.commitmeta'), keys: parsePublicKeys(key1).keys }),
    ).toThrow(
      expect.objectContaining({
        message: `cannot verify commit ${two.checksum}: none of 1 signatures holds under any of 1 keys`,
      }),
    );
  });

  it('does not parse a commit before its signature held', () => {
    const garbage = new Uint8Array([1, 2, 3]);
    const input = {
      ...two,
      commit: garbage,
      checksum: hex(hasher.sha256(garbage)),
      keys: parsePublicKeys(key1).keys,
    };
    expect(() => decide(input)).toThrow(expect.objectContaining({ code: 'signature-none-valid' }));
  });
});
