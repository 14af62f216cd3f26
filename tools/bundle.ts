/**
 * The programs of the package, with esbuild, one file each: Node.js starts CommonJS in half the time of modules, and
 * reads what is in one file only. node-gtk and koffi are native and stay packages.
 */

import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { build, type Plugin } from 'esbuild';

const ROOT = join(import.meta.dirname, '..');

/** By the name of the file that they become. */
const PROGRAMS: Readonly<Record<string, string>> = {
  sealroot: 'src/main.ts',
  'command-line': 'src/command-line.ts',
  'composefs-tools': 'src/composefs-tools.ts',
};

/** What a program imports when it runs is a program, too, if it is one; else it becomes part of the importing one. */
const programsStayApart: Plugin = {
  name: 'programs-stay-apart',
  setup(bundler) {
    bundler.onResolve({ filter: /^\./ }, ({ kind, path }) => {
      const name = basename(path, '.ts');
      return kind === 'dynamic-import' && PROGRAMS[name] !== undefined
        ? { path: `./${name}.js`, external: true }
        : undefined;
    });
  },
};

/** The place of the running file, which CommonJS calls otherwise. */
const BANNER = `const sealrootUrl = require('node:url').pathToFileURL(__filename).href;`;

/**
 * Writes the executable `sealroot.js` and what belongs to it into a folder; it has to be below the project, where node
 * finds the packages.
 */
export async function bundleProgram(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  // The package itself is one of modules.
  writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }\n');
  await build({
    entryPoints: Object.fromEntries(Object.entries(PROGRAMS).map(([name, file]) => [name, join(ROOT, file)])),
    outdir: folder,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    // Names stay: they stand in the stack of a defect.
    minifySyntax: true,
    minifyWhitespace: true,
    external: ['node-gtk', 'koffi'],
    plugins: [programsStayApart],
    // By require(): importing CommonJS starts a parser for its exports, which takes longer than everything else.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'sealrootUrl' },
    banner: { js: `#!/usr/bin/env node\n${BANNER}` },
    legalComments: 'none',
    logLevel: 'warning',
  });
  chmodSync(join(folder, 'sealroot.js'), 0o755);
  await compileFileReader(folder);
}

/** The one native part of our own: the threads of adapters/file-ring.ts. */
export async function compileFileReader(folder: string): Promise<string> {
  const library = join(folder, 'file-reader.so');
  const source = 'src/adapters/native/file-reader.c';
  const language = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
  // Node.js unloads libraries when it exits, from under the threads that still run.
  const target = ['-O2', '-fPIC', '-shared', '-pthread', '-s', '-Wl,-z,nodelete'];
  await promisify(execFile)('gcc', [...language, ...target, '-o', library, source, '-lz'], { cwd: ROOT });
  return library;
}
