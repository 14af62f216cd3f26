/**
 * The modules that a small initramfs must load before it can mount the root, in loading order, from the index that
 * depmod left beside them (modules.dep(5), modules.builtin).
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { runHere } from '../tools/chroots.ts';

export interface Kernel {
  /** As `uname -r` says it. */
  readonly version: string;
  /** The bootable image. */
  readonly image: string;
  /** lib/modules/VERSION. */
  readonly modulesFolder: string;
}

/** The kernel of an unpacked system whose image stands beside its modules, as ostree wants it. */
export async function kernelOfTree(root: string): Promise<Kernel> {
  const { stdout } = await runHere(['ls', '-1', path.join(root, 'usr/lib/modules')]);
  const versions = stdout.toString().trim().split('\n');
  const [version] = versions;
  if (version === undefined || version === '' || versions.length !== 1) {
    throw new Error(`cannot find the kernel of ${root}: ${versions.length} versions of modules`);
  }
  const modulesFolder = path.join(root, 'usr/lib/modules', version);
  return { version, modulesFolder, image: path.join(modulesFolder, 'vmlinuz') };
}

/** `kernel/fs/erofs/erofs.ko.xz` -> `erofs`; modprobe takes - for _. */
function moduleName(file: string): string {
  return path
    .basename(file)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

/** Files of `names` and of all they need, needed ones first; what is built in is left out. Pure: texts in, names out. */
export function moduleClosure(names: readonly string[], dependencies: string, builtin: string): string[] {
  const builtIn = new Set(builtin.split('\n').filter(Boolean).map(moduleName));
  const needs = new Map<string, { file: string; needed: string[] }>();
  for (const line of dependencies.split('\n')) {
    const [file, rest] = line.split(':');
    if (file === undefined || rest === undefined) continue;
    needs.set(moduleName(file), { file, needed: rest.split(' ').filter(Boolean).map(moduleName) });
  }
  const order: string[] = [];
  const visit = (name: string): void => {
    if (builtIn.has(name)) return;
    const module = needs.get(name);
    if (module === undefined)
      throw new Error(`cannot load module ${name}: neither in modules.dep nor built in`);
    if (order.includes(module.file)) return;
    for (const needed of module.needed) visit(needed);
    order.push(module.file);
  };
  for (const name of names) visit(name);
  return order;
}

/** Unpacked modules in loading order. */
export async function loadModules(
  kernel: Kernel,
  names: readonly string[],
): Promise<{ name: string; data: Buffer }[]> {
  const index = (name: string) => readFile(path.join(kernel.modulesFolder, name), 'utf8');
  const files = moduleClosure(names, await index('modules.dep'), await index('modules.builtin'));
  return await Promise.all(
    files.map(async (file) => ({
      name: moduleName(file),
      data: await unpack(path.join(kernel.modulesFolder, file)),
    })),
  );
}

async function unpack(file: string): Promise<Buffer> {
  if (!existsSync(file)) throw new Error(`cannot load module ${file}: no such file`);
  if (file.endsWith('.xz')) return (await runHere(['xz', '--decompress', '--stdout', file])).stdout;
  if (file.endsWith('.zst')) return (await runHere(['zstd', '--decompress', '--stdout', file])).stdout;
  return await readFile(file);
}
