/**
 * QuickJS as it is compiled here: Debian's sources with runtime/quickjs.patch, which includes runtime/shortcuts.h and calls
 * what stands in it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { systemError } from '../src/formats/errors.ts';
import { ensureCached } from '../tools/cache.ts';
import { QUICKJS_VERSION, quickjsSource } from './quickjs-source.ts';

const RUNTIME = path.join(import.meta.dirname, 'runtime');
const PATCH = path.join(RUNTIME, 'quickjs.patch');
const SHORTCUTS = path.join(RUNTIME, 'shortcuts.h');

/** The folder of the patched sources. */
export async function patchedQuickjs(): Promise<string> {
  const original = await quickjsSource();
  const names = (await readdir(original)).filter((name) => /\.[ch]$/.test(name)).sort();
  const sources = [...names.map((name) => path.join(original, name)), SHORTCUTS];
  const hash = createHash('sha256');
  for (const file of [...sources, PATCH]) hash.update(await readFile(file));
  return await ensureCached({
    kind: 'quickjs',
    name: `${QUICKJS_VERSION}-patched`,
    recipe: { files: hash.digest('hex') },
    build: async (temporary) => {
      await mkdir(temporary, { recursive: true });
      for (const file of sources) await copyFile(file, path.join(temporary, path.basename(file)));
      applyPatch(temporary, await readFile(PATCH));
    },
    discard: (temporary) => rm(temporary, { recursive: true, force: true }),
  });
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
