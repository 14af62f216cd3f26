/** Commits made of the base disk's by changing something in them, signed by the key that the initramfs trusts. */
import { createHash } from 'node:crypto';
import { nodeHasher } from '../src/adapters/hasher.ts';
import { loadSecretKey, sign } from '../src/adapters/keys.ts';
import { verityDigest } from '../src/formats/fsverity.ts';
import { makeVariant } from '../src/formats/gvariant.ts';
import {
  type Commit,
  ED25519_SIGNATURES_KEY,
  encodeCommit,
  encodeCommitMeta,
  parseCommit,
} from '../src/formats/ostree-objects.ts';
import { withSeal } from '../src/formats/sealing.ts';
import { objectPath, type RefusalCase } from './refusal.ts';

export interface OtherCommit {
  readonly checksum: string;
  readonly commit: Uint8Array;
  readonly commitmeta: Uint8Array;
}

/** Detached metadata with these entries for signatures. */
export function metadataWith(signatures: readonly Uint8Array[]): Uint8Array {
  return encodeCommitMeta(new Map([[ED25519_SIGNATURES_KEY, makeVariant('aay', signatures)]]));
}

/** Its good signature, made anew. */
export function signatureOf({ base }: RefusalCase, commit: Uint8Array): Uint8Array {
  return sign(loadSecretKey(base.keys.secretKey), commit);
}

export function otherCommit(stage: RefusalCase, change: (commit: Commit) => Commit): OtherCommit {
  const commit = encodeCommit(change(parseCommit(stage.disk.read(stage.commitPath))));
  const checksum = createHash('sha256').update(commit).digest('hex');
  return { checksum, commit, commitmeta: metadataWith([signatureOf(stage, commit)]) };
}

/** The commit that names this image. */
export function commitOfImage(stage: RefusalCase, image: Uint8Array): OtherCommit {
  return otherCommit(stage, (commit) => withSeal(commit, verityDigest(image, nodeHasher)));
}

/** The objects only. */
export function addCommit({ disk }: RefusalCase, { checksum, commit, commitmeta }: OtherCommit): void {
  disk.makeDirectory(`/ostree/repo/objects/${checksum.slice(0, 2)}`);
  disk.replace(objectPath(checksum, 'commit'), commit, { verity: false });
  disk.replace(objectPath(checksum, 'commitmeta'), commitmeta, { verity: false });
}

/** The disk's deployment becomes one of the other commit, with this image if it is another. */
export function deployInstead(stage: RefusalCase, other: OtherCommit, image?: Uint8Array): void {
  addCommit(stage, other);
  stage.renameDeployment(other.checksum);
  if (image !== undefined) {
    stage.disk.replace(`${stage.deploymentOf(other.checksum)}/.ostree.cfs`, image, { verity: true });
  }
}
