/**
 * Whose signatures count on this machine: the key files that the operator names, or else those that the booted
 * initramfs has recorded. Never keys that come with an update: an update does not vouch for itself.
 */

import { existsSync } from 'node:fs';
import { loadPublicKeys } from '../adapters/keys.ts';
import { refused } from '../formats/errors.ts';
import type { PublicKeys } from '../formats/keys.ts';

/** Written by sealroot-prepare-root from the initramfs it runs in. */
export const RECORDED_KEYS = '/run/sealroot/keys';

/** Throws `keys-missing` when no file is named and none is recorded, or when no line of any is a key. */
export function loadTrustedKeys(files: readonly string[], recorded = RECORDED_KEYS): PublicKeys {
  const hint = 'name the public key of the signer with --pubkey FILE';
  if (files.length === 0 && !existsSync(recorded)) {
    throw refused(
      'keys-missing',
      `cannot verify any commit: no --pubkey is given and this boot has recorded no keys in ${recorded}`,
      hint,
    );
  }
  const loaded = (files.length > 0 ? files : [recorded]).map((file) => loadPublicKeys(file));
  const keys = loaded.flatMap((file) => file.keys);
  const warnings = loaded.flatMap((file) => file.warnings);
  if (keys.length === 0) {
    throw refused(
      'keys-missing',
      `cannot verify any commit: no usable key in ${files.join(', ') || recorded}`,
      hint,
    );
  }
  return { keys, warnings };
}
