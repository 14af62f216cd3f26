/**
 * sealroot as an OS tree carries it: /usr/lib/sealroot/node with the bundled command line and the two packages that
 * stay outside the bundle, koffi and node-gtk, the latter compiled for Debian trixie's own Node.js (its libnode is
 * not the Node.js of the machine that builds). Nothing is fetched but Debian packages: the JavaScript comes from this
 * project's node_modules.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { systemError } from '../src/formats/errors.ts';
import { bundleProgram } from './bundle.ts';
import { ensureCached } from './cache.ts';
import { ensureChroot, runIn } from './chroots.ts';

const PROJECT_ROOT = path.join(import.meta.dirname, '..');

/** Where the package lies in a tree. */
export const DEVICE_FOLDER = 'usr/lib/sealroot/node';

/** What the bundle leaves outside; see bundle.ts. */
const NATIVE_PACKAGES = ['koffi', 'node-gtk'];

/** What node-gtk compiles with; its run-time half is `DEVICE_DEPENDENCIES`. */
const BUILD_PACKAGES = [
  ...['build-essential', 'python3', 'pkg-config', 'libgirepository1.0-dev', 'libcairo2-dev'],
  ...['gir1.2-glib-2.0', 'nodejs', 'npm'],
];

/** Debian's, in the chroot. */
const NODE_GYP = '/usr/share/nodejs/node-gyp/bin/node-gyp.js';

/** Debian packages that an OS tree needs besides. */
export const DEVICE_DEPENDENCIES = [
  ...['nodejs', 'gir1.2-ostree-1.0', 'gir1.2-girepository-2.0', 'libgirepository-1.0-1', 'libcairo2'],
];

/** The chroot with compiler, npm and Node.js of the suite that the device runs. */
export async function ensureDeviceBuild(): Promise<string> {
  return await ensureChroot('device-build', { suite: 'trixie', packages: BUILD_PACKAGES });
}

/**
 * The package as a folder, made once per content of the sources and the lock file; its name can stand in the recipe
 * of whatever is made with it.
 */
export async function ensureDevicePackage(): Promise<string> {
  const modules = await ensureNativeModules();
  return await ensureCached({
    kind: 'device',
    name: 'package',
    recipe: { modules: path.basename(modules), sources: sourcesHash() },
    build: (temporary) => assemble(temporary, modules),
    discard: (temporary) => rm(temporary, { recursive: true, force: true }),
  });
}

/** Puts the package into an ordinary or an ostree tree, in place: /usr/lib/sealroot/node and /usr/bin/sealroot. */
export async function installInto(tree: string): Promise<void> {
  const target = path.join(tree, DEVICE_FOLDER);
  await mkdir(path.dirname(target), { recursive: true });
  await rm(target, { recursive: true, force: true });
  await cp(await ensureDevicePackage(), target, { recursive: true, verbatimSymlinks: true });
  const program = path.join(tree, 'usr/bin/sealroot');
  await rm(program, { force: true });
  await symlink('../lib/sealroot/node/dist/sealroot.js', program);
}

async function assemble(folder: string, modules: string): Promise<void> {
  await cp(modules, path.join(folder, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  await bundleProgram(path.join(folder, 'dist'));
  // Node.js takes .js for CommonJS unless the nearest package.json says otherwise.
  await writeFile(path.join(folder, 'package.json'), '{ "name": "sealroot", "type": "module" }\n');
}

/** A node_modules folder with the native packages and what they load at run time. */
async function ensureNativeModules(): Promise<string> {
  const chroot = await ensureDeviceBuild();
  const versions = packagesFor(NATIVE_PACKAGES).map((name) => [name, manifest(name).version]);
  return await ensureCached({
    kind: 'device',
    name: 'node_modules',
    recipe: { chroot: path.basename(chroot), versions, version: 3 },
    build: (temporary) => compileModules(temporary, chroot),
    discard: (temporary) => rm(temporary, { recursive: true, force: true }),
  });
}

async function compileModules(folder: string, chroot: string): Promise<void> {
  const work = `${folder}.work`;
  await rm(work, { recursive: true, force: true });
  try {
    for (const name of packagesFor(NATIVE_PACKAGES)) {
      const target = path.join(work, 'node_modules', name);
      await cp(path.join(PROJECT_ROOT, 'node_modules', name), target, {
        recursive: true,
        filter: (source) => !isBuildProduct(source),
      });
    }
    // Debian's node-gyp knows where Debian keeps the headers of its Node.js; the one from npm would fetch others.
    // -DNDEBUG: otherwise node-gtk writes debug lines to standard output, which belongs to results.
    await runIn(chroot, ['node', '../@mapbox/node-pre-gyp/bin/node-pre-gyp', 'rebuild'], {
      binds: [[work, '/srv']],
      cwd: '/srv/node_modules/node-gtk',
      env: { CXXFLAGS: '-DNDEBUG', JOBS: '2', npm_config_node_gyp: NODE_GYP },
      timeoutSeconds: 900,
    });
    // Ten megabytes of debugging information otherwise.
    await runIn(
      chroot,
      ['sh', '-c', 'strip --strip-unneeded node_modules/node-gtk/lib/binding/*/node_gtk.node'],
      {
        binds: [[work, '/srv']],
        cwd: '/srv',
      },
    );
    await keepRunTimeFiles(work, folder);
    // What was left out must not be missed, and the addon must be one for this Node.js.
    const load = "require('koffi'); require('node-gtk').require('GLib', '2.0')";
    await runIn(chroot, ['node', '-e', load], { binds: [[folder, '/srv/node_modules']], cwd: '/srv' });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Of the compiled node-gtk only the addon and the JavaScript: objects, sources and build tools are 40 MB. */
async function keepRunTimeFiles(work: string, folder: string): Promise<void> {
  const modules = path.join(work, 'node_modules');
  const built = readdirSync(path.join(modules, 'node-gtk/lib/binding'), {
    recursive: true,
    encoding: 'utf8',
  });
  if (!built.some((name) => name.endsWith('node_gtk.node'))) {
    throw systemError(
      'build-failed',
      `cannot build node-gtk: npm left no addon in ${modules}/node-gtk/lib/binding`,
    );
  }
  for (const name of packagesFor(NATIVE_PACKAGES, RUN_TIME_DEPENDENCIES)) {
    const from = path.join(modules, name);
    await cp(from, path.join(folder, name), {
      recursive: true,
      filter: (source) => !isBuildOnly(name, path.relative(from, source)),
    });
  }
}

/** What node-gtk loads; its other dependencies build it (node-pre-gyp, nan, node-gyp). */
const RUN_TIME_DEPENDENCIES: Readonly<Record<string, readonly string[]>> = {
  'node-gtk': [
    'lodash.camelcase',
    'lodash.isequal',
    'lodash.snakecase',
    'remove-trailing-spaces',
    'unindent',
  ],
};

function isBuildOnly(name: string, inPackage: string): boolean {
  if (name !== 'node-gtk') return false;
  const [top = ''] = inPackage.split(path.sep);
  return ['build', 'src', 'tools', 'scripts', 'binding.gyp'].includes(top);
}

function isBuildProduct(source: string): boolean {
  const inPackage = path.relative(path.join(PROJECT_ROOT, 'node_modules'), source);
  return inPackage === 'node-gtk/build' || inPackage === 'node-gtk/lib/binding';
}

interface Manifest {
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

function manifest(name: string): Manifest {
  const file = path.join(PROJECT_ROOT, 'node_modules', name, 'package.json');
  if (!existsSync(file)) throw systemError('file-missing', `cannot read ${file}: no such file`, 'run npm ci');
  return JSON.parse(readFileSync(file, 'utf8')) as Manifest;
}

/**
 * The packages and all that they depend on, by name, sorted; of optional ones those that are installed. Packages that
 * npm has put into a package's own node_modules come with it. `only` replaces a package's list of dependencies.
 */
function packagesFor(
  names: readonly string[],
  only: Readonly<Record<string, readonly string[]>> = {},
): string[] {
  const found = new Set<string>();
  const visit = (name: string): void => {
    if (found.has(name)) return;
    found.add(name);
    const { dependencies = {}, optionalDependencies = {} } = manifest(name);
    const optional = Object.keys(optionalDependencies).filter((dependency) =>
      existsSync(path.join(PROJECT_ROOT, 'node_modules', dependency)),
    );
    const needed = only[name] ?? [...Object.keys(dependencies), ...optional];
    for (const dependency of needed) {
      if (existsSync(path.join(PROJECT_ROOT, 'node_modules', dependency))) visit(dependency);
    }
  };
  for (const name of names) visit(name);
  return [...found].sort();
}

/** Over everything that the bundle is made of. */
function sourcesHash(): string {
  const hash = createHash('sha256');
  const sources = readdirSync(path.join(PROJECT_ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[ct]s?$/.test(name))
    .sort()
    .map((name) => `src/${name}`);
  for (const name of [...sources, 'package.json', 'tools/bundle.ts', 'tools/device-package.ts']) {
    hash
      .update(`${name}\0`)
      .update(readFileSync(path.join(PROJECT_ROOT, name)))
      .update('\0');
  }
  return hash.digest('hex');
}
