/**
 * Keys on the host: made, loaded and used for signing with node:crypto (OpenSSL). File formats stand in
 * formats/keys.ts; a secret never leaves this file but as a `SecretKey` in memory, and no message shows any of it.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
} from 'node:crypto';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { concatBytes, equalBytes } from '../formats/bytes.ts';
import { badInput, SealrootError } from '../formats/errors.ts';
import { type PublicKeys, parsePublicKeys, parseSecretKey, type SecretKey } from '../formats/keys.ts';
import { fileError, readBounded, readDescriptor } from './files.ts';

/** As in the initramfs: thousands of keys. */
export const MAX_KEY_FILE_BYTES = 64 * 1024;
/** Of a DER key the last 32 bytes are the key (RFC 8410, section 7). */
const KEY_BYTES = 32;
/** PKCS #8 of an ed25519 seed up to the seed: RFC 8410, section 7. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface LoadedSecretKey extends SecretKey {
  /** What the operator should know about the file. */
  readonly warnings: readonly string[];
}

export function generateKeyPair(): SecretKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    seed: lastBytes(privateKey.export({ format: 'der', type: 'pkcs8' })),
    publicKey: rawPublicKey(publicKey),
  };
}

/**
 * A secret key file. Throws `secret-key-malformed` unless it holds one key whose public half belongs to its seed: with
 * a foreign half we would sign for a key that nobody trusts. A file that others may read is a warning, as keys that
 * upstream's tools made often are.
 */
export function loadSecretKey(path: string): LoadedSecretKey {
  const { bytes, mode } = readWithMode(path);
  const secret = parseNamed(bytes, path);
  if (!equalBytes(rawPublicKey(createPublicKey(privateKeyOf(secret))), secret.publicKey)) {
    throw badInput(
      'secret-key-malformed',
      `cannot use secret key ${path}: its public half does not belong to its seed`,
      'make a new pair with sealroot keygen',
    );
  }
  const open = (mode & 0o077) !== 0;
  const permissions = (mode & 0o777).toString(8).padStart(4, '0');
  return {
    ...secret,
    warnings: open ? [`secret key ${path} is open to other users: mode ${permissions}, expected 0600`] : [],
  };
}

/** A public key file: its keys, and a warning for each line that is none. No key at all is for the caller to judge. */
export function loadPublicKeys(path: string): PublicKeys {
  return parsePublicKeys(readBounded(path, MAX_KEY_FILE_BYTES));
}

/** The 64 bytes of the ed25519 signature; the same bytes for the same key and message, always. */
export function sign(secret: SecretKey, message: Uint8Array): Uint8Array {
  return new Uint8Array(signBytes(null, message, privateKeyOf(secret)));
}

function readWithMode(path: string): { bytes: Uint8Array; mode: number } {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw fileError('read secret key', path, error);
  }
  try {
    return { bytes: readDescriptor(fd, path, MAX_KEY_FILE_BYTES), mode: fstatSync(fd).mode };
  } finally {
    closeSync(fd);
  }
}

function parseNamed(bytes: Uint8Array, path: string): SecretKey {
  try {
    return parseSecretKey(bytes);
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    throw badInput(
      'secret-key-malformed',
      `${error.message} (${path})`,
      'give a file that sealroot keygen wrote',
    );
  }
}

function privateKeyOf({ seed }: SecretKey): KeyObject {
  const der = Buffer.from(concatBytes([PKCS8_PREFIX, seed]));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return lastBytes(key.export({ format: 'der', type: 'spki' }));
}

function lastBytes(der: Buffer): Uint8Array {
  return new Uint8Array(der.subarray(der.length - KEY_BYTES));
}
