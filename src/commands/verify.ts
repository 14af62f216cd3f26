/** `sealroot verify`: the boot's verdict on this machine, and the image computed from the objects and compared. */

import { nodeHasher } from '../adapters/hasher.ts';
import { buildImage } from '../adapters/image.ts';
import { loadPublicKeys } from '../adapters/keys.ts';
import { openObjectStore } from '../adapters/object-store.ts';
import { resolveRevision } from '../adapters/ostree-repo.ts';
import { imageProgress, type Progress } from '../adapters/progress.ts';
import { base64, hex } from '../formats/encoding.ts';
import { requireSameDigest } from '../formats/sealing.ts';
import { decide } from '../formats/verdict.ts';

export interface VerifyOptions {
  repo: string;
  rev: string;
  /** Files of public keys. */
  pubkeys: readonly string[];
  progress?: Progress;
}

export interface VerifyResult {
  commit: string;
  /** fs-verity digest of the image, hex: signed, and equal to that of the image computed from the objects. */
  digest: string;
  /** The key that made the signature: base64, and where it stands. */
  key: { publicKey: string; file: string; line: number };
  warnings: string[];
}

interface PlacedKey {
  bytes: Uint8Array;
  file: string;
  /** In its file. */
  line: number;
  /** In all files, one after the other: what the verdict calls the line. */
  place: number;
}

/** Throws what the verdict throws, and `digest-mismatch`. */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  const { placed, warnings } = loadKeys(options.pubkeys);
  const keys = placed.map(({ bytes, place }) => ({ bytes, line: place }));
  const store = openObjectStore(options.repo);
  const checksum = await resolveRevision(options.repo, options.rev);
  const commit = store.commit(checksum);
  const verdict = decide({
    commit,
    checksum,
    commitmeta: store.commitMeta(checksum),
    keys,
    hasher: nodeHasher,
  });
  const { digest } = buildImage(store, checksum, { onProgress: imageProgress(options.progress) });
  options.progress?.finish();
  requireSameDigest(`commit ${checksum}`, verdict.digest, digest, 'verify');
  const key = placed.find(({ place }) => place === verdict.keyLine) as PlacedKey;
  return {
    commit: checksum,
    digest: hex(verdict.digest),
    key: { publicKey: base64(key.bytes), file: key.file, line: key.line },
    warnings: [...warnings, ...verdict.warnings],
  };
}

function loadKeys(files: readonly string[]): { placed: PlacedKey[]; warnings: string[] } {
  const placed: PlacedKey[] = [];
  const warnings: string[] = [];
  let before = 0;
  for (const file of files) {
    const loaded = loadPublicKeys(file);
    warnings.push(...loaded.warnings.map((warning) => `${file}: ${warning}`));
    for (const { bytes, line } of loaded.keys) placed.push({ bytes, file, line, place: before + line });
    before = placed.at(-1)?.place ?? before;
  }
  return { placed, warnings };
}
