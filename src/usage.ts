/** The prose of the manual pages. */

import type { ManualPage } from './manual.ts';

export const ROOT_PAGE: ManualPage = {
  summary: 'seal OSTree systems with composefs',
  description: [
    'sealroot turns an OSTree commit into a reproducible composefs image, puts the fs-verity digest of the image into the commit and signs the commit. At boot, sealroot-prepare-root verifies the signature and mounts exactly that image.',
    'Every command has its own page: sealroot COMMAND --help.',
    'sealroot mkcomposefs, sealroot composefs-info and sealroot mount.composefs are the tools of composefs of these names, with their options, output and exit status. A link to sealroot of that name is that tool.',
  ],
  examples: [
    'sealroot keygen --out keys',
    'sealroot seal --repo repo os/stable --key keys/sealroot.key',
    'sealroot verify --repo repo os/stable --pubkey keys/sealroot.pub',
  ],
};

export const KEYGEN_PAGE: ManualPage = {
  summary: 'make an ed25519 key pair',
  description: [
    'Writes DIR/sealroot.key (the secret: base64 of seed and public key, mode 0600) and DIR/sealroot.pub (base64 of the public key), the format that ostree sign reads. DIR is made, with mode 0700, when it does not exist.',
    'An existing file is never overwritten: nothing is written then.',
  ],
  examples: ['sealroot keygen --out keys'],
};

export const SEAL_PAGE: ManualPage = {
  summary: 'put the image digest into a commit and sign it',
  description: [
    'Computes the composefs image from the objects of the commit, puts its fs-verity digest into the metadata of the commit (ostree.composefs.digest.v0) and adds an ed25519 signature of every KEY to the detached metadata (ostree.sign.ed25519).',
    'A commit without the digest is written anew, with the same tree, parent, subject, body, timestamp and other metadata, and the branch REF is moved to it. Signatures of the old commit do not hold for the new one: sealroot names them and stops, unless --resign says that they may go.',
    'With --floor the commit says (sealroot.floor) that no commit with an earlier timestamp boots while it is deployed: what it repairs does not come back. A commit that says something else is written anew, too.',
    'A commit that has the right digest only gains the signatures; REF may then be a checksum too. Sealing twice changes nothing. A commit whose digest is wrong is refused.',
    'The signature is in the repository before the branch moves. When the branch moves meanwhile, or anything fails, the branch stays where it is. A summary file or static deltas of the repository are not updated.',
  ],
  examples: [
    'sealroot seal --repo repo os/stable --key keys/sealroot.key',
    'sealroot seal --repo repo os/stable --key current.key --key next.key',
    'sealroot seal --repo repo os/stable --key keys/sealroot.key --floor $(date --date=2026-01-01 +%s)',
    'sealroot keygen --out once && sealroot seal --repo repo os/stable --key once/sealroot.key --destroy-key',
  ],
};

export const VERIFY_PAGE: ManualPage = {
  summary: 'take the verdict of the boot on this machine',
  description: [
    'Takes the verdict that sealroot-prepare-root takes at boot, with the same code: the bytes of the commit have its checksum, one of the public keys made a valid ed25519 signature of them, and they name an image digest. Then the image is computed from the objects of the commit and compared with that digest.',
    'Where the digests differ and the image that was signed is at hand (--image, or a deployment of the commit beside the repository), the first path that differs is named; sealroot image diff shows the others.',
    'One valid signature by one of the keys is enough. Malformed signatures and keys are skipped with a warning. A key counts no more when it also stands in the file with .revoked behind the name of its own.',
  ],
  examples: [
    'sealroot verify --repo repo os/stable --pubkey keys/sealroot.pub',
    'sealroot verify --repo /ostree/repo CHECKSUM --pubkey /etc/ostree/initramfs-root-binding.key --json',
  ],
};

export const EXPLAIN_PAGE: ManualPage = {
  summary: 'say what a refusal means and what to do about it',
  description: [
    'Prints cause and remedy of a code with which sealroot-prepare-root refuses a boot, and sealroot verify or sealroot admin deploy a commit.',
    'In the journal each refusal has its own MESSAGE_ID, printed here too, and the code in the field SEALROOT_CODE.',
  ],
  examples: ['sealroot explain signature-none-valid', 'sealroot explain --json image-digest-mismatch'],
};
