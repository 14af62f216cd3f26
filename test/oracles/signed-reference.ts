/** ostree-prepare-root on the stage of prepare-root-rig.ts, whose images have no fs-verity: how far it gets there. */
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REFERENCE_PATH, referenceFiles } from '../bench/reference.ts';
import type { Rig } from './prepare-root-rig.ts';

/** What it makes of a boot: trusts its commit and asks for the image, refuses, boots without a signature, or crashes. */
export type ReferenceVerdict = 'accepts' | 'refuses' | 'unsealed' | 'crashes';

const SCRIPT = `
root=$1
mount --bind "$root" "$root"
mount -t tmpfs -o mode=0755 run "$root/run"
mount --bind "$root/sysroot" "$root/sysroot"
mount -t proc proc "$root/proc"
mount --bind "$root/cmdline" "$root/proc/cmdline"
ulimit -c 0
chroot "$root" ${REFERENCE_PATH} /sysroot 2>&1
echo "status $?"`;

/** Made once: the reference with its libraries and ed25519. */
export async function makeSignedReference(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'sealroot-reference-'));
  await referenceFiles(folder, { ed25519: true });
  return folder;
}

/** Runs it over the disk, the policy and the keys of the rig, once. */
export function referenceVerdict(rig: Rig, reference: string): ReferenceVerdict {
  const { folder } = rig;
  execFileSync('cp', ['-al', `${reference}/.`, folder]);
  const policy = join(folder, 'usr/lib/sealroot/prepare-root.conf');
  if (existsSync(policy)) linkSync(policy, join(folder, 'usr/lib/ostree/prepare-root.conf'));
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', SCRIPT, 'sh', folder];
  const said = execFileSync('unshare', args, { encoding: 'utf8', timeout: 60_000 });
  const status = Number(/^status (\d+)$/m.exec(said)?.[1]);
  const signal = 128;
  if (status > signal) return 'crashes';
  if (/composefs: failed to mount: fsverity not enabled on composefs image$/m.test(said)) return 'accepts';
  if (status === 0 || said.includes('Using legacy ostree bind mount')) return 'unsealed';
  if (status !== 1 || !/^ostree-prepare-root: /m.test(said))
    throw new Error(`odd words of the reference: ${said}`);
  return 'refuses';
}
