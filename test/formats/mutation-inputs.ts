/**
 * One boot that is accepted, as the inputs that the decision depends on, and the means to change them: the parts
 * from which the rows of verdict-mutations.ts are made. Malformed things are signed with the test key where a row
 * shows what is asked beyond the signature.
 */

import { createHash, createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { concatBytes } from '../../src/formats/bytes.ts';
import { ascii, type ByteString, parseBase64, parseHex, utf8 } from '../../src/formats/encoding.ts';
import { encode, makeVariant, type VariantValue } from '../../src/formats/gvariant.ts';
import {
  COMPOSEFS_DIGEST_KEY,
  ED25519_SIGNATURES_KEY,
  encodeCommit,
  parseCommit,
} from '../../src/formats/ostree-objects.ts';

/** Everything that the decision depends on. */
export interface BootInputs {
  /** The policy, prepare-root.conf. */
  readonly conf: Uint8Array | null;
  /** The file that `composefs.keypath` names. */
  readonly keys: Uint8Array | null;
  /** The file beside it. */
  readonly revoked: Uint8Array | null;
  readonly commit: Uint8Array | null;
  readonly commitmeta: Uint8Array | null;
  readonly checksum: string;
  readonly cmdline: string;
}

export interface Mutation extends Partial<BootInputs> {
  readonly name: string;
  /** undefined: still accepted, with the digest of the untampered boot. */
  readonly expectedCode: string | undefined;
  /** How many warnings an accepted row gives. */
  readonly warnings?: number;
  /** The row is about reading files or the command line, which only the program does. */
  readonly program?: true;
}

const vectors = join(import.meta.dirname, '../vectors/upstream-signed');

export function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(vectors, name)));
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export const commit = vector('one.commit');
export const commitmeta = vector('one.commitmeta');
const key1 = vector('key1.pub');
export const key2 = vector('key2.pub');
export const conf = utf8('[composefs]\nenabled = signed\n\n[sysroot]\nreadonly = true\n');
export const OSTREE_ARGUMENT = 'ostree=/ostree/boot.1/os/0/0';

/** Signed by upstream ostree; nothing in it is ours. */
export const UNTAMPERED: BootInputs = {
  conf,
  keys: key1,
  revoked: null,
  commit,
  commitmeta,
  checksum: '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb',
  cmdline: `root=LABEL=root rw ${OSTREE_ARGUMENT} quiet\n`,
};

export const UNTAMPERED_DIGEST = 'e2b8c0916e4be4b0911b3bb636bef716e87be784a32f254a89a1ea4853c71410';

export function applyMutation(mutation: Partial<BootInputs>): BootInputs {
  return {
    conf: mutation.conf === undefined ? UNTAMPERED.conf : mutation.conf,
    keys: mutation.keys === undefined ? UNTAMPERED.keys : mutation.keys,
    revoked: mutation.revoked ?? UNTAMPERED.revoked,
    commit: mutation.commit === undefined ? UNTAMPERED.commit : mutation.commit,
    commitmeta: mutation.commitmeta === undefined ? UNTAMPERED.commitmeta : mutation.commitmeta,
    checksum: mutation.checksum ?? UNTAMPERED.checksum,
    cmdline: mutation.cmdline ?? UNTAMPERED.cmdline,
  };
}

// --- making signed and malformed things ---

export const secret = parseBase64(
  readFileSync(join(vectors, 'key1.test-secret'), 'latin1').trim(),
  'test key',
);
const privateKey = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), secret.subarray(0, 32)]),
  format: 'der',
  type: 'pkcs8',
});

export function signatureOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, bytes, privateKey));
}

export function metadataWith(signatures: readonly Uint8Array[]): Uint8Array {
  return metadataOf(makeVariant('aay', signatures));
}

export function metadataOf(value: VariantValue, key: ByteString = ED25519_SIGNATURES_KEY): Uint8Array {
  return encode('a{sv}', new Map([[key, value]]));
}

/** Any bytes as a commit that the trusted key has signed: shows what the verdict asks beyond the signature. */
export function signed(bytes: Uint8Array): Pick<BootInputs, 'commit' | 'commitmeta' | 'checksum'> {
  return { commit: bytes, commitmeta: metadataWith([signatureOf(bytes)]), checksum: sha256(bytes) };
}

/** The commit with this value in the place of its digest; undefined drops the key. */
export function commitWithDigest(value: VariantValue | undefined): Uint8Array {
  const parsed = parseCommit(commit);
  const metadata = new Map(parsed.metadata);
  if (value === undefined) metadata.delete(COMPOSEFS_DIGEST_KEY);
  else metadata.set(COMPOSEFS_DIGEST_KEY, value);
  return encodeCommit({ ...parsed, metadata });
}

/** The commit with other values in its metadata, and of another time, signed. */
export function signedWith(
  entries: Readonly<Record<string, VariantValue | undefined>>,
  timestamp?: bigint,
): Pick<BootInputs, 'commit' | 'commitmeta' | 'checksum'> {
  const parsed = parseCommit(commit);
  const metadata = new Map(parsed.metadata);
  for (const [key, value] of Object.entries(entries)) {
    if (value === undefined) metadata.delete(ascii(key));
    else metadata.set(ascii(key), value);
  }
  return signed(encodeCommit({ ...parsed, metadata, timestamp: timestamp ?? parsed.timestamp }));
}

/** What bootc makes on a device of a container whose commit is `base`. */
export function bootcCommitOf(base: string | undefined, configType: 's' | 'ay' = 's'): Uint8Array {
  const { parent: _, ...parsed } = parseCommit(commit);
  const config = configType === 's' ? makeVariant('s', ascii('{}')) : makeVariant('ay', utf8('{}'));
  const metadata = new Map([[ascii('ostree.container.image-config'), config]]);
  return encodeCommit({ ...parsed, metadata, ...(base !== undefined && { parent: base }) });
}

/** A commit whose bytes and name changed together, under the signature of the original. */
export function renamed(bytes: Uint8Array): Pick<BootInputs, 'commit' | 'checksum'> {
  return { commit: bytes, checksum: sha256(bytes) };
}

export function flip(bytes: Uint8Array, offset: number, mask = 1): Uint8Array {
  const out = bytes.slice();
  const at = offset < 0 ? out.length + offset : offset;
  out[at] = (out[at] ?? 0) ^ mask;
  return out;
}

export function appended(bytes: Uint8Array, ...more: number[]): Uint8Array {
  return concatBytes([bytes, new Uint8Array(more)]);
}

/** s + L: the same signature again for a verifier that does not bound s. */
export function withOrderAdded(signature: Uint8Array): Uint8Array {
  const order = 0x1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3edn;
  let s = order;
  for (let i = 0; i < 32; i++) s += BigInt(signature[32 + i] ?? 0) << BigInt(8 * i);
  const out = signature.slice();
  for (let i = 0; i < 32; i++) out[32 + i] = Number((s >> BigInt(8 * i)) & 0xffn);
  return out;
}

export const good = signatureOf(commit);
export const twice = (value: VariantValue) =>
  encode('a{sv}', [
    [ED25519_SIGNATURES_KEY, value],
    [ED25519_SIGNATURES_KEY, value],
  ] as never);
export const text = (value: string) => utf8(value);
export const key1Line = readFileSync(join(vectors, 'key1.pub'), 'latin1').trim();
export const key2Line = readFileSync(join(vectors, 'key2.pub'), 'latin1').trim();
/** The identity as a public key: OpenSSL lets (R = identity, s = 0) pass as its signature of any message. */
export const identity = parseHex(`01${'00'.repeat(31)}`, 'identity');
export const anythingSignature = concatBytes([identity, new Uint8Array(32)]);
export const OVERSIZED = 16 * 1024 * 1024 + 1;
