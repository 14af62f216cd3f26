import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { generateKeyPair, loadPublicKeys, loadSecretKey, sign } from '../../src/adapters/keys.ts';
import { ed25519Verify } from '../../src/formats/ed25519.ts';
import { base64, hex } from '../../src/formats/encoding.ts';
import { openVariant, type VariantValue } from '../../src/formats/gvariant.ts';
import { encodePublicKey, encodeSecretKey } from '../../src/formats/keys.ts';
import { ED25519_SIGNATURES_KEY, parseCommitMeta } from '../../src/formats/ostree-objects.ts';

const vectors = join(import.meta.dirname, '../vectors/upstream-signed');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealroot-keys-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, content: Uint8Array | string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('generateKeyPair()', () => {
  it('makes a pair that loads again, signs, and verifies', () => {
    const made = generateKeyPair();
    const secret = loadSecretKey(file('k', encodeSecretKey(made)));
    const [key] = loadPublicKeys(file('p', encodePublicKey(made.publicKey), 0o644)).keys;
    expect(hex(secret.seed)).toBe(hex(made.seed));
    expect(hex(key?.bytes ?? new Uint8Array(0))).toBe(hex(made.publicKey));
    const message = new Uint8Array([1, 2, 3]);
    expect(ed25519Verify(made.publicKey, message, sign(secret, message), nodeHasher)).toBe(true);
    expect(hex(generateKeyPair().seed)).not.toBe(hex(made.seed));
  });
});

describe('sign()', () => {
  it('gives the bytes that upstream ostree wrote for the same commit and key', () => {
    const secret = loadSecretKey(join(vectors, 'key1.test-secret'));
    const metadata = parseCommitMeta(new Uint8Array(readFileSync(join(vectors, 'one.commitmeta'))));
    const entry = metadata.get(ED25519_SIGNATURES_KEY) as VariantValue;
    const [signature] = openVariant(entry, 'aay', 'signatures');
    const commit = new Uint8Array(readFileSync(join(vectors, 'one.commit')));
    expect(hex(sign(secret, commit))).toBe(hex(signature as Uint8Array));
  });
});

describe('loadSecretKey()', () => {
  it('refuses halves that do not belong together', () => {
    const mixed = { seed: generateKeyPair().seed, publicKey: generateKeyPair().publicKey };
    const path = file('k', encodeSecretKey(mixed));
    expect(() => loadSecretKey(path)).toThrow(
      expect.objectContaining({
        code: 'secret-key-malformed',
        message: `cannot use secret key ${path}: its public half does not belong to its seed`,
      }),
    );
  });

  it('warns of a file that others may read, and only then', () => {
    const content = encodeSecretKey(generateKeyPair());
    expect(loadSecretKey(file('a', content, 0o600)).warnings).toEqual([]);
    expect(loadSecretKey(file('b', content, 0o400)).warnings).toEqual([]);
    for (const mode of [0o640, 0o604, 0o666]) {
      expect(loadSecretKey(file('c', content, mode)).warnings).toHaveLength(1);
    }
  });

  it('names the file, and never shows what is in it', () => {
    const text = base64(generateKeyPair().seed);
    for (const content of ['', text, `${text}!`, `${text}\n${text}\n`]) {
      const path = file('k', content);
      let message = '';
      try {
        loadSecretKey(path);
      } catch (error) {
        message = (error as Error).message;
        expect(error).toMatchObject({ code: 'secret-key-malformed' });
      }
      expect(message).toContain(path);
      expect(message).not.toContain(text.slice(0, 6));
    }
  });

  it('refuses what is missing, too large or no regular file', () => {
    const codeOf = (path: string) => {
      try {
        loadSecretKey(path);
        return 'loaded';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(codeOf(join(folder, 'absent'))).toBe('file-missing');
    expect(codeOf(folder)).toBe('not-a-regular-file');
    expect(codeOf(file('big', new Uint8Array(64 * 1024 + 1)))).toBe('file-too-large');
  });
});
