/**
 * Turns an ordinary root file system into what ostree commits and deploys: /etc as a default in /usr/etc, /var
 * empty and made at boot by tmpfiles.d, everything that must be writable a link into /var or /run. Reference:
 * "Adapting existing mainstream distributions" in ostree's documentation.
 */
import { chmod, lstat, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';

const LINKS: readonly (readonly [link: string, target: string])[] = [
  ['home', 'var/home'],
  ['root', 'var/roothome'],
  ['opt', 'var/opt'],
  ['srv', 'var/srv'],
  ['mnt', 'var/mnt'],
  ['media', 'run/media'],
  ['usr/local', '../var/usrlocal'],
  ['ostree', 'sysroot/ostree'],
];

const EMPTY_FOLDERS = ['sysroot', 'boot', 'tmp', 'proc', 'sys', 'dev', 'run', 'var'];

/** Targets of the links above that no package brings a tmpfiles.d line for. */
const VAR_FOLDERS = [
  'd /var/home 0755 root root -',
  'd /var/roothome 0700 root root -',
  'd /var/opt 0755 root root -',
  'd /var/srv 0755 root root -',
  'd /var/mnt 0755 root root -',
  'd /var/usrlocal 0755 root root -',
  ...['bin', 'etc', 'include', 'lib', 'sbin', 'share', 'src'].map(
    (name) => `d /var/usrlocal/${name} 0755 root root -`,
  ),
  'd /run/media 0755 root root -',
];

/** The package database is of no use where no package can be installed; its lists would differ with each mirror. */
const NOT_IN_VAR = ['var/lib/apt', 'var/lib/dpkg', 'var/cache/apt'];

/** Changes `tree` in place. Whoever fails in the middle throws the tree away. */
export async function toOstreeLayout(tree: string): Promise<void> {
  const at = (name: string) => path.join(tree, name);
  for (const name of NOT_IN_VAR) await rm(at(name), { recursive: true, force: true });
  await mkdir(at('usr/lib/tmpfiles.d'), { recursive: true });
  await writeFile(
    at('usr/lib/tmpfiles.d/sealroot-test-var.conf'),
    `${[...VAR_FOLDERS, ...(await varFolders(tree))].join('\n')}\n`,
  );
  for (const name of ['initrd.img', 'initrd.img.old', 'vmlinuz', 'vmlinuz.old'])
    await rm(at(name), { force: true });
  await rename(at('etc'), at('usr/etc'));
  for (const [link, target] of LINKS) {
    await rm(at(link), { recursive: true, force: true });
    await symlink(target, at(link));
  }
  for (const name of EMPTY_FOLDERS) {
    const mode = name === 'tmp' ? 0o1777 : 0o755;
    await rm(at(name), { recursive: true, force: true });
    await mkdir(at(name));
    await chmod(at(name), mode); // mkdir would apply the umask
  }
}

/** One tmpfiles.d line for each folder that the packages put into /var. */
async function varFolders(tree: string): Promise<string[]> {
  const lines: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    for (const name of (await readdir(path.join(tree, folder))).sort()) {
      const item = `${folder}/${name}`;
      const status = await lstat(path.join(tree, item));
      if (!status.isDirectory()) continue;
      const mode = (status.mode & 0o7777).toString(8).padStart(4, '0');
      lines.push(`d /${item} ${mode} ${status.uid} ${status.gid} -`);
      await visit(item);
    }
  };
  await visit('var');
  return lines;
}
