/**
 * The programs of the package, with esbuild, one file each: Node.js starts CommonJS in half the time of modules, and
 * reads what is in one file only. Beside each is what V8 compiles of it, for the version of Node.js that builds.
 * node-gtk and koffi are native and stay packages.
 */

import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import { build, type Plugin } from 'esbuild';
import { compiledFile, scriptOf } from '../src/load-program.ts';

const ROOT = join(import.meta.dirname, '..');

/** What `sealroot` loads one of, by the names of the files that they become. */
const PROGRAMS: Readonly<Record<string, string>> = {
  'command-line': 'src/command-line.ts',
  image: 'src/image.ts',
  mkcomposefs: 'src/mkcomposefs.ts',
  'composefs-info': 'src/composefs-info.ts',
  'mount-composefs': 'src/mount-composefs.ts',
};

/** What is imported by a program when it runs becomes part of it, unless it is a program itself. */
const programsStayApart: Plugin = {
  name: 'programs-stay-apart',
  setup(bundler) {
    bundler.onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
      const name = basename(path, '.ts');
      const isProgram = PROGRAMS[name] !== undefined && join(resolveDir, path) === join(ROOT, PROGRAMS[name]);
      return kind === 'dynamic-import' && isProgram ? { path: name, namespace: 'program' } : undefined;
    });
    bundler.onLoad({ filter: /./, namespace: 'program' }, ({ path }) => ({
      contents: `
        import { join } from 'node:path';
        import { loadProgram } from './load-program.ts';
        export const { start } = loadProgram(join(__dirname, '${path}.js'));`,
      resolveDir: join(ROOT, 'src'),
    }));
  },
};

const BYTE_STRINGS = join(ROOT, 'src/adapters/byte-strings.ts');

/** The loops over bytes are those of Node.js. */
export const nativeByteStrings: Plugin = {
  name: 'native-byte-strings',
  setup(bundler) {
    bundler.onResolve({ filter: /\/byte-strings\.ts$/ }, ({ importer }) =>
      importer === BYTE_STRINGS ? undefined : { path: BYTE_STRINGS },
    );
  },
};

/**
 * Modules of Node.js that bring streams and sockets with them: loading them costs half as much time as the start of
 * Node.js, and most calls need none of them, or one.
 */
const LATE_MODULES = ['child_process', 'crypto', 'tty', 'zlib'];

/** They are loaded when something of them is asked for, whoever imports them. */
const loadedLate: Plugin = {
  name: 'loaded-late',
  setup(bundler) {
    bundler.onResolve({ filter: new RegExp(`^node:(${LATE_MODULES.join('|')})$`) }, ({ path }) => ({
      path,
      namespace: 'late',
    }));
    bundler.onLoad({ filter: /./, namespace: 'late' }, ({ path }) => ({
      contents: `
        let loaded;
        for (const name of ${JSON.stringify(Object.keys(process.getBuiltinModule(path) ?? {}))}) {
          const get = () => (loaded ??= process.getBuiltinModule('${path}'))[name];
          Object.defineProperty(exports, name, { enumerable: true, get });
        }`,
    }));
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
    entryPoints: { sealroot: join(ROOT, 'src/main.ts'), ...PROGRAMS },
    absWorkingDir: ROOT,
    outdir: folder,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    // Names stay: they stand in the stack of a defect.
    minifySyntax: true,
    minifyWhitespace: true,
    external: ['node-gtk', 'koffi'],
    plugins: [programsStayApart, nativeByteStrings, loadedLate],
    // By require(): importing CommonJS starts a parser for its exports, which takes longer than everything else.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'sealrootUrl' },
    banner: { js: `#!/usr/bin/env node\n${BANNER}` },
    legalComments: 'none',
    logLevel: 'warning',
  });
  chmodSync(join(folder, 'sealroot.js'), 0o755);
  for (const name of Object.keys(PROGRAMS)) compile(join(folder, `${name}.js`));
  await compileFileReader(folder);
}

/** All of its functions: which of them a command calls is not known, and reading them takes no time. */
function compile(file: string): void {
  const script = eagerly(() => new Script(scriptOf(file)));
  // With the flags of who loads it.
  writeFileSync(compiledFile(file), script.createCachedData());
}

function eagerly<T>(work: () => T): T {
  setFlagsFromString('--no-lazy');
  try {
    return work();
  } finally {
    setFlagsFromString('--lazy');
  }
}

/** The one native part of our own: the threads of adapters/file-ring.ts, and the calls of adapters/directory-list.ts. */
export async function compileFileReader(folder: string): Promise<string> {
  const library = join(folder, 'file-reader.so');
  const sources = ['file-reader', 'directory-list', 'metadata-table', 'object-tables', 'sha256-lanes'].map(
    (name) => `src/adapters/native/${name}.c`,
  );
  const language = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
  // Node.js unloads libraries when it exits, from under the threads that still run.
  const target = ['-O2', '-fPIC', '-shared', '-pthread', '-s', '-Wl,-z,nodelete'];
  await promisify(execFile)('gcc', [...language, ...target, '-o', library, ...sources, '-lz'], { cwd: ROOT });
  return library;
}
