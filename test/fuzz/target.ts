/** What a target is, and the laws that it holds its inputs to. */

import { SealrootError } from '../../src/formats/errors.ts';

export interface Target {
  readonly name: string;
  /** What has to be there before anything else. */
  readonly prepare?: () => Promise<void>;
  /** How many runs of another target one of this takes: it gets fewer. */
  readonly runsEach?: number;
  readonly corpus: () => Uint8Array[];
  /**
   * Whether the input was accepted. `run` counts from 0, `seed` is the place in the corpus of what the input was made
   * from. Throws nothing, unless the input has found a fault.
   */
  readonly run: (bytes: Uint8Array, run: number, seed: number) => boolean;
}

/** A law that does not hold. */
export class LawBroken extends Error {}

export function requireLaw(law: boolean, what: string): void {
  if (!law) throw new LawBroken(what);
}

/** Whether it is accepted. Throws whatever is no SealrootError. */
export function accepts(action: () => unknown): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof SealrootError) return false;
    throw error;
  }
}
