/** What few boots need: the exports are called through load.ts, and read in with the first call. */

export { baseOfBootcCommit } from '../src/formats/bootc.ts';
export { refusalOf } from '../src/formats/refusals.ts';
export { slotArgument } from './android.ts';
export { btrfsDevice } from './btrfs.ts';
export { kernelMessages } from './kernel-messages.ts';
export { mountRootOtherwise } from './lesser-kernels.ts';
export { attachLoopDevice } from './loop-device.ts';
export { propagate, remounted } from './mount-flags.ts';
export { bootNext } from './next-candidate.ts';
export { mountOverlay } from './overlays.ts';
export { answerQuestion } from './questions.ts';
export { rebuildImage } from './rebuilt-image.ts';
export { placeForEtc } from './transient-etc.ts';
export { chooseUnsealed, openUnsealedImage, usrOverlayOf } from './unsealed.ts';
