/** The deployments that are on the physical root, found by their directories: no file on it is asked for a list. */

import { ascii, type ByteString } from '../src/formats/encoding.ts';
import type { PhysicalRoot } from './deployment.ts';
import { type DeploymentPath, deploymentPathOf } from './deployment-path.ts';
import { listBelow } from './files.ts';

const DEPLOY = ascii('ostree/deploy');

/** Each is verified before it has any say, which takes milliseconds; a machine keeps two or three. */
const MAX_DEPLOYMENTS = 32;

/** In all directories together: more of them are somebody's trap, and what lies behind them is not seen. */
const MAX_NAMES = 4096;

/** In the order of their paths, whatever else lies beside them. */
export function listDeployments(root: PhysicalRoot): DeploymentPath[] {
  const found: DeploymentPath[] = [];
  const stateroots = listBelow(root, DEPLOY, MAX_NAMES);
  let namesLeft = MAX_NAMES - stateroots.length;
  for (const stateroot of stateroots) {
    if (namesLeft <= 0) break;
    const folder = `${DEPLOY}/${stateroot}/deploy` as ByteString;
    const names = listBelow(root, folder, namesLeft);
    namesLeft -= names.length;
    for (const name of names) {
      // Origin files lie beside them, and whatever else.
      const deployment = deploymentPathOf(`${folder}/${name}` as ByteString);
      if (deployment !== undefined) found.push(deployment);
      if (found.length === MAX_DEPLOYMENTS) return found;
    }
  }
  return found;
}
