/**
 * Plain data: what happens to the accepted boot of mutation-inputs.ts when one of its inputs is changed. The same
 * rows run through the functions of src/formats under Node (verdict.test.ts) and through sealroot-prepare-root.
 */

import { concatBytes } from '../../src/formats/bytes.ts';
import { ascii, base64, utf8 } from '../../src/formats/encoding.ts';
import { encode, makeVariant } from '../../src/formats/gvariant.ts';
import { ED25519_SIGNATURES_KEY } from '../../src/formats/ostree-objects.ts';
import { CMDLINE, KEYS, POLICY } from './configuration-mutations.ts';
import { DEMANDS } from './demand-mutations.ts';
import {
  anythingSignature,
  appended,
  commit,
  commitmeta,
  commitWithDigest,
  conf,
  flip,
  good,
  key1Line,
  key2Line,
  type Mutation,
  metadataOf,
  metadataWith,
  OSTREE_ARGUMENT,
  OVERSIZED,
  renamed,
  sha256,
  signatureOf,
  signed,
  text,
  twice,
  vector,
  withOrderAdded,
} from './mutation-inputs.ts';

const ACCEPTED: Mutation[] = [
  { name: 'nothing changed', expectedCode: undefined },
  { name: 'key file with carriage returns', keys: text(`${key1Line}\r\n`), expectedCode: undefined },
  { name: 'key file without a last newline', keys: text(key1Line), expectedCode: undefined },
  { name: 'key file with blank lines', keys: text(`\n\n${key1Line}\n\n`), expectedCode: undefined },
  {
    name: 'malformed key line before the good one',
    keys: text(`#\n${key1Line}\n`),
    expectedCode: undefined,
    warnings: 1,
  },
  {
    name: 'malformed key line after the good one',
    keys: text(`${key1Line}\nAAAA\n`),
    expectedCode: undefined,
    warnings: 1,
  },
  {
    name: 'another key before the good one',
    keys: text(`${key2Line}\n${key1Line}\n`),
    expectedCode: undefined,
  },
  {
    name: 'key that is no point of the curve before the good one',
    keys: text(`${base64(flip(new Uint8Array(32), 0, 2))}\n${key1Line}\n`),
    expectedCode: undefined,
    warnings: 1,
  },
  {
    name: 'short signature entry before the good one',
    commitmeta: metadataWith([good.subarray(1), good]),
    expectedCode: undefined,
    warnings: 1,
  },
  {
    name: 'empty signature entry after the good one',
    commitmeta: metadataWith([good, new Uint8Array(0)]),
    expectedCode: undefined,
    warnings: 1,
  },
  {
    name: 'bad signature before the good one',
    commitmeta: metadataWith([flip(good, 0), good]),
    expectedCode: undefined,
  },
  {
    name: '63 bad signatures before the good one',
    commitmeta: metadataWith([...Array(63).fill(flip(good, 40)), good]),
    expectedCode: undefined,
  },
  {
    name: 'other detached metadata beside the signatures',
    commitmeta: encode(
      'a{sv}',
      new Map([
        [ascii('note'), makeVariant('s', ascii('x'))],
        [ED25519_SIGNATURES_KEY, makeVariant('aay', [good])],
      ]),
    ),
    expectedCode: undefined,
  },
  { name: 'signed again with the same key', ...signed(commit), expectedCode: undefined },
  {
    name: 'policy with carriage returns',
    conf: text('[composefs]\r\nenabled=signed\r\n'),
    expectedCode: undefined,
  },
  {
    name: 'policy with a duplicate key, the last one signed',
    conf: text('[composefs]\nenabled=no\nenabled=signed\n'),
    expectedCode: undefined,
  },
  {
    name: 'policy with keys nobody knows outside [sealroot]',
    conf: appended(conf, ...utf8('[x]\ny=z\n')),
    expectedCode: undefined,
  },
];

/** No kernel argument weakens a sealed policy. */
const KARGS: Mutation[] = [
  'ostree.prepare-root.composefs=0',
  'ostree.prepare-root.composefs=no',
  'ostree.prepare-root.composefs=maybe',
  'ostree.prepare-root.composefs=verity',
  'ostree.prepare-root.composefs=signed',
  'ostree.prepare-root.composefs="0"',
  'composefs=off',
].map((argument) => ({
  name: `kernel argument ${argument}`,
  cmdline: `${argument} ${OSTREE_ARGUMENT} ${argument}\n`,
  expectedCode: undefined,
}));

const COMMIT: Mutation[] = [
  { name: 'commit: no file', commit: null, expectedCode: 'commit-missing', program: true },
  {
    name: 'commit: a bit of its metadata flipped',
    commit: flip(commit, 80),
    expectedCode: 'commit-checksum-mismatch',
  },
  {
    name: 'commit: its last bit flipped',
    commit: flip(commit, -1, 0x80),
    expectedCode: 'commit-checksum-mismatch',
  },
  {
    name: 'commit: truncated by a byte',
    commit: commit.subarray(0, -1),
    expectedCode: 'commit-checksum-mismatch',
  },
  { name: 'commit: a byte appended', commit: appended(commit, 0), expectedCode: 'commit-checksum-mismatch' },
  { name: 'commit: empty', commit: new Uint8Array(0), expectedCode: 'commit-checksum-mismatch' },
  {
    name: 'commit: another one, well signed',
    commit: vector('two.commit'),
    commitmeta: vector('two.commitmeta'),
    expectedCode: 'commit-checksum-mismatch',
  },
  { name: 'commit: larger than 16 MiB', commit: new Uint8Array(OVERSIZED), expectedCode: 'file-too-large' },
  {
    name: 'commit and name: a bit of the digest flipped',
    ...renamed(flip(commit, 80)),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'commit and name: the digest of another image',
    ...renamed(commitWithDigest(makeVariant('ay', new Uint8Array(32)))),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'commit and name: a byte appended',
    ...renamed(appended(commit, 0)),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'commit and name: truncated',
    ...renamed(commit.subarray(0, 100)),
    expectedCode: 'signature-none-valid',
  },
  { name: 'commit and name: empty', ...renamed(new Uint8Array(0)), expectedCode: 'signature-none-valid' },
  {
    name: 'commit and name: not a commit at all',
    ...renamed(utf8('hello')),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'commit and name: an unsigned one',
    ...renamed(vector('unsigned.commit')),
    commitmeta: null,
    expectedCode: 'commitmeta-missing',
  },
  {
    name: 'commit and name: an unsigned one under a signature of another',
    ...renamed(vector('unsigned.commit')),
    expectedCode: 'signature-none-valid',
  },
];

const SIGNED_BUT_WRONG: Mutation[] = [
  {
    name: 'signed by upstream without a digest',
    ...renamed(vector('plain.commit')),
    commitmeta: vector('plain.commitmeta'),
    expectedCode: 'digest-missing',
  },
  { name: 'signed: digest removed', ...signed(commitWithDigest(undefined)), expectedCode: 'digest-missing' },
  {
    name: 'signed: digest as text',
    ...signed(commitWithDigest(makeVariant('s', ascii('00'.repeat(32))))),
    expectedCode: 'digest-malformed',
  },
  {
    name: 'signed: digest as an array of arrays',
    ...signed(commitWithDigest(makeVariant('aay', [new Uint8Array(32)]))),
    expectedCode: 'digest-malformed',
  },
  {
    name: 'signed: digest in a variant',
    ...signed(commitWithDigest(makeVariant('v', makeVariant('ay', new Uint8Array(32))))),
    expectedCode: 'digest-malformed',
  },
  ...[0, 1, 31, 33, 64].map((size) => ({
    name: `signed: digest of ${size} bytes`,
    ...signed(commitWithDigest(makeVariant('ay', new Uint8Array(size)))),
    expectedCode: 'digest-malformed',
  })),
  { name: 'signed: empty commit', ...signed(new Uint8Array(0)), expectedCode: 'commit-malformed' },
  { name: 'signed: not a commit', ...signed(utf8('hello')), expectedCode: 'commit-malformed' },
  { name: 'signed: truncated commit', ...signed(commit.subarray(0, -1)), expectedCode: 'commit-malformed' },
  {
    name: 'signed: commit with a byte after its end',
    ...signed(appended(commit, 0)),
    expectedCode: 'commit-malformed',
  },
  {
    name: 'signed: commit with a bad framing offset',
    ...signed(flip(commit, -1, 0xff)),
    expectedCode: 'commit-malformed',
  },
  {
    name: 'signed: commit with padding that is not zero',
    ...signed(flip(commit, 0x13)),
    expectedCode: 'commit-malformed',
  },
];

const META: Mutation[] = [
  { name: 'commitmeta: no file', commitmeta: null, expectedCode: 'commitmeta-missing' },
  { name: 'commitmeta: empty', commitmeta: new Uint8Array(0), expectedCode: 'signatures-missing' },
  {
    name: 'commitmeta: truncated by a byte',
    commitmeta: commitmeta.subarray(0, -1),
    expectedCode: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: only its first half',
    commitmeta: commitmeta.subarray(0, 48),
    expectedCode: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: a byte appended',
    commitmeta: appended(commitmeta, 0),
    expectedCode: 'commitmeta-malformed',
  },
  { name: 'commitmeta: one byte', commitmeta: new Uint8Array([0xff]), expectedCode: 'commitmeta-malformed' },
  { name: 'commitmeta: zeros', commitmeta: new Uint8Array(64), expectedCode: 'commitmeta-malformed' },
  {
    name: 'commitmeta: larger than 16 MiB',
    commitmeta: new Uint8Array(OVERSIZED),
    expectedCode: 'file-too-large',
  },
  {
    name: 'commitmeta: padding that is not zero',
    commitmeta: flip(commitmeta, 0x15),
    expectedCode: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: type aay changed to aas',
    commitmeta: flip(commitmeta, 0x5c, 0x79 ^ 0x73),
    expectedCode: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: type that is none',
    commitmeta: flip(commitmeta, 0x5a, 0x61 ^ 0x7a),
    expectedCode: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: key that is not UTF-8',
    commitmeta: flip(commitmeta, 0, 0x80),
    expectedCode: 'commitmeta-malformed',
  },
  { name: 'commitmeta: another key', commitmeta: flip(commitmeta, 0), expectedCode: 'signatures-missing' },
  {
    name: 'commitmeta: signatures under the spki key',
    commitmeta: metadataOf(makeVariant('aay', [good]), ascii('ostree.sign.spki')),
    expectedCode: 'signatures-missing',
  },
  {
    name: 'commitmeta: signatures twice',
    commitmeta: twice(makeVariant('aay', [good])),
    expectedCode: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: signature not in an array',
    commitmeta: metadataOf(makeVariant('ay', good)),
    expectedCode: 'commitmeta-malformed',
  },
  { name: 'commitmeta: no entry', commitmeta: metadataWith([]), expectedCode: 'signatures-missing' },
  {
    name: 'commitmeta: 65 entries',
    commitmeta: metadataWith(Array(65).fill(good)),
    expectedCode: 'signatures-too-many',
  },
  {
    name: "commitmeta: another commit's",
    commitmeta: vector('plain.commitmeta'),
    expectedCode: 'signature-none-valid',
  },
];

const SIGNATURE: Mutation[] = [
  ...(
    [
      ['first bit of R', 0, 1],
      ['last bit of R', 31, 0x80],
      ['first bit of s', 32, 1],
      ['last bit of s', 63, 0x80],
    ] as const
  ).map(([name, offset, mask]) => ({
    name: `signature: ${name} flipped`,
    commitmeta: metadataWith([flip(good, offset, mask)]),
    expectedCode: 'signature-none-valid',
  })),
  ...[0, 32, 63, 65, 128].map((size) => ({
    name: `signature: ${size} bytes`,
    commitmeta: metadataWith([concatBytes([good, good]).subarray(0, size)]),
    expectedCode: 'signature-none-valid',
  })),
  {
    name: 'signature: s + L',
    commitmeta: metadataWith([withOrderAdded(good)]),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'signature: zeros',
    commitmeta: metadataWith([new Uint8Array(64)]),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'signature: R and s exchanged',
    commitmeta: metadataWith([concatBytes([good.subarray(32), good.subarray(0, 32)])]),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'signature: of the checksum instead of the commit',
    commitmeta: metadataWith([signatureOf(utf8(sha256(commit)))]),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'signature: identity and zero',
    commitmeta: metadataWith([anythingSignature]),
    expectedCode: 'signature-none-valid',
  },
];

export const MUTATIONS: readonly Mutation[] = [
  ...ACCEPTED,
  ...KARGS,
  ...COMMIT,
  ...SIGNED_BUT_WRONG,
  ...META,
  ...SIGNATURE,
  ...KEYS,
  ...POLICY,
  ...DEMANDS,
  ...CMDLINE,
];
