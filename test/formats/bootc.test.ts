import { describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { baseOfBootcCommit } from '../../src/formats/bootc.ts';
import { encodeCommit, parseCommit } from '../../src/formats/ostree-objects.ts';
import { bootcCommitOf, commit, sha256, UNTAMPERED } from './mutation-inputs.ts';

const baseOf = (bytes: Uint8Array) => baseOfBootcCommit(bytes, sha256(bytes), nodeHasher);

describe('baseOfBootcCommit()', () => {
  it('is the parent of a commit that was made of a container', () => {
    expect(baseOf(bootcCommitOf(UNTAMPERED.checksum))).toBe(UNTAMPERED.checksum);
  });

  it.each<[string, Uint8Array]>([
    ['any other commit', encodeCommit({ ...parseCommit(commit), parent: UNTAMPERED.checksum })],
    ['one without a parent', bootcCommitOf(undefined)],
    ['one whose configuration is of another type', bootcCommitOf(UNTAMPERED.checksum, 'ay')],
    ['what is no commit', Uint8Array.of(1, 2, 3)],
  ])('is none of %s', (_, bytes) => {
    expect(baseOf(bytes)).toBeUndefined();
  });

  it('is not read from bytes that do not have the checksum', () => {
    const bytes = bootcCommitOf(UNTAMPERED.checksum);
    expect(baseOfBootcCommit(bytes, UNTAMPERED.checksum, nodeHasher)).toBeUndefined();
  });
});
