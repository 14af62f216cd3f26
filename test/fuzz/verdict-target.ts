/**
 * The verdict, with commit, detached metadata or keys changed, and with changed commits that the key has signed, since
 * no other gets past the signature. Verification is OpenSSL's, being most of the time, and every SHARE-th verdict is
 * compared with the product's.
 */

import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { nodeHasher as hasher } from '../../src/adapters/hasher.ts';
import { baseOfBootcCommit } from '../../src/formats/bootc.ts';
import { equalBytes, includesBytes } from '../../src/formats/bytes.ts';
import { ascii, hex, isChecksum } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { makeVariant } from '../../src/formats/gvariant.ts';
import { type PublicKey, parsePublicKeys } from '../../src/formats/keys.ts';
import {
  type Demands,
  decide,
  FLOOR_KEY,
  floorOf,
  type Verdict,
  type VerdictInput,
} from '../../src/formats/verdict.ts';
import {
  bootcCommitOf,
  commit,
  commitmeta,
  renamed,
  signed,
  signedWith,
  UNTAMPERED,
  UNTAMPERED_DIGEST,
  vector,
} from '../formats/mutation-inputs.ts';
import { accepts, requireLaw, type Target } from './target.ts';

const SHARE = 64;

const VERDICT_MODULE = path.join(import.meta.dirname, '../../src/formats/verdict.ts');
const OPENSSL_MODULE = path.join(import.meta.dirname, 'openssl-ed25519.ts');

/** `decide` of verdict.ts with openssl-ed25519.ts for ed25519.ts; all else is what the product has, and not a copy. */
async function decideByOpenssl(): Promise<typeof decide> {
  const { outputFiles } = await build({
    entryPoints: [VERDICT_MODULE],
    bundle: true,
    format: 'esm',
    write: false,
    plugins: [
      {
        name: 'openssl',
        setup: ({ onResolve }) => {
          onResolve({ filter: /^\./ }, ({ path: module, resolveDir }) => {
            const file = module === './ed25519.ts' ? OPENSSL_MODULE : path.join(resolveDir, module);
            return { path: pathToFileURL(file).href, external: true };
          });
        },
      },
    ],
  });
  const text = Buffer.from(outputFiles[0]?.contents ?? []).toString('base64');
  return ((await import(`data:text/javascript;base64,${text}`)) as { decide: typeof decide }).decide;
}

const decideQuickly = await decideByOpenssl();

const TIME = 1700000000n;
const keyFile = vector('key1.pub');
const { keys } = parsePublicKeys(keyFile);
const [key] = keys as [PublicKey];
/** What a commit that is signed has to fulfil besides: the untampered one just does. */
const DEMANDS: Demands = {
  refs: [ascii('test/one')],
  minTimestamp: TIME,
  keyLimits: [{ key: key.bytes, notAfter: TIME }],
  revoked: [],
};

interface Beginning {
  readonly bytes: Uint8Array;
  readonly input: (changed: Uint8Array) => Partial<VerdictInput>;
  /** The changes are signed with the key. */
  readonly isSigned?: true;
}

const beginningSigned = (bytes: Uint8Array): Beginning => ({
  bytes,
  input: (changed) => ({ ...(signed(changed) as Partial<VerdictInput>), demands: DEMANDS }),
  isSigned: true,
});

const BEGINNINGS: readonly Beginning[] = [
  { bytes: commit, input: (changed) => renamed(changed) as Partial<VerdictInput> },
  { bytes: commitmeta, input: (changed) => ({ commitmeta: changed }) },
  { bytes: keyFile, input: (changed) => ({ keys: parsePublicKeys(changed).keys }) },
  beginningSigned(signedWith({ [FLOOR_KEY]: makeVariant('t', TIME) }).commit as Uint8Array),
  beginningSigned(bootcCommitOf(UNTAMPERED.checksum)),
];

/** In words, so that two of them can be compared. */
function outcomeOf(decision: typeof decide, input: VerdictInput): { verdict?: Verdict; text: string } {
  try {
    const verdict = decision(input);
    return { verdict, text: `${hex(verdict.digest)} ${verdict.key.line} ${verdict.warnings.join('\n')}` };
  } catch (error) {
    if (error instanceof SealrootError) return { text: `${error.code} ${error.message}` };
    throw error;
  }
}

export const VERDICT: Target = {
  name: 'verdict',
  corpus: () => BEGINNINGS.map(({ bytes }) => bytes),
  run: (bytes, run, seed) => {
    const { input: inputOf, isSigned } = BEGINNINGS[seed] as Beginning;
    const { checksum } = UNTAMPERED;
    const input: VerdictInput = { commit, checksum, commitmeta, keys, hasher, ...inputOf(bytes) };
    const { verdict, text } = outcomeOf(decideQuickly, input);
    if (run % SHARE === 0) {
      const { text: ours } = outcomeOf(decide, input);
      requireLaw(ours === text, `the verdict is "${ours}", with OpenSSL's Ed25519 "${text}"`);
    }
    const base = baseOfBootcCommit(input.commit, input.checksum, hasher);
    requireLaw(base === undefined || isChecksum(base), 'the base of a commit is no checksum');
    if (verdict === undefined) return false;
    requireLaw(equalBytes(verdict.key.bytes, key.bytes), 'a commit counts as signed by a key that did not');
    if (isSigned) {
      requireLaw(includesBytes(input.commit, verdict.digest), 'the digest is not in the commit');
      requireLaw(verdict.commit.timestamp === TIME, 'a commit of another time than the demanded is accepted');
      accepts(() => floorOf(verdict));
    } else {
      // Whoever may change these, but has no secret key, cannot have another digest.
      requireLaw(hex(verdict.digest) === UNTAMPERED_DIGEST, 'the verdict accepts another digest');
    }
    return true;
  },
};
