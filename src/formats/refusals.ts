/**
 * The refusals: every code with which the verdict, the policy and sealroot-prepare-root say no, once, with what to do
 * about it. The initramfs carries this table; what the codes mean at length is for the host (refusal-causes.ts). A
 * code, once released, keeps its meaning and its id.
 */

export interface Refusal {
  /** MESSAGE_ID in the journal: 32 hex digits, chosen at random once. */
  readonly messageId: string;
  /** What to do, as a clause: the hint of the error. */
  readonly remedy: string;
}

/** Made when it is asked for: a boot that succeeds has no use for it. */
const refusals = (): Readonly<Record<string, Refusal>> => ({
  usage: {
    messageId: '353278f7126f46e581d14f4d6cf5501d',
    remedy: 'call it as sealroot-prepare-root [PHYSICAL-ROOT]',
  },
  internal: {
    messageId: 'd95c204ed1434a84b7a3b5d5286cf165',
    remedy: 'boot another deployment, and report this',
  },
  'system-call-failed': {
    messageId: 'fe396a9e776649c68e44bdb28c238fb1',
    remedy:
      'boot another deployment; if all fail alike, check the disk and that the initramfs belongs to the kernel',
  },
  'mount-failed': {
    messageId: 'eaa7af3d7842487ea7f2527d6c8080d3',
    remedy:
      'use a kernel with EROFS_FS, OVERLAY_FS and FS_VERITY, Linux 6.6 or newer, and its modules in the initramfs',
  },
  'kernel-too-old': {
    messageId: '40ec998284354b7ba6b157ad2681f39b',
    remedy: 'use Linux 6.6 or newer with OVERLAY_FS',
  },
  'policy-missing': {
    messageId: 'e29ac8fe23f34dce91e58056adb5f96a',
    remedy: 'rebuild the initramfs with its dracut module sealroot',
  },
  'policy-malformed': {
    messageId: '89fbc44c45444bf5a59579d4adad0d6c',
    remedy: 'correct the policy and rebuild the initramfs',
  },
  'policy-not-sealed': {
    messageId: '24a6c0efe172459d9b44c18de6e784f3',
    remedy: 'set enabled=signed in [composefs], or yes, verity, maybe or no, and rebuild the initramfs',
  },
  'keys-missing': {
    messageId: '40c03f6dbbc54cceba4c2b23540db077',
    remedy: 'put the public key of the signer into the key file and rebuild the initramfs',
  },
  'revoked-malformed': {
    messageId: '6cfd1a0a39104f7fae05b5c7afae9728',
    remedy: 'correct the file of revoked keys and rebuild the initramfs',
  },
  'cmdline-ostree-missing': {
    messageId: '416bf75daf6e46a19a7fee2acc4b9039',
    remedy: 'boot an entry that ostree wrote',
  },
  'cmdline-slot-unknown': {
    messageId: '2a90ec8701ab49b7a23c2fd4af7c704f',
    remedy: 'boot slot a or b',
  },
  'no-candidate': {
    messageId: '0e21312f0b434554a07aef1c08af0282',
    remedy: 'boot an entry that names a deployment, or deploy again',
  },
  'deployment-malformed': {
    messageId: '5ef58d357b1d4d42952a02fa3ef43041',
    remedy: 'boot another entry, and deploy again',
  },
  'deployment-unresolvable': {
    messageId: '7e3c416469cf4176a887cd38c952db93',
    remedy: 'boot another entry, and deploy again',
  },
  'deployment-incomplete': {
    messageId: 'dbec1633bb3c44618baa14fa5f9a0758',
    remedy: 'boot another deployment, and deploy this one again',
  },
  'commit-missing': {
    messageId: '8c629d9c7b564f07aa795a1af7bfb4d8',
    remedy: 'boot another deployment, and pull and deploy this commit again',
  },
  'commit-checksum-mismatch': {
    messageId: '078c18d28b6d4a32a7cc7834a6dfa033',
    remedy: 'boot another deployment; then run ostree fsck --delete, pull and deploy again',
  },
  'commit-malformed': {
    messageId: '2f00cc44d6374910b4d24cec7b83f9ba',
    remedy: 'seal a commit that ostree made, and deploy that',
  },
  'commitmeta-missing': {
    messageId: '60805f9e45394b6d9f466db3a87fc3a6',
    remedy: 'sign it with sealroot seal or ostree sign, and pull its detached metadata too',
  },
  'commitmeta-malformed': {
    messageId: 'd532ff25cad642da8a298f8dc26c5d94',
    remedy: 'boot another deployment, and pull and deploy this commit again',
  },
  'signatures-missing': {
    messageId: '9b35eda266be401aacc790a12a5c0dde',
    remedy: 'sign it with sealroot seal or ostree sign, and pull its detached metadata too',
  },
  'signatures-too-many': {
    messageId: '449d5d5089ec43efb0f8decceea7830d',
    remedy: 'sign the commit anew and pull its detached metadata again',
  },
  'signature-none-valid': {
    messageId: '1612fd4ca3b741e1ad682b46c0e1c0fc',
    remedy: 'sign the commit with a key whose public half is in the initramfs',
  },
  'key-revoked': {
    messageId: '465f698c5bc4459f88973bcbed324897',
    remedy: 'sign the commit with a key that is not revoked',
  },
  'key-expired': {
    messageId: 'a09ddf8d618e41fb973703a32fd54170',
    remedy: 'sign the commit with the key that has followed',
  },
  'ref-not-allowed': {
    messageId: '4912fbe6197f45d0aee21f8a81817ab1',
    remedy: 'commit it with ostree commit --branch=REF, with a ref of the policy, and seal that',
  },
  'commit-below-floor': {
    messageId: '1d9b448b9dc34f668a28bb3cb467c979',
    remedy: 'boot a newer deployment; to go back on purpose, sign the old tree anew',
  },
  'digest-missing': {
    messageId: '1b1c2553c0084c8d9ebbcb23f59b1e86',
    remedy: 'seal it with sealroot seal',
  },
  'digest-malformed': {
    messageId: 'c598a66806d7402589d74d5e5ce6788f',
    remedy: 'seal it with sealroot seal',
  },
  'image-missing': {
    messageId: '810939dd4297440d8f910326d4472969',
    remedy: 'deploy this commit again with sealroot admin deploy, or boot another deployment',
  },
  'image-unsafe': {
    messageId: 'e67720a2772c484da62d2667f673bed8',
    remedy: 'deploy this commit again with sealroot admin deploy, or boot another deployment',
  },
  'image-verity-missing': {
    messageId: '9ecb2185e06a4dc4b1b151ce91dd6d9c',
    remedy: 'deploy this commit again with sealroot admin deploy, on a file system and kernel with fs-verity',
  },
  'image-digest-mismatch': {
    messageId: '384595635bfc4c969e3b6a9c638d1c56',
    remedy: 'deploy this commit again with sealroot admin deploy, or boot another deployment',
  },
  'kernel-mismatch': {
    messageId: 'cc9cc538978d4e5aab60f4ac0b9cb8f4',
    remedy: 'boot the entry of that deployment, which brings its own kernel',
  },
  'image-unreadable': {
    messageId: '82dd0ad5a4784af7bcefeb195e8a9740',
    remedy: 'deploy this commit again, or boot another deployment',
  },
  'not-a-regular-file': {
    messageId: '20509ca5ef6842c8bb38c92d2578e5b4',
    remedy: 'boot another deployment, and deploy this one again',
  },
  'file-too-large': {
    messageId: 'f1c00fae17ba4c679a91a00c338ecfd3',
    remedy: 'boot another deployment, and deploy this one again',
  },
  'file-truncated': {
    messageId: '7fc61d5f3e9746daabb3a61a61d912e0',
    remedy: 'boot another deployment, and check the disk',
  },
});

/** undefined for a code that is none of a refusal. */
export function refusalOf(code: string): Refusal | undefined {
  const all = refusals();
  return Object.hasOwn(all, code) ? all[code] : undefined;
}

/** In the order of a boot: what is read first stands first. */
export function refusalCodes(): string[] {
  return Object.keys(refusals());
}
