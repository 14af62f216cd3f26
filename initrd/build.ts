/**
 * `npm run build:initrd`: TypeScript -> two scripts (bundle.ts) -> stripped bytecode (a compiler built here from the
 * same QuickJS sources) -> one static musl binary, .cache/initrd/sealroot-prepare-root. Two builds in different
 * folders give the same bytes: every path that a compiler sees is relative to its source folder.
 */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { systemError } from '../src/formats/errors.ts';
import { withLock } from '../tools/cache.ts';
import { bundleScripts, type Scripts } from './bundle.ts';
import { patchedQuickjs } from './patched-quickjs.ts';
import { QUICKJS_VERSION } from './quickjs-source.ts';

const run = promisify(execFile);

const RUNTIME = path.join(import.meta.dirname, 'runtime');
const OUTPUT = path.join(import.meta.dirname, '../.cache/initrd');
export const BINARY_NAME = 'sealroot-prepare-root';

const QUICKJS_FILES = ['quickjs.c', 'libregexp.c', 'libunicode.c', 'cutils.c', 'dtoa.c'];
const RUNTIME_FILES = ['main.c', 'sys.c', 'bytes.c', 'objects.c', 'slab.c', 'sha2.c'];
/** Compiled for size, but for the functions that hot.h names. */
const HOT_FUNCTIONS = path.join(RUNTIME, 'hot.h');
/** Small, and the program spends its time there: compiled for speed. */
const HOT_FILES = ['bytes.c', 'slab.c', 'sha2.c'];

/** -fwrapv is what QuickJS is written for. */
const C_FLAGS = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  `-DCONFIG_VERSION="${QUICKJS_VERSION}"`,
  '-DNDEBUG',
  '-fwrapv',
  '-w',
];
const OWN_C_FLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror'];
const TARGET_FLAGS = [
  '-Os',
  '-ffunction-sections',
  '-fdata-sections',
  '-fno-asynchronous-unwind-tables',
  '-fno-pie',
];
const LINK_FLAGS = [
  '-static',
  '-no-pie',
  '-s',
  '-Wl,--gc-sections,--build-id=none,-z,noseparate-code,-z,norelro',
];

interface Unit {
  readonly compiler: string;
  readonly folder: string;
  readonly file: string;
  readonly flags: readonly string[];
}

/** Builds and returns the path of the binary, in `output`; what was compiled before is taken from there. */
export async function buildPrepareRoot(output = OUTPUT): Promise<string> {
  return await buildForInitramfs('initrd/prepare-root.ts', BINARY_NAME, output);
}

/** Builds a program (its path in the project) for the runtime of the initramfs, under a name of its own. */
export async function buildForInitramfs(entry: string, name: string, output = OUTPUT): Promise<string> {
  return await withLock(path.join(output, 'lock'), async () => {
    const quickjs = await patchedQuickjs();
    const objects = path.join(output, 'objects');
    await mkdir(objects, { recursive: true });
    const scripts = await bundleScripts(entry);
    const units: Unit[] = [
      ...QUICKJS_FILES.map((file) => targetUnit(quickjs, file, quickjsFlags(file))),
      ...RUNTIME_FILES.map((file) => targetUnit(RUNTIME, file, runtimeFlags(file, quickjs))),
    ];
    // Nearly all of the time goes into QuickJS's largest file, compiled for the bytecode compiler and for the target.
    const [bytecode, fixed] = await settled(
      compileScripts(scripts, quickjs, objects),
      compileAll(units, objects),
    );
    const compiled = [...fixed, ...bytecode];
    const binary = path.join(output, name);
    const temporary = `${binary}.partial`;
    await tool('musl-gcc', [...LINK_FLAGS, '-o', temporary, ...compiled, '-lm'], objects);
    await rename(temporary, binary);
    return binary;
  });
}

/** Faults that these find end the program. */
const WATCH_FLAGS = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/** QuickJS counts the leading zeros of 0, which UBSan does not let pass. */
const ENGINE_WATCH_FLAGS = ['-g', '-fsanitize=address', '-UNDEBUG'];

interface Watched {
  /** In the place of slab.c, of whose blocks they could not tell one from the next. */
  readonly allocator: string;
  /** In the place of main.c. */
  readonly main?: string;
  /** QuickJS too, by AddressSanitizer and its own assertions. */
  readonly engine?: boolean;
}

/**
 * The same for this machine's C library, with the runtime's own files watched by AddressSanitizer and UBSan. What stands in
 * the place of some is named by the path of a C file.
 */
export async function buildWatched(
  entry: string,
  name: string,
  { allocator, main = path.join(RUNTIME, 'main.c'), engine = false }: Watched,
  output = OUTPUT,
): Promise<string> {
  return await withLock(path.join(output, 'lock'), async () => {
    const quickjs = await patchedQuickjs();
    const objects = path.join(output, 'objects');
    await mkdir(objects, { recursive: true });
    const watched = (file: string): Unit => {
      const flags = [...OWN_C_FLAGS, ...WATCH_FLAGS, '-isystem', quickjs];
      return { compiler: 'gcc', folder: path.dirname(file), file: path.basename(file), flags };
    };
    const replaced = ['main.c', 'slab.c'];
    const own = RUNTIME_FILES.filter((file) => !replaced.includes(file)).map((file) =>
      path.join(RUNTIME, file),
    );
    const units = [
      ...hostUnits(quickjs, engine ? ENGINE_WATCH_FLAGS : []),
      ...[...own, main, allocator].map((file) => watched(path.resolve(file))),
    ];
    const compiled = await compileAll(units, objects);
    const bytecode = await compileScripts(await bundleScripts(entry), quickjs, objects);
    const binary = path.join(output, name);
    const flags = ['-fsanitize=address,undefined', '-o', `${binary}.partial`];
    await tool('gcc', [...flags, ...compiled, ...bytecode, '-lm', '-lpthread'], objects);
    await rename(`${binary}.partial`, binary);
    return binary;
  });
}

/** Rejects when neither runs any more: the lock has to outlive every file that is half written. */
async function settled<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return await Promise.all([one, other]);
}

function quickjsFlags(file: string): string[] {
  return file === 'quickjs.c' ? [...C_FLAGS, '-isystem', '.', '-include', HOT_FUNCTIONS] : C_FLAGS;
}

function runtimeFlags(file: string, quickjs: string): string[] {
  return [...OWN_C_FLAGS, ...(HOT_FILES.includes(file) ? ['-O2'] : []), '-isystem', quickjs];
}

function targetUnit(folder: string, file: string, flags: readonly string[]): Unit {
  return { compiler: 'musl-gcc', folder, file, flags: [...TARGET_FLAGS, ...flags] };
}

/** QuickJS for this machine. */
function hostUnits(quickjs: string, more: readonly string[] = []): Unit[] {
  const flags = ['-O1', ...C_FLAGS, ...more];
  return QUICKJS_FILES.map((file) => ({ compiler: 'gcc', folder: quickjs, file, flags }));
}

async function buildCompiler(quickjs: string, objects: string): Promise<string> {
  const units: Unit[] = [
    ...hostUnits(quickjs),
    {
      compiler: 'gcc',
      folder: RUNTIME,
      file: 'compile.c',
      flags: ['-O1', ...OWN_C_FLAGS, '-isystem', quickjs],
    },
  ];
  const compiled = await compileAll(units, objects);
  const compiler = path.join(objects, `compile-${hashOf(...compiled)}`);
  if (!existsSync(compiler)) {
    await tool('gcc', ['-o', `${compiler}.partial`, ...compiled, '-lm', '-lpthread'], objects);
    await rename(`${compiler}.partial`, compiler);
  }
  return compiler;
}

/** The objects of the scripts, by a compiler that is itself built first. */
async function compileScripts(scripts: Scripts, quickjs: string, objects: string): Promise<string[]> {
  const compiler = await buildCompiler(quickjs, objects);
  const units: Unit[] = [];
  for (const [script, text] of Object.entries(scripts)) {
    units.push(targetUnit(objects, await compileScript(script, text, compiler, objects), []));
  }
  return await compileAll(units, objects);
}

/** The name, in `objects`, of a C file that holds the bytecode of a script, which is called `script` there. */
async function compileScript(
  script: string,
  text: string,
  compiler: string,
  objects: string,
): Promise<string> {
  const name = `bytecode-${hashOf(script, text, compiler)}.c`;
  const file = path.join(objects, name);
  if (existsSync(file)) return name;
  const child = run(compiler, [script], { maxBuffer: 64 << 20, timeout: 60_000 });
  child.child.stdin?.end(text);
  const { stdout } = await child.catch((error: unknown) => {
    throw systemError('build-failed', `cannot compile the program to bytecode: ${detailOf(error)}`);
  });
  await writeFile(`${file}.partial`, stdout);
  await rename(`${file}.partial`, file);
  return name;
}

async function compileAll(units: readonly Unit[], objects: string): Promise<string[]> {
  const compiled: string[] = [];
  for (const unit of units) compiled.push(await compile(unit, objects));
  return compiled;
}

/** The object of one file, from `objects` when its recipe is unchanged: compiler, flags, and every source beside it. */
async function compile(unit: Unit, objects: string): Promise<string> {
  const version = await tool('gcc', ['--version'], unit.folder);
  const neighbours = (await readdir(unit.folder)).filter((name) => name.endsWith('.h')).sort();
  const sources = await Promise.all(
    [HOT_FUNCTIONS, ...[unit.file, ...neighbours].map((name) => path.join(unit.folder, name))].map((name) =>
      readFile(name, 'utf8'),
    ),
  );
  // Where the QuickJS sources lie does not change what is compiled.
  const flags = unit.flags.map((flag) => (flag.startsWith('/') ? QUICKJS_VERSION : flag));
  const hash = hashOf(version, unit.compiler, ...flags, unit.file.replace(/^bytecode-.*/, ''), ...sources);
  const name = `${path.basename(unit.file, '.c').replace(/^bytecode-.*/, 'bytecode')}-${hash}.o`;
  const object = path.join(objects, name);
  if (!existsSync(object)) {
    const temporary = `${object}.partial`;
    await tool(unit.compiler, ['-c', ...unit.flags, '-o', temporary, unit.file], unit.folder);
    await rename(temporary, object);
  }
  return object;
}

/** Returns what the tool printed. */
async function tool(command: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    return (await run(command, args, { cwd, timeout: 600_000, maxBuffer: 16 << 20 })).stdout;
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw systemError(
      'build-failed',
      `cannot run ${command}: ${detailOf(error)}`,
      missing ? 'install build-essential and musl-tools' : undefined,
    );
  }
}

function detailOf(error: unknown): string {
  const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  return stderr || (error instanceof Error ? error.message : String(error));
}

function hashOf(...parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex').slice(0, 16);
}

if (process.argv[1] === import.meta.filename) {
  const binary = await buildPrepareRoot();
  const { size } = await stat(binary);
  process.stdout.write(`${path.relative(process.cwd(), binary)} ${size} bytes\n`);
}
