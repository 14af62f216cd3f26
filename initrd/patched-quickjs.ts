/**
 * QuickJS as it is compiled here: Debian's sources with runtime/quickjs.patch, which includes runtime/shortcuts.h and calls
 * what stands in it. The patched sources lie in a folder named by all that they are made from.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { systemError } from '../src/formats/errors.ts';
import { quickjsSource } from './quickjs-source.ts';

const RUNTIME = path.join(import.meta.dirname, 'runtime');
const PATCH = path.join(RUNTIME, 'quickjs.patch');
const SHORTCUTS = path.join(RUNTIME, 'shortcuts.h');

/** The folder of the sources, in `output`; to be called by one process at a time. */
export async function patchedQuickjs(output: string): Promise<string> {
  const original = await quickjsSource();
  const files = (await readdir(original)).filter((name) => /\.[ch]$/.test(name)).sort();
  const hash = createHash('sha256');
  for (const file of [...files.map((name) => path.join(original, name)), PATCH, SHORTCUTS]) {
    hash.update(await readFile(file));
  }
  const folder = path.join(output, `quickjs-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(folder)) return folder;
  const temporary = `${folder}.partial`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  for (const file of files) await cp(path.join(original, file), path.join(temporary, file));
  await copyFile(SHORTCUTS, path.join(temporary, path.basename(SHORTCUTS)));
  applyPatch(temporary, await readFile(PATCH));
  await rename(temporary, folder);
  return folder;
}

/** A hunk that does not stand exactly where it was made is an error. */
function applyPatch(folder: string, patch: Uint8Array): void {
  const args = [
    '--strip=1',
    '--fuzz=0',
    '--silent',
    '--batch',
    '--no-backup-if-mismatch',
    '--directory',
    folder,
  ];
  const { error, status, stdout } = spawnSync('patch', args, { input: patch, encoding: 'utf8' });
  if (error === undefined && status === 0) return;
  throw systemError(
    'build-failed',
    `cannot patch QuickJS: ${error?.message ?? stdout.trim()}`,
    error === undefined ? undefined : 'install build-essential',
  );
}
