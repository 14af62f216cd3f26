/**
 * Whose signatures count on this machine: the key files that the operator names, or else those that the booted
 * initramfs has recorded. Never keys that come with an update: an update does not vouch for itself.
 */

import { existsSync } from 'node:fs';
import { loadPublicKeys } from '../adapters/keys.ts';
import { base64 } from '../formats/encoding.ts';
import { refused } from '../formats/errors.ts';
import type { PublicKey } from '../formats/keys.ts';

/** Written by sealroot-prepare-root from the initramfs it runs in. */
export const RECORDED_KEYS = '/run/sealroot/keys';

/** A key, and where it stands. */
export interface KeyPlace {
  /** base64 */
  publicKey: string;
  file: string;
  line: number;
}

export interface TrustedKeys {
  /** For the verdict. Their `line` counts through all files: `placeOf` translates it back. */
  keys: PublicKey[];
  warnings: string[];
  placeOf(keyLine: number): KeyPlace;
}

/** Throws `keys-missing` when no file is named and none is recorded, or when no line of any is a key. */
export function loadTrustedKeys(files: readonly string[], recorded = RECORDED_KEYS): TrustedKeys {
  const hint = 'name the public key of the signer with --pubkey FILE';
  if (files.length === 0 && !existsSync(recorded)) {
    throw refused(
      'keys-missing',
      `cannot verify any commit: no public key is named, and this boot has recorded none in ${recorded}`,
      hint,
    );
  }
  const sources = files.length > 0 ? files : [recorded];
  const places: KeyPlace[] = [];
  const keys: PublicKey[] = [];
  const warnings: string[] = [];
  for (const file of sources) {
    const loaded = loadPublicKeys(file);
    warnings.push(...loaded.warnings.map((warning) => `${file}: ${warning}`));
    for (const { bytes, line } of loaded.keys) {
      places.push({ publicKey: base64(bytes), file, line });
      keys.push({ bytes, line: places.length });
    }
  }
  if (keys.length === 0) {
    throw refused('keys-missing', `cannot verify any commit: no usable key in ${sources.join(', ')}`, hint);
  }
  return { keys, warnings, placeOf: (keyLine) => places[keyLine - 1] as KeyPlace };
}
