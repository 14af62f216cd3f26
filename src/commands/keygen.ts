/** `sealroot keygen`: a new ed25519 key pair in libostree's format. */

import { lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileError, writeAtomically } from '../adapters/files.ts';
import { generateKeyPair } from '../adapters/keys.ts';
import { base64 } from '../formats/encoding.ts';
import { refused } from '../formats/errors.ts';
import { encodePublicKey, encodeSecretKey } from '../formats/keys.ts';

export interface KeygenResult {
  secretKey: string;
  publicKey: string;
  /** Base64 of the public key. */
  key: string;
}

/** Both files appear or none; neither is ever overwritten. The secret is never readable by others, not for a moment. */
export async function keygen(options: { out: string }): Promise<KeygenResult> {
  const secretKey = join(options.out, 'sealroot.key');
  const publicKey = join(options.out, 'sealroot.pub');
  try {
    mkdirSync(options.out, { mode: 0o700, recursive: true });
  } catch (error) {
    throw fileError('make folder', options.out, error);
  }
  for (const path of [secretKey, publicKey]) {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) continue;
    throw refused(
      'file-exists',
      `cannot write ${path}: it exists`,
      'keys are never overwritten; choose another folder, or remove the old pair',
    );
  }
  const secret = generateKeyPair();
  await writeAtomically(secretKey, encodeSecretKey(secret), 0o600, { exclusive: true });
  try {
    await writeAtomically(publicKey, encodePublicKey(secret.publicKey), 0o644, { exclusive: true });
  } catch (error) {
    unlinkSync(secretKey);
    throw error;
  }
  return { secretKey, publicKey, key: base64(secret.publicKey) };
}
