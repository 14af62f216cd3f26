/**
 * The reference at boot: Debian forky's ostree-prepare-root with its libraries, as an initramfs would hold them.
 * Debian builds it without ed25519: as it is, it runs with `verity`, which checks the image's fs-verity and no signature,
 * and for `composefs.enabled=signed` test/oracles/reference-ed25519.c adds what is missing.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureChroot, runHere, runIn } from '../../tools/chroots.ts';
import { type CpioEntry, directory, file } from '../../vm-tests/cpio.ts';

export const REFERENCE_PATH = '/usr/lib/ostree/ostree-prepare-root';
const ED25519_PATH = '/usr/lib/ostree/ed25519.so';
const ED25519_SOURCE = path.join(import.meta.dirname, '../oracles/reference-ed25519.c');
const POLICY_PATH = 'usr/lib/ostree/prepare-root.conf';
const POLICY = '[composefs]\nenabled=verity\n[sysroot]\nreadonly=true\n';

/** In their own chroot: what ostree-boot depends on has no place in the one that the tests compare with. */
async function ensureForkyBoot(): Promise<string> {
  return await ensureChroot('forky-boot', { suite: 'forky', packages: ['ostree-boot'] });
}

/** Copies it with its libraries to their places below `folder`, which must be empty, and makes the loader's cache there. */
async function copyReference(folder: string): Promise<void> {
  const forky = await ensureForkyBoot();
  await mkdir(path.join(folder, 'etc'), { recursive: true });
  await writeFile(path.join(folder, 'etc/ld.so.conf'), '/lib/x86_64-linux-gnu\n');
  // Lines of ldd: "NAME => /PATH (0x...)", and "/PATH (0x...)" for the loader.
  const script = `set -eu
libraries=$(ldd "$1" | sed -n 's|^[^/]*\\(/[^ ]*\\) (0x[0-9a-f]*)$|\\1|p')
cp --dereference --parents "$1" $libraries /mnt
ldconfig -r /mnt`;
  await runIn(forky, ['sh', '-c', script, 'sh', REFERENCE_PATH], { binds: [[folder, '/mnt']] });
}

/**
 * Puts it and its policy into a Debian tree, for dracut to find there with the module and the unit that the tree has (forky's
 * and trixie's differ in nothing that counts). Forky's libraries replace the tree's own. Uses `folder`, which must not exist.
 */
export async function installReference(tree: string, folder: string): Promise<void> {
  await copyReference(folder);
  for (const [from, to] of [
    ['usr', 'usr'],
    ['lib64', 'usr/lib64'],
  ] as const) {
    const argv = ['-rT', '--remove-destination', path.join(folder, from), path.join(tree, to)];
    await runHere(['cp', ...argv]);
  }
  await writeFile(path.join(tree, POLICY_PATH), POLICY);
}

/**
 * Everything it needs to run, with the loader's cache that dracut would make; uses `folder`, which must be empty. It
 * verifies signatures if `ed25519` says so.
 */
export async function referenceFiles(folder: string, { ed25519 = false } = {}): Promise<CpioEntry[]> {
  await copyReference(folder);
  if (ed25519) {
    const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-static-libgcc'];
    await runHere(['gcc', ...flags, '-o', path.join(folder, ED25519_PATH), ED25519_SOURCE]);
    await writeFile(path.join(folder, 'etc/ld.so.preload'), `${ED25519_PATH}\n`);
  }
  const entries: CpioEntry[] = [];
  const items = await readdir(folder, { recursive: true, withFileTypes: true });
  const named = items.map((item) => ({
    item,
    name: path.relative(folder, path.join(item.parentPath, item.name)),
  }));
  // Parents sort before what they hold.
  for (const { item, name } of named.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (item.isDirectory()) entries.push(directory(name));
    else if (item.isFile()) entries.push(file(name, await readFile(path.join(folder, name)), 0o755));
  }
  return [...entries, file(POLICY_PATH, POLICY)];
}
