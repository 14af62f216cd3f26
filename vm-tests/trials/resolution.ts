/** Where `ostree=` leads, by the argument itself and by the links that it goes through. */
import path from 'node:path';
import type { RefusalCase } from '../refusal.ts';
import type { Trial } from '../trials.ts';

/** The kernel arguments with another `ostree=`. */
export function naming(argument: string): (line: string) => string {
  return (line) => line.replace(/ostree=\S+/, `ostree=${argument}`);
}

/** The last link of the way leads elsewhere. */
function leading(title: string, target: string | ((stage: RefusalCase) => string), refused?: string): Trial {
  return {
    title: `ostree= goes through ${title}`,
    ...(refused === undefined ? {} : { refused }),
    tamper: (stage) =>
      stage.disk.replaceLink(stage.bootLink, typeof target === 'string' ? target : target(stage)),
  };
}

const UNRESOLVABLE = 'deployment-unresolvable';
const MALFORMED = 'deployment-malformed';

export const RESOLUTION: readonly Trial[] = [
  {
    title: 'ostree= with more .. than there are directories stays on the disk',
    refused: UNRESOLVABLE,
    commandLine: naming(`${'/..'.repeat(20)}/usr/lib/sealroot`),
  },
  {
    title: 'ostree= with .. that ends at the root of the disk',
    refused: MALFORMED,
    commandLine: naming('/ostree/deploy/../..'),
  },
  {
    title: 'ostree= with .. behind a directory that is not there',
    refused: UNRESOLVABLE,
    commandLine: naming('/ostree/nothing/../deploy'),
  },
  leading(
    'an absolute link to the deployment, which is resolved on the disk',
    (stage) => stage.base.deployment,
  ),
  leading('an absolute link into the initramfs', '/usr/lib/sealroot', UNRESOLVABLE),
  leading('a relative link into the initramfs', `${'../'.repeat(20)}usr/lib/sealroot`, UNRESOLVABLE),
  leading('a link into /proc', '/proc/self/root', UNRESOLVABLE),
  leading('a link to itself', '0', UNRESOLVABLE),
  {
    title: 'ostree= goes through a loop of two links',
    refused: UNRESOLVABLE,
    tamper({ disk, bootLink }) {
      disk.replaceLink(bootLink, 'other');
      disk.makeLink(path.posix.join(path.posix.dirname(bootLink), 'other'), '0');
    },
  },
  leading('a dangling link', '../../../deploy/debian/deploy/none.0', UNRESOLVABLE),
  leading('a link to the stateroot', '../../../deploy/debian', MALFORMED),
  leading('a link to a directory in the deployment', ({ base }) => `${base.deployment}/etc`, MALFORMED),
  {
    title: 'ostree= leads to a deployment that was moved out of its place',
    refused: MALFORMED,
    tamper({ disk, base, bootLink }) {
      const name = path.posix.basename(base.deployment);
      disk.rename(path.posix.dirname(base.deployment), name, `moved-${name}`);
      disk.replaceLink(bootLink, `${path.posix.dirname(base.deployment)}/moved-${name}`);
    },
  },
];
