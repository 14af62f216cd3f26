/**
 * Things that take long to make and are made once: chroots, trees, disks. Each lies at
 * `.cache/KIND/NAME-HASH`, where HASH is over its whole recipe, so that a changed recipe makes a new one and
 * a finished one is never touched again. A thing is made under a temporary name and renamed, so that what has
 * the final name is whole; a lock lets the second of two processes wait for the first.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { systemError } from '../src/formats/errors.ts';

const PROJECT_ROOT = path.join(import.meta.dirname, '..');

/** Everything that can be made again; ignored by git, safe to delete when nothing runs. */
export const CACHE_DIR = path.join(PROJECT_ROOT, '.cache');

/** Twelve hexadecimal digits over `recipe`, which must hold all that decides the outcome. */
export function recipeHash(recipe: unknown): string {
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12);
}

/** Progress for a person; standard output belongs to results. */
export function progress(text: string): void {
  process.stderr.write(`sealroot: ${text}\n`);
}

/**
 * Holds an exclusive lock on `file` while `action` runs. The lock is the kernel's (flock), kept by a child
 * that ends when this process does, however it ends: a killed build leaves no stale lock.
 */
export async function withLock<T>(file: string, action: () => Promise<T>): Promise<T> {
  await mkdir(path.dirname(file), { recursive: true });
  const holder = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo locked; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      holder.once('error', (error) =>
        reject(systemError('lock-failed', `cannot lock ${file}: ${error.message}`)),
      );
      holder.once('exit', (code) =>
        reject(systemError('lock-failed', `cannot lock ${file}: flock exited with ${code}`)),
      );
      holder.stdout.once('data', () => resolve());
    });
    holder.removeAllListeners('exit');
    return await action();
  } finally {
    holder.stdin.destroy();
    if (holder.pid !== undefined) await ended;
  }
}

export interface CachedThing {
  /** The folder below `.cache`, e.g. `chroots`. */
  kind: string;
  /** The readable half of the name, e.g. `forky`. */
  name: string;
  /** Any plain value; its hash is the other half. */
  recipe: unknown;
  /** Makes the thing at `temporary`, which does not exist yet; a rejection leaves nothing under the final name. */
  build: (temporary: string) => Promise<void>;
  /** Removes a half-made thing, and may refuse. */
  discard: (temporary: string) => Promise<void>;
}

/** The path of the finished thing; builds it first when it is not there. */
export async function ensureCached(thing: CachedThing): Promise<string> {
  const target = path.join(CACHE_DIR, thing.kind, `${thing.name}-${recipeHash(thing.recipe)}`);
  if (existsSync(target)) return target;
  return await withLock(`${target}.lock`, async () => {
    if (existsSync(target)) return target;
    const temporary = `${target}.partial`;
    // A partial one under our lock was left by a process that is gone.
    if (existsSync(temporary)) await thing.discard(temporary);
    const started = performance.now();
    progress(`making ${thing.kind}/${thing.name}, once`);
    await thing.build(temporary);
    await rename(temporary, target);
    progress(`made ${thing.kind}/${thing.name} in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    return target;
  });
}
