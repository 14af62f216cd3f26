/**
 * Commits that bootc makes of container images. Each is made on the device, so nobody signed it; the commit that the
 * container was made from is its parent, and may be signed (ostree's otcore-prepare-root.c and bootc's commit metadata).
 */

import { ascii, hex } from './encoding.ts';
import { SealrootError } from './errors.ts';
import { openVariant } from './gvariant.ts';
import type { Hasher } from './hasher.ts';
import { parseCommit } from './ostree-objects.ts';

/** In the metadata of every commit that was made of a container. */
const IMAGE_CONFIG_KEY = ascii('ostree.container.image-config');

/**
 * The checksum of the commit to be judged in the place of one that has no detached metadata; undefined when there is
 * none. Nobody vouches for what is read here: it does no more than choose among signed commits, as `ostree=` does.
 */
export function baseOfBootcCommit(bytes: Uint8Array, checksum: string, hasher: Hasher): string | undefined {
  if (hex(hasher.sha256(bytes)) !== checksum) return undefined;
  try {
    const { metadata, parent } = parseCommit(bytes);
    const config = metadata.get(IMAGE_CONFIG_KEY);
    if (config === undefined) return undefined;
    openVariant(config, 's', IMAGE_CONFIG_KEY);
    return parent;
  } catch (error) {
    if (error instanceof SealrootError) return undefined;
    throw error;
  }
}
