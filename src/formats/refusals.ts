/**
 * The refusals: every code with which the verdict, the policy and sealroot-prepare-root say no, once, with what it
 * means and what to do about it. The initramfs takes its remedies and journal ids from here, `sealroot explain` prints
 * it all. A code, once released, keeps its meaning and its id.
 */

export interface Refusal {
  /** MESSAGE_ID in the journal: 32 hex digits, chosen at random once. */
  readonly messageId: string;
  /** Sentences. */
  readonly cause: string;
  /** What to do, as a clause: the hint of the error. */
  readonly remedy: string;
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  usage: {
    messageId: '353278f7126f46e581d14f4d6cf5501d',
    cause: 'The program was called with arguments that it does not know, or with / as the physical root.',
    remedy: 'call it as sealroot-prepare-root [PHYSICAL-ROOT]',
  },
  internal: {
    messageId: 'd95c204ed1434a84b7a3b5d5286cf165',
    cause: 'The program failed in a way that is a defect of its own, or ran out of memory.',
    remedy: 'boot another deployment, and report this',
  },
  'system-call-failed': {
    messageId: 'fe396a9e776649c68e44bdb28c238fb1',
    cause:
      'The kernel refused an operation that is not about verification; the message names it and its errno.',
    remedy:
      'boot another deployment; if all fail alike, check the disk and that the initramfs belongs to the kernel',
  },
  'mount-failed': {
    messageId: 'eaa7af3d7842487ea7f2527d6c8080d3',
    cause:
      'The deployment was verified, but the kernel could not mount it. It may lack erofs or overlayfs with verity, or a directory is missing.',
    remedy:
      'use a kernel with EROFS_FS, OVERLAY_FS and FS_VERITY, Linux 6.6 or newer, and its modules in the initramfs',
  },
  'policy-missing': {
    messageId: 'e29ac8fe23f34dce91e58056adb5f96a',
    cause: 'The initramfs has no policy, so nothing says what may boot.',
    remedy: 'rebuild the initramfs with its dracut module sealroot',
  },
  'policy-malformed': {
    messageId: '89fbc44c45444bf5a59579d4adad0d6c',
    cause:
      'The policy in the initramfs is no key file, or a value in it is not of its kind, or [sealroot] has a key that is unknown or stands there twice.',
    remedy: 'correct the policy and rebuild the initramfs',
  },
  'policy-not-sealed': {
    messageId: '24a6c0efe172459d9b44c18de6e784f3',
    cause: 'The policy does not say composefs.enabled=signed, and an unsealed boot is not supported.',
    remedy: 'set enabled=signed in [composefs] and rebuild the initramfs',
  },
  'policy-unsupported': {
    messageId: 'eae47387749e4b8ab398d14e41297053',
    cause: 'The policy asks for something that ostree has and sealroot has not.',
    remedy: 'remove the key that the message names from the policy and rebuild the initramfs',
  },
  'keys-missing': {
    messageId: '40c03f6dbbc54cceba4c2b23540db077',
    cause: 'The key file is not there, or no line of it is a usable ed25519 public key.',
    remedy: 'put the public key of the signer into the key file and rebuild the initramfs',
  },
  'revoked-malformed': {
    messageId: '6cfd1a0a39104f7fae05b5c7afae9728',
    cause:
      'A line of the file of revoked keys is not an ed25519 public key, so it is not known which key it would revoke.',
    remedy: 'correct the file of revoked keys and rebuild the initramfs',
  },
  'cmdline-ostree-missing': {
    messageId: '416bf75daf6e46a19a7fee2acc4b9039',
    cause: 'The kernel command line has no ostree=, so it names no deployment.',
    remedy: 'boot an entry that ostree wrote',
  },
  'no-candidate': {
    messageId: '0e21312f0b434554a07aef1c08af0282',
    cause:
      'ostree=latest asks for the newest deployment that may boot, and there is none: each was refused, as the lines before say, or is named in /ostree/sealroot-skip.',
    remedy: 'boot an entry that names a deployment, or deploy again',
  },
  'deployment-malformed': {
    messageId: '5ef58d357b1d4d42952a02fa3ef43041',
    cause:
      'ostree= leads to something that is not ostree/deploy/OS/deploy/CHECKSUM.SERIAL below the physical root.',
    remedy: 'boot another entry, and deploy again',
  },
  'deployment-unresolvable': {
    messageId: '7e3c416469cf4176a887cd38c952db93',
    cause: 'ostree= leads nowhere: a link or directory on its way is missing, or is something else.',
    remedy: 'boot another entry, and deploy again',
  },
  'deployment-incomplete': {
    messageId: 'dbec1633bb3c44618baa14fa5f9a0758',
    cause:
      'A directory that the boot needs, in the deployment or beside it, is missing or is not a plain directory.',
    remedy: 'boot another deployment, and deploy this one again',
  },
  'commit-missing': {
    messageId: '8c629d9c7b564f07aa795a1af7bfb4d8',
    cause: 'The commit object of the deployment is not in the repository on the disk.',
    remedy: 'boot another deployment, and pull and deploy this commit again',
  },
  'commit-checksum-mismatch': {
    messageId: '078c18d28b6d4a32a7cc7834a6dfa033',
    cause:
      'The bytes of the commit object do not have the checksum that the deployment is named after: it was damaged or exchanged.',
    remedy: 'boot another deployment; then run ostree fsck --delete, pull and deploy again',
  },
  'commit-malformed': {
    messageId: '2f00cc44d6374910b4d24cec7b83f9ba',
    cause: 'The commit is signed, but its bytes are not what a commit looks like.',
    remedy: 'seal a commit that ostree made, and deploy that',
  },
  'commitmeta-missing': {
    messageId: '60805f9e45394b6d9f466db3a87fc3a6',
    cause: 'The commit has no detached metadata, which is where signatures are.',
    remedy: 'sign it with sealroot seal or ostree sign, and pull its detached metadata too',
  },
  'commitmeta-malformed': {
    messageId: 'd532ff25cad642da8a298f8dc26c5d94',
    cause:
      'The detached metadata of the commit is not a dictionary in normal form: it was damaged or made up.',
    remedy: 'boot another deployment, and pull and deploy this commit again',
  },
  'signatures-missing': {
    messageId: '9b35eda266be401aacc790a12a5c0dde',
    cause: 'The detached metadata of the commit holds no ed25519 signature.',
    remedy: 'sign it with sealroot seal or ostree sign, and pull its detached metadata too',
  },
  'signatures-too-many': {
    messageId: '449d5d5089ec43efb0f8decceea7830d',
    cause:
      'The detached metadata holds more signatures than anybody needs; checking them all could keep the boot busy for hours.',
    remedy: 'sign the commit anew and pull its detached metadata again',
  },
  'signature-none-valid': {
    messageId: '1612fd4ca3b741e1ad682b46c0e1c0fc',
    cause:
      'No signature of the commit was made by a key that the initramfs trusts: another key signed it, or it was tampered with.',
    remedy: 'sign the commit with a key whose public half is in the initramfs',
  },
  'key-revoked': {
    messageId: '465f698c5bc4459f88973bcbed324897',
    cause: 'A key that the initramfs names as revoked signed the commit, and no other trusted key did.',
    remedy: 'sign the commit with a key that is not revoked',
  },
  'key-expired': {
    messageId: 'a09ddf8d618e41fb973703a32fd54170',
    cause:
      'The key that signed the commit counts only for commits up to a point in time, and the commit is from after it.',
    remedy: 'sign the commit with the key that has followed',
  },
  'ref-not-allowed': {
    messageId: '4912fbe6197f45d0aee21f8a81817ab1',
    cause:
      'The commit is signed by a trusted key, but it is bound to none of the refs that the policy allows: it was made for another product.',
    remedy: 'commit it with ostree commit --branch=REF, with a ref of the policy, and seal that',
  },
  'commit-below-floor': {
    messageId: '1d9b448b9dc34f668a28bb3cb467c979',
    cause:
      'The commit is signed, but older than the policy, or a sealed commit that is deployed on this disk, allows: booting it would bring back what has been repaired since.',
    remedy: 'boot a newer deployment; to go back on purpose, sign the old tree anew',
  },
  'digest-missing': {
    messageId: '1b1c2553c0084c8d9ebbcb23f59b1e86',
    cause: 'The signed commit names no composefs image, so there is none that may be mounted.',
    remedy: 'seal it with sealroot seal',
  },
  'digest-malformed': {
    messageId: 'c598a66806d7402589d74d5e5ce6788f',
    cause: 'The signed commit names a composefs image by something that is not an fs-verity SHA-256 digest.',
    remedy: 'seal it with sealroot seal',
  },
  'image-missing': {
    messageId: '810939dd4297440d8f910326d4472969',
    cause: 'The deployment has no composefs image.',
    remedy: 'deploy this commit again with sealroot admin deploy, or boot another deployment',
  },
  'image-unsafe': {
    messageId: 'e67720a2772c484da62d2667f673bed8',
    cause: 'Where the composefs image should be stands something that is no regular file, or it is empty.',
    remedy: 'deploy this commit again with sealroot admin deploy, or boot another deployment',
  },
  'image-verity-missing': {
    messageId: '9ecb2185e06a4dc4b1b151ce91dd6d9c',
    cause: 'The composefs image has no fs-verity, so the kernel would not notice when it changes.',
    remedy: 'deploy this commit again with sealroot admin deploy, on a file system and kernel with fs-verity',
  },
  'image-digest-mismatch': {
    messageId: '384595635bfc4c969e3b6a9c638d1c56',
    cause:
      'The composefs image is not the one that the signed commit names: it was exchanged, or belongs to another commit.',
    remedy: 'deploy this commit again with sealroot admin deploy, or boot another deployment',
  },
  'kernel-mismatch': {
    messageId: 'cc9cc538978d4e5aab60f4ac0b9cb8f4',
    cause:
      'The image of a deployment that the boot entry did not choose holds no modules for the kernel that is running.',
    remedy: 'boot the entry of that deployment, which brings its own kernel',
  },
  'image-unreadable': {
    messageId: '82dd0ad5a4784af7bcefeb195e8a9740',
    cause:
      'The composefs image could not be read: its bytes do not match its fs-verity metadata, or the disk fails.',
    remedy: 'deploy this commit again, or boot another deployment',
  },
  'not-a-regular-file': {
    messageId: '20509ca5ef6842c8bb38c92d2578e5b4',
    cause:
      'In the place of a file that has to be read stands a link, directory, device or FIFO, or its path holds a link.',
    remedy: 'boot another deployment, and deploy this one again',
  },
  'file-too-large': {
    messageId: 'f1c00fae17ba4c679a91a00c338ecfd3',
    cause: 'A file is larger than anything that belongs there.',
    remedy: 'boot another deployment, and deploy this one again',
  },
  'file-truncated': {
    messageId: '7fc61d5f3e9746daabb3a61a61d912e0',
    cause: 'A file ended before its size: it changed while it was read, or the disk fails.',
    remedy: 'boot another deployment, and check the disk',
  },
};

/** undefined for a code that is none of a refusal. */
export function refusalOf(code: string): Refusal | undefined {
  return Object.hasOwn(REFUSALS, code) ? REFUSALS[code] : undefined;
}

/** In the order of a boot: what is read first stands first. */
export function refusalCodes(): string[] {
  return Object.keys(REFUSALS);
}
