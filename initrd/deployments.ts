/** The deployments that are on the physical root, found by their directories: no file on it is asked for a list. */

import { ascii, type ByteString } from '../src/formats/encoding.ts';
import type { PhysicalRoot } from './deployment.ts';
import { type DeploymentPath, deploymentPathOf } from './deployment-path.ts';
import { listBelow } from './files.ts';

const DEPLOY = ascii('ostree/deploy');

/** Each is verified before it has any say, which takes milliseconds; a machine keeps two or three. */
const MAX_DEPLOYMENTS = 32;

/** In the order of their paths, whatever else lies beside them. */
export function listDeployments(root: PhysicalRoot): DeploymentPath[] {
  const found: DeploymentPath[] = [];
  for (const stateroot of listBelow(root, DEPLOY)) {
    const folder = `${DEPLOY}/${stateroot}/deploy` as ByteString;
    for (const name of listBelow(root, folder)) {
      // Origin files lie beside them, and whatever else.
      const deployment = deploymentPathOf(`${folder}/${name}` as ByteString);
      if (deployment !== undefined) found.push(deployment);
      if (found.length === MAX_DEPLOYMENTS) return found;
    }
  }
  return found;
}
