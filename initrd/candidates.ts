/**
 * Which deployment boots: the one that `ostree=` names, or, for `ostree=latest` and where the policy lets a refused one
 * be followed by the next, the best of those on the disk (next-candidate.ts).
 */

import type { PassedOver } from '../src/formats/boot-report.ts';
import type { ByteString } from '../src/formats/encoding.ts';
import type { Verdict } from '../src/formats/verdict.ts';
import { type Deployment, openDeployment, type PhysicalRoot } from './deployment.ts';
import { checkFloor, judge } from './judge.ts';
import { seldom } from './load.ts';
import type { Trust } from './trust.ts';

/** A deployment that may boot. */
export interface Choice {
  readonly deployment: Deployment;
  /** On its commit; undefined where the policy is not sealed and asks for none. */
  readonly verdict: Verdict | undefined;
  /** The release whose modules the image has to hold; undefined where the boot entry chose kernel and deployment. */
  readonly kernel: ByteString | undefined;
}

export type Boot<T> = (choice: Choice, passedOver: readonly PassedOver[]) => T;

const LATEST = 'latest';

/** Calls `boot` with the deployment that `ostree=` names, or with one after the other; returns what it returns. */
export function bootFirst<T>(root: PhysicalRoot, trust: Trust, argument: ByteString, boot: Boot<T>): T {
  if (argument === LATEST) return seldom().bootNext(root, trust, { boot });
  let tried = argument;
  try {
    const deployment = openDeployment(root, argument);
    tried = deployment.path;
    const verdict = judge(root, deployment.checksum, trust);
    checkFloor(root, verdict, trust);
    return boot({ deployment, verdict, kernel: undefined }, []);
  } catch (error) {
    if (trust.policy.onFailure !== 'next-deployment') throw error;
    return seldom().bootNext(root, trust, { boot, refused: { deployment: tried, error } });
  }
}
