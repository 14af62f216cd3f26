/**
 * Ed25519 three times over the same signatures: src/formats under Node.js, the same under the runtime of the initramfs,
 * and OpenSSL. Needs musl-gcc.
 */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildForInitramfs } from '../../initrd/build.ts';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { concatBytes } from '../../src/formats/bytes.ts';
import { ed25519Verify } from '../../src/formats/ed25519.ts';
import { edgeCases, randomCases, type SignatureCase } from '../formats/ed25519-cases.ts';
import { isSmallOrNonCanonical, opensslVerify, smallOrderEncodings } from '../formats/ed25519-oracle.ts';

const RANDOM_CASES = 10_000;
const SEED = Number(process.env.SEALROOT_SEED ?? 20261122);

interface Judged extends SignatureCase {
  readonly ours: boolean;
  readonly openssl: boolean;
}

let program = '';

beforeAll(async () => {
  program = await buildForInitramfs('test/formats/ed25519-program.ts', 'ed25519');
});

/** What `ed25519-program.ts` reads. */
function encodeCases(cases: readonly SignatureCase[]): Uint8Array {
  return concatBytes(
    cases.flatMap(({ publicKey, message, signature }) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(message.length);
      return [length, publicKey, signature, message];
    }),
  );
}

async function judgedByQuickJs(cases: readonly SignatureCase[]): Promise<string> {
  const running = promisify(execFile)(program, { timeout: 240_000, maxBuffer: 1 << 20 });
  running.child.stdin?.end(encodeCases(cases));
  return (await running).stdout;
}

/** Those that are judged otherwise by Node.js and by the initramfs; by name, for a person. */
function disagreements(judged: readonly Judged[], quickjs: string): string[] {
  expect(quickjs).toHaveLength(judged.length);
  return judged.filter(({ ours }, i) => (quickjs[i] === '1') !== ours).map(({ name }) => name);
}

async function compare(cases: readonly SignatureCase[]): Promise<Judged[]> {
  const quickjs = judgedByQuickJs(cases);
  const judged = cases.map((one) => {
    const { publicKey, message, signature } = one;
    const ours = ed25519Verify(publicKey, message, signature, nodeHasher);
    return { ...one, ours, openssl: opensslVerify(publicKey, message, signature) };
  });
  expect(disagreements(judged, await quickjs)).toEqual([]);
  expect(judged.filter(({ ours, openssl }) => ours && !openssl)).toEqual([]);
  const refusedAlone = judged.filter(({ ours, openssl }) => openssl && !ours);
  expect(refusedAlone.filter(({ publicKey }) => !isSmallOrNonCanonical(publicKey))).toEqual([]);
  return judged;
}

describe('ed25519Verify() under Node.js and under QuickJS, and OpenSSL', () => {
  it(`judge ${RANDOM_CASES} random signatures alike`, async () => {
    const judged = await compare([...randomCases(RANDOM_CASES, SEED)]);
    const accepted = judged.filter(({ ours }) => ours).length;
    // A thirteenth is untouched, and of the torsioned ones some hold.
    expect(accepted).toBeGreaterThan(RANDOM_CASES / 13);
    expect(accepted).toBeLessThan(RANDOM_CASES / 6);
  });

  it('differ at the edges of the curve in keys of small order or non-canonical spelling only', async () => {
    expect(smallOrderEncodings).toHaveLength(14);
    const judged = await compare([...edgeCases()]);
    expect(judged.filter(({ ours }) => ours).length).toBeGreaterThan(20);
    expect(judged.filter(({ ours, openssl }) => openssl && !ours).length).toBeGreaterThan(100);
  });
});
