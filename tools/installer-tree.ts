/**
 * A second operating system for the oracles, beside the Debian that mmdebstrap makes: the one that Debian's installer
 * runs when it boots over the network. Debian builds it too, since no other distribution's root can be had through apt
 * or npm, but out of udebs: busybox for most programs, no dpkg, no systemd, modules for a kernel of its own, and a /dev
 * with nodes in it. Of its 1,700 different files 55 are also in Debian's own tree.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { ensureCached } from './cache.ts';
import { bootstrap, discardTree, runHere } from './chroots.ts';

const SUITE = 'trixie';
const PACKAGE = 'debian-installer-13-netboot-amd64';
const IMAGES = 'usr/lib/debian-installer/images';
const INITRD = `${IMAGES}/13/amd64/text/debian-installer/amd64/initrd.gz`;

/** Its root, with owners and device nodes; never changed. */
export async function ensureInstallerTree(): Promise<string> {
  return await ensureCached({
    kind: 'trees',
    name: 'installer',
    recipe: { suite: SUITE, package: PACKAGE, version: 1 },
    build: unpackInstaller,
    discard: discardTree,
  });
}

async function unpackInstaller(tree: string): Promise<void> {
  const unpacked = `${tree}.package`;
  await discardTree(unpacked);
  try {
    // Only unpacked: nothing in it runs here.
    const extra = ['--variant=extract', `--dpkgopt=path-exclude=/${IMAGES}/*/gtk/*`];
    await bootstrap(unpacked, { suite: SUITE, packages: [PACKAGE], extra });
    await mkdir(tree);
    const script = 'zcat "$1" | cpio --extract --make-directories --preserve-modification-time --quiet';
    await runHere(['sh', '-euc', script, 'sh', path.join(unpacked, INITRD)], { cwd: tree });
  } finally {
    await discardTree(unpacked);
  }
}
