/** `sealroot verify`: the boot's verdict on this machine, and the image computed from the objects and compared. */

import { buildImage } from '../adapters/image.ts';
import { openObjectStore } from '../adapters/object-store.ts';
import { resolveRevision } from '../adapters/ostree-repo.ts';
import { type Progress, readingProgress } from '../adapters/progress.ts';
import { hex } from '../formats/encoding.ts';
import { requireSameDigest } from '../formats/sealing.ts';
import { explained } from './image-mismatch.ts';
import { judge } from './seal-deployment.ts';
import { type KeyPlace, loadTrustedKeys } from './trusted-keys.ts';

export interface VerifyOptions {
  repo: string;
  rev: string;
  /** Files of public keys. */
  pubkeys: readonly string[];
  /** A prepare-root.conf whose demands on the commit hold, too. */
  policy?: string | undefined;
  /** An image with the signed digest, to say what differs when the computed one has another. */
  image?: string | undefined;
  progress?: Progress;
}

export interface VerifyResult {
  commit: string;
  /** fs-verity digest of the image, hex: signed, and equal to that of the image computed from the objects. */
  digest: string;
  /** The key that made the signature. */
  key: KeyPlace;
  warnings: string[];
}

/** Throws what the verdict throws, and `digest-mismatch`. */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  const trusted = loadTrustedKeys(options.pubkeys, { policy: options.policy });
  const store = openObjectStore(options.repo);
  const checksum = await resolveRevision(options.repo, options.rev);
  const verdict = judge(store, checksum, trusted);
  const { image, digest } = buildImage(store, checksum, {
    onProgress: readingProgress(options.progress, 'objects'),
  });
  options.progress?.finish();
  const mismatch = {
    repo: options.repo,
    checksum,
    computed: image,
    expected: verdict.digest,
    image: options.image,
  };
  explained(mismatch, () => requireSameDigest(`commit ${checksum}`, verdict.digest, digest, 'verify'));
  return {
    commit: checksum,
    digest: hex(verdict.digest),
    key: trusted.placeOf(verdict.key.line),
    warnings: [...trusted.warnings, ...verdict.warnings],
  };
}
