/**
 * Where the QuickJS sources come from: the folder that QUICKJS_SOURCE names, or Debian's source package. The package
 * is fetched through an apt root of our own, so that the machine's sources.list needs no `deb-src` and may be of
 * another suite; apt checks every file against the archive's signed lists.
 */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { systemError } from '../src/formats/errors.ts';
import { APT_OPTIONS, sourceLine } from '../tools/apt.ts';
import { ensureCached } from '../tools/cache.ts';

const run = promisify(execFile);

/** Bytecode and runtime must be of one version, and a reproducible binary of one source. */
export const QUICKJS_VERSION = '2025-04-26';
const DEBIAN_SUITE = 'trixie';
const DEBIAN_VERSION = '2025.04.26';

const MINUTES = 60_000;

/** A folder with quickjs.c and its neighbours, of `QUICKJS_VERSION`. */
export async function quickjsSource(): Promise<string> {
  const folder = process.env.QUICKJS_SOURCE || (await ensureDebianSource());
  const version = await readFile(path.join(folder, 'VERSION'), 'utf8').catch(() => 'no VERSION file');
  if (version.trim() !== QUICKJS_VERSION || !existsSync(path.join(folder, 'quickjs.c'))) {
    throw systemError(
      'quickjs-source',
      `cannot use the QuickJS sources in ${folder}: ${version.trim()}, expected ${QUICKJS_VERSION}`,
      'let QUICKJS_SOURCE name the unpacked sources of that version, or unset it',
    );
  }
  return folder;
}

function ensureDebianSource(): Promise<string> {
  return ensureCached({
    kind: 'quickjs',
    name: QUICKJS_VERSION,
    recipe: { suite: DEBIAN_SUITE, version: DEBIAN_VERSION },
    build: fetchDebianSource,
    discard: (temporary) => rm(temporary, { recursive: true, force: true }),
  });
}

async function fetchDebianSource(target: string): Promise<void> {
  const apt = `${target}.apt`;
  await rm(apt, { recursive: true, force: true });
  await mkdir(path.join(apt, 'state/lists/partial'), { recursive: true });
  await mkdir(path.join(apt, 'cache/archives/partial'), { recursive: true });
  await writeFile(path.join(apt, 'status'), '');
  await writeFile(path.join(apt, 'sources.list'), `${await sourceLine('deb-src', DEBIAN_SUITE)}\n`);
  try {
    const options = aptOptions(apt);
    await aptGet(apt, [...options, 'update']);
    await aptGet(apt, [...options, 'source', '--download-only', 'quickjs']);
    const archive = (await readdir(apt)).find((name) => name === `quickjs_${DEBIAN_VERSION}.orig.tar.xz`);
    if (archive === undefined) {
      throw systemError(
        'quickjs-source',
        `cannot get QuickJS ${DEBIAN_VERSION}: Debian ${DEBIAN_SUITE} carries another version`,
        'let QUICKJS_SOURCE name the unpacked sources',
      );
    }
    await mkdir(target, { recursive: true });
    // Debian's patches touch the Makefile only, which is not used here.
    await run('tar', [
      '-xJf',
      path.join(apt, archive),
      '-C',
      target,
      '--strip-components=1',
      '--no-same-owner',
    ]);
  } finally {
    await rm(apt, { recursive: true, force: true });
  }
}

/** Everything that apt reads or writes is below `apt`, but for the machine's proxy settings and keyrings. */
function aptOptions(apt: string): string[] {
  const settings = [
    `Dir::State "${apt}/state"`,
    `Dir::State::status "${apt}/status"`,
    `Dir::Cache "${apt}/cache"`,
    `Dir::Etc::sourcelist "${apt}/sources.list"`,
    'Dir::Etc::sourceparts "/dev/null"',
    // apt would otherwise download as the user _apt, who may not reach the folder.
    'APT::Sandbox::User ""',
    ...APT_OPTIONS,
  ];
  return settings.flatMap((setting) => ['-o', setting.replace(' ', '=').replaceAll('"', '')]);
}

async function aptGet(cwd: string, args: readonly string[]): Promise<void> {
  try {
    await run('apt-get', ['-q', ...args], { cwd, timeout: 10 * MINUTES, maxBuffer: 16 << 20 });
  } catch (error) {
    const detail = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw systemError(
      'quickjs-source',
      `cannot get the QuickJS sources: apt-get failed: ${detail.split('\n').slice(-3).join(' ')}`,
      'let QUICKJS_SOURCE name the unpacked sources of QuickJS',
    );
  }
}
