/** What ed25519 takes from @noble/curves, in one place: the build of the initramfs keeps it apart (initrd/bundle.ts). */

export { mulAddUnsafe } from '@noble/curves/abstract/curve.js';
export { type EdwardsPoint, type EdwardsPointCons, edwards } from '@noble/curves/abstract/edwards.js';
export { Field, type IField } from '@noble/curves/abstract/modular.js';
