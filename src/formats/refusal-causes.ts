/** What each refusal means, in sentences: beside refusals.ts, whose table the initramfs carries. */

export const REFUSAL_CAUSES: Readonly<Record<string, string>> = {
  usage:
    'The program was called with arguments that it does not know, a kernel command line among them, or with / as the physical root.',
  internal: 'The program failed in a way that is a defect of its own, or ran out of memory.',
  'system-call-failed':
    'The kernel refused an operation that is not about verification; the message names it and its errno.',
  'mount-failed':
    'The deployment was verified, but the kernel could not mount it. It may lack erofs or overlayfs with verity, or a directory is missing.',
  'kernel-too-old':
    'The overlayfs of the running kernel cannot keep the objects out of sight (data-only lower layers), or cannot compare them with their digests (verity=require).',
  'policy-missing': 'The initramfs has no policy, so nothing says what may boot.',
  'policy-malformed':
    'The policy in the initramfs is no key file, or a value in it is not of its kind, or [sealroot] has a key that is unknown or stands there twice.',
  'policy-not-sealed':
    'The policy does not say composefs.enabled=signed, nor by another value of it that an unsealed boot is wanted.',
  'keys-missing': 'The key file is not there, or no line of it is a usable ed25519 public key.',
  'revoked-malformed':
    'A line of the file of revoked keys is not an ed25519 public key, so it is not known which key it would revoke.',
  'cmdline-ostree-missing': 'The kernel command line has no ostree=, so it names no deployment.',
  'cmdline-slot-unknown':
    'The boot loader of a phone names a slot by androidboot.slot_suffix= that is neither _a nor _b.',
  'no-candidate':
    'ostree=latest asks for the newest deployment that may boot, and there is none: each was refused, as the lines before say, or is named in /ostree/sealroot-skip.',
  'deployment-malformed':
    'ostree= leads to something that is not ostree/deploy/OS/deploy/CHECKSUM.SERIAL below the physical root.',
  'deployment-unresolvable':
    'ostree= leads nowhere: a link or directory on its way is missing, or is something else.',
  'deployment-incomplete':
    'A directory that the boot needs, in the deployment or beside it, is missing or is not a plain directory.',
  'commit-missing': 'The commit object of the deployment is not in the repository on the disk.',
  'commit-checksum-mismatch':
    'The bytes of the commit object do not have the checksum that the deployment is named after: it was damaged or exchanged.',
  'commit-malformed': 'The commit is signed, but its bytes are not what a commit looks like.',
  'commitmeta-missing': 'The commit has no detached metadata, which is where signatures are.',
  'commitmeta-malformed':
    'The detached metadata of the commit is not a dictionary in normal form: it was damaged or made up.',
  'signatures-missing': 'The detached metadata of the commit holds no ed25519 signature.',
  'signatures-too-many':
    'The detached metadata holds more signatures than anybody needs; checking them all could keep the boot busy for hours.',
  'signature-none-valid':
    'No signature of the commit was made by a key that the initramfs trusts: another key signed it, or it was tampered with.',
  'key-revoked': 'A key that the initramfs names as revoked signed the commit, and no other trusted key did.',
  'key-expired':
    'The key that signed the commit counts only for commits up to a point in time, and the commit is from after it.',
  'ref-not-allowed':
    'The commit is signed by a trusted key, but it is bound to none of the refs that the policy allows: it was made for another product.',
  'commit-below-floor':
    'The commit is signed, but older than the policy, or a sealed commit that is deployed on this disk, allows: booting it would bring back what has been repaired since.',
  'digest-missing': 'The signed commit names no composefs image, so there is none that may be mounted.',
  'digest-malformed':
    'The signed commit names a composefs image by something that is not an fs-verity SHA-256 digest.',
  'image-missing': 'The deployment has no composefs image.',
  'image-unsafe':
    'Where the composefs image should be stands something that is no regular file, or it is empty.',
  'image-verity-missing':
    'The composefs image has no fs-verity, so the kernel would not notice when it changes.',
  'image-digest-mismatch':
    'The composefs image is not the one that the signed commit names: it was exchanged, or belongs to another commit.',
  'kernel-mismatch':
    'The image of a deployment that the boot entry did not choose holds no modules for the kernel that is running.',
  'image-unreadable':
    'The composefs image could not be read: its bytes do not match its fs-verity metadata, or the disk fails.',
  'not-a-regular-file':
    'In the place of a file that has to be read stands a link, directory, device or FIFO, or its path holds a link.',
  'file-too-large': 'A file is larger than anything that belongs there.',
  'file-truncated': 'A file ended before its size: it changed while it was read, or the disk fails.',
};
