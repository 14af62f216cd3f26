import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { base64, hex, toByteString, utf8 } from '../../src/formats/encoding.ts';
import { encodePublicKey, encodeSecretKey, parsePublicKeys, parseSecretKey } from '../../src/formats/keys.ts';

const vectors = join(import.meta.dirname, '../vectors/upstream-signed');
const key1 = readFileSync(join(vectors, 'key1.pub'), 'latin1').trim();
const key2 = readFileSync(join(vectors, 'key2.pub'), 'latin1').trim();

function lines(text: string): number[] {
  return parsePublicKeys(utf8(text)).keys.map((key) => key.line);
}

describe('parsePublicKeys()', () => {
  it('reads one key a line, with and without a last newline, and skips blank lines', () => {
    expect(lines(`${key1}\n${key2}\n`)).toEqual([1, 2]);
    expect(lines(`${key1}\n${key2}`)).toEqual([1, 2]);
    expect(lines(`\n\n${key1}\n  \n${key2}\n\n`)).toEqual([3, 5]);
    expect(parsePublicKeys(utf8('\n \r\n')).warnings).toEqual([]);
  });

  it('strips a carriage return and blanks around a key', () => {
    const { keys, warnings } = parsePublicKeys(utf8(`${key1}\r\n \t${key2} \r\n`));
    expect(keys.map((key) => base64(key.bytes))).toEqual([key1, key2]);
    expect(warnings).toEqual([]);
  });

  const malformed: [string, string][] = [
    ['a comment', '# release key'],
    ['31 bytes', base64(new Uint8Array(31))],
    ['33 bytes', base64(new Uint8Array(33))],
    ['no padding', key1.replaceAll('=', '')],
    ['the URL alphabet', base64(new Uint8Array(32).fill(0xff)).replaceAll('/', '_')],
    ['unused bits set', `${base64(new Uint8Array(32)).slice(0, -2)}B=`],
    ['two keys in a line', `${key1} ${key2}`],
  ];
  for (const [name, line] of malformed) {
    it(`skips ${name} with a warning, and the good key after it stays`, () => {
      const { keys, warnings } = parsePublicKeys(utf8(`${line}\n${key1}\n`));
      expect(keys.map((key) => [base64(key.bytes), key.line])).toEqual([[key1, 2]]);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain('line 1');
    });
  }

  it('never repeats what stands in the file, which may be a secret key', () => {
    const secret = readFileSync(join(vectors, 'key1.test-secret'), 'latin1').trim();
    for (const text of [secret, `${secret}!`, secret.slice(0, -1)]) {
      const { keys, warnings } = parsePublicKeys(utf8(text));
      expect(keys).toEqual([]);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).not.toContain(secret.slice(0, 6));
    }
  });
});

describe('parseSecretKey()', () => {
  const bytes = new Uint8Array(readFileSync(join(vectors, 'key1.test-secret')));

  it('reads seed and public key', () => {
    const secret = parseSecretKey(bytes);
    expect(secret.seed).toHaveLength(32);
    expect(base64(secret.publicKey)).toBe(key1);
  });

  it('reads back what encodeSecretKey() and encodePublicKey() wrote', () => {
    const secret = parseSecretKey(bytes);
    expect(hex(parseSecretKey(encodeSecretKey(secret)).seed)).toBe(hex(secret.seed));
    expect(toByteString(encodePublicKey(secret.publicKey))).toBe(`${key1}\n`);
  });

  const bad: [string, string, string][] = [
    ['an empty file', '', 'secret-key-malformed'],
    ['a public key', key1, 'secret-key-malformed'],
    ['two keys', `${toByteString(bytes)}\n${toByteString(bytes)}`, 'secret-key-malformed'],
    ['text', '-----BEGIN PRIVATE KEY-----', 'base64-malformed'],
  ];
  for (const [name, text, code] of bad) {
    it(`refuses ${name}`, () => {
      expect(() => parseSecretKey(utf8(text))).toThrow(expect.objectContaining({ code }));
    });
  }
});
