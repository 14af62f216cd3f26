/** What the initramfs trusts and demands: keys, revocations, floors, refs. */
import { generateKeyPair, sign } from '../../src/adapters/keys.ts';
import { ascii, base64 } from '../../src/formats/encoding.ts';
import { makeVariant } from '../../src/formats/gvariant.ts';
import type { Commit } from '../../src/formats/ostree-objects.ts';
import { FLOOR_KEY } from '../../src/formats/verdict.ts';
import { OS_REF } from '../base-disk.ts';
import { COMMIT_TIME } from '../commit.ts';
import { addCommit, deployInstead, metadataWith, otherCommit, signatureOf } from '../other-commit.ts';
import { type RefusalCase, SEALED_POLICY } from '../refusal.ts';
import type { Trial } from '../trials.ts';

/** Of the commit on the base disk. */
const TIMESTAMP = Date.parse(COMMIT_TIME) / 1000;

function demanding(...lines: string[]): () => string {
  return () => `${SEALED_POLICY}[sealroot]\n${lines.join('\n')}\n`;
}

/** The encoding of the neutral element: OpenSSL lets one signature pass under it for every message. */
const SMALL_ORDER = base64(Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0)));

const KEYS: readonly Trial[] = [
  {
    title: 'a malformed key before the good one is skipped',
    keys: (key) => `AAAA\n${key}\n`,
    warns: [/^cannot use public key in line 1: 3 bytes, expected 32/],
  },
  {
    title: 'a key of small order before the good one is skipped',
    keys: (key) => `${SMALL_ORDER}\n${key}\n`,
    warns: [/^cannot use public key in line 1: not a valid ed25519 point/],
  },
  {
    title: 'no line of the key file is a key',
    refused: 'keys-missing',
    keys: () => `AAAA\n${SMALL_ORDER}\n`,
  },
  { title: 'the key is revoked', refused: 'key-revoked', revoked: (key) => `${key}\n` },
  {
    title: 'a key that signed nothing is revoked',
    revoked: () => `${base64(generateKeyPair().publicKey)}\n`,
  },
  { title: 'a revocation is no key', refused: 'revoked-malformed', revoked: (key) => `${key.slice(4)}\n` },
  {
    title: 'the commit is from after the time of its key',
    refused: 'key-expired',
    policy: (key) => demanding(`not-after=${key} ${TIMESTAMP - 1}`)(),
  },
];

/** The detached metadata hold these entries, made from the good signature. */
function signatures(entries: (good: Uint8Array, commit: Uint8Array) => Uint8Array[]) {
  return (stage: RefusalCase) => {
    const commit = stage.disk.read(stage.commitPath);
    const bytes = metadataWith(entries(signatureOf(stage, commit), commit));
    stage.disk.replace(stage.commitMetaPath, bytes, { verity: false });
  };
}

const strangers = (commit: Uint8Array) => sign(generateKeyPair(), commit);

const SIGNATURES: readonly Trial[] = [
  {
    title: 'a malformed signature before the good one is skipped',
    tamper: signatures((good) => [good.subarray(1), good]),
    warns: [/^cannot use signature 1 of 2: 63 bytes, expected 64/],
  },
  {
    title: "a stranger's signature before the good one is skipped",
    tamper: signatures((good, commit) => [strangers(commit), good]),
  },
  {
    title: "only a stranger's signature",
    refused: 'signature-none-valid',
    tamper: signatures((_, commit) => [strangers(commit)]),
  },
  {
    title: 'more signatures than anybody needs',
    refused: 'signatures-too-many',
    tamper: signatures((good) => [...Array<Uint8Array>(64).fill(new Uint8Array(64)), good]),
  },
];

function withFloor(commit: Commit): Commit {
  const metadata = new Map(commit.metadata).set(FLOOR_KEY, makeVariant('t', BigInt(TIMESTAMP + 1)));
  return { ...commit, metadata, timestamp: BigInt(TIMESTAMP + 1) };
}

/** Another deployment, of a commit that sets a floor above this one's; `sign` changes its detached metadata. */
function deployedFloor(stage: RefusalCase, sign: (commitmeta: Uint8Array, commit: Uint8Array) => Uint8Array) {
  const other = otherCommit(stage, withFloor);
  addCommit(stage, { ...other, commitmeta: sign(other.commitmeta, other.commit) });
  stage.disk.makeDirectory(stage.deploymentOf(other.checksum));
}

const FLOORS: readonly Trial[] = [
  {
    title: "the commit is below the policy's floor",
    refused: 'commit-below-floor',
    policy: demanding(`min-timestamp=${TIMESTAMP + 1}`),
  },
  { title: "the commit is at the policy's floor", policy: demanding(`min-timestamp=${TIMESTAMP}`) },
  {
    title: 'the commit is below the floor of another deployment',
    refused: 'commit-below-floor',
    tamper: (stage) => deployedFloor(stage, (commitmeta) => commitmeta),
  },
  {
    title: 'a floor that a stranger has signed is none',
    tamper: (stage) => deployedFloor(stage, (_, commit) => metadataWith([strangers(commit)])),
  },
];

function boundTo(...refs: string[]): (commit: Commit) => Commit {
  return (commit) => ({
    ...commit,
    metadata: new Map(commit.metadata).set(ascii('ostree.ref-binding'), makeVariant('as', refs.map(ascii))),
  });
}

const REFS: readonly Trial[] = [
  { title: "this product's commit, where the policy names the product", policy: demanding(`refs=${OS_REF}`) },
  {
    title: "another product's commit, signed by the same key",
    refused: 'ref-not-allowed',
    policy: demanding(`refs=${OS_REF}`),
    tamper: (stage) => deployInstead(stage, otherCommit(stage, boundTo('os/another-product'))),
  },
];

export const TRUST: readonly Trial[] = [...KEYS, ...SIGNATURES, ...FLOORS, ...REFS];
