/**
 * Key files in libostree's format. A public key file has one base64 key (32 bytes) a line; a secret key file is one
 * base64 line of seed || public key (64 bytes). Blank lines are skipped; white space at the ends of a line, a
 * carriage return above all, is no part of a key. There are no comments, as in libostree.
 *
 * A malformed line of a public key file never hides a good one: it is reported and skipped. No message repeats what
 * stands in a file, because somebody may have named the secret one.
 */

import { ED25519_KEY_BYTES } from './ed25519.ts';
import { base64, parseBase64, toByteString, utf8 } from './encoding.ts';
import { badInput, refused, SealrootError } from './errors.ts';

export interface PublicKey {
  readonly bytes: Uint8Array;
  /** Where it stands in its file, from 1. */
  readonly line: number;
}

export interface PublicKeys {
  readonly keys: PublicKey[];
  /** One for each line that was skipped. */
  readonly warnings: string[];
}

export interface SecretKey {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
}

const SECRET_KEY_BYTES = 64;

/** Never throws; no key at all is for the caller to judge. */
export function parsePublicKeys(bytes: Uint8Array): PublicKeys {
  const keys: PublicKey[] = [];
  const warnings: string[] = [];
  for (const { text, line } of keyLines(bytes)) {
    const what = `public key in line ${line}`;
    try {
      const key = parseBase64(text, what);
      if (key.length === ED25519_KEY_BYTES) keys.push({ bytes: key, line });
      else warnings.push(`cannot use ${what}: ${key.length} bytes, expected ${ED25519_KEY_BYTES}`);
    } catch (error) {
      if (!(error instanceof SealrootError)) throw error;
      warnings.push(error.message);
    }
  }
  return { keys, warnings };
}

/**
 * The keys that count no more. Here a line that is no key is an error, `revoked-malformed`: a misspelt revocation
 * must not vanish.
 */
export function parseRevokedKeys(bytes: Uint8Array, what: string): PublicKey[] {
  const { keys, warnings } = parsePublicKeys(bytes);
  const [fault] = warnings;
  if (fault !== undefined) throw refused('revoked-malformed', `${fault}, in ${what}`);
  return keys;
}

/** Exactly one key. That its two halves belong together is for the one who can derive a public key to check. */
export function parseSecretKey(bytes: Uint8Array): SecretKey {
  const lines = keyLines(bytes);
  const only = lines[0];
  if (only === undefined || lines.length !== 1) {
    throw badInput(
      'secret-key-malformed',
      `cannot read secret key: ${lines.length} lines with content, expected 1`,
    );
  }
  const key = parseBase64(only.text, 'secret key');
  if (key.length !== SECRET_KEY_BYTES) {
    throw badInput(
      'secret-key-malformed',
      `cannot read secret key: ${key.length} bytes, expected ${SECRET_KEY_BYTES} (seed and public key)`,
    );
  }
  return { seed: key.subarray(0, ED25519_KEY_BYTES), publicKey: key.subarray(ED25519_KEY_BYTES) };
}

/** The line of a public key file, with its newline. */
export function encodePublicKey(publicKey: Uint8Array): Uint8Array {
  return utf8(`${base64(publicKey)}\n`);
}

/** A secret key file. */
export function encodeSecretKey(secret: SecretKey): Uint8Array {
  const both = new Uint8Array(SECRET_KEY_BYTES);
  both.set(secret.seed, 0);
  both.set(secret.publicKey, ED25519_KEY_BYTES);
  return utf8(`${base64(both)}\n`);
}

function keyLines(bytes: Uint8Array): { text: string; line: number }[] {
  const found: { text: string; line: number }[] = [];
  const lines = toByteString(bytes).split('\n');
  for (let i = 0; i < lines.length; i++) {
    const text = trim(lines[i] ?? '');
    if (text !== '') found.push({ text, line: i + 1 });
  }
  return found;
}

/** ASCII white space only; String.trim would also take bytes such as 0xa0 for space. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0d;
}
