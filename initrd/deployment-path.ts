/** PURE: the one shape of a deployment's place on the physical root, `ostree/deploy/OS/deploy/CHECKSUM.SERIAL`. */

import { type ByteString, isChecksum, printable } from '../src/formats/encoding.ts';
import { refused } from '../src/formats/errors.ts';

export interface DeploymentPath {
  /** Below the physical root, without a leading slash. */
  readonly path: ByteString;
  readonly stateroot: ByteString;
  /** The commit's. */
  readonly checksum: string;
}

/** ostree counts deployments of one commit with an int. */
const MAX_SERIAL_DIGITS = 10;

/** Throws `deployment-malformed` unless `path` is of that shape, letter by letter. */
export function parseDeploymentPath(path: ByteString): DeploymentPath {
  const found = deploymentPathOf(path);
  if (found !== undefined) return found;
  throw refused(
    'deployment-malformed',
    `cannot boot ${printable(path)}: expected ostree/deploy/OS/deploy/CHECKSUM.SERIAL`,
  );
}

/** undefined for what is no deployment. */
export function deploymentPathOf(path: ByteString): DeploymentPath | undefined {
  const [ostree, deploy, stateroot, second, name, ...rest] = path.split('/');
  const dot = name?.indexOf('.') ?? -1;
  const checksum = name?.slice(0, dot) ?? '';
  const serial = name?.slice(dot + 1) ?? '';
  const shaped =
    ostree === 'ostree' && deploy === 'deploy' && second === 'deploy' && rest.length === 0 && dot >= 0;
  if (!shaped || !isPlainName(stateroot) || !isSerial(serial) || !isChecksum(checksum)) return undefined;
  return { path, stateroot: stateroot as ByteString, checksum };
}

function isPlainName(name: string | undefined): boolean {
  return name !== undefined && name !== '' && name !== '.' && name !== '..';
}

function isSerial(text: string): boolean {
  if (text === '' || text.length > MAX_SERIAL_DIGITS || (text.length > 1 && text.startsWith('0')))
    return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}
