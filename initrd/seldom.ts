/** What few boots need: the exports are called through load.ts, and read in with the first call. */

export { refusalOf } from '../src/formats/refusals.ts';
export { btrfsDevice } from './btrfs.ts';
export { kernelMessages } from './kernel-messages.ts';
export { attachLoopDevice } from './loop-device.ts';
export { bootNext } from './next-candidate.ts';
export { answerQuestion } from './questions.ts';
export { rebuildImage } from './rebuilt-image.ts';
