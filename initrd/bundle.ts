/**
 * TypeScript -> the two scripts that become bytecode, without a module system: what QuickJS needs no promise to run.
 *
 * The first is the program. The second, `seldom.ts` and what only it imports, is read when something asks for it (load.ts):
 * reading bytecode costs every boot, and most boots succeed the usual way. What both use is in the first, which hands it
 * over: `shared.ts` is written here, as the list of that.
 *
 * The program is functions within functions, each with some of the modules, and those that the inner ones use outside. For
 * each variable of the same function that a new function uses, QuickJS looks through all those that others use already; a
 * variable from further out it just takes. In one scope of all modules that was a seventh of the time before the first line.
 */

import path from 'node:path';
import { type BuildOptions, type BuildResult, build, type Metafile, type Plugin, transform } from 'esbuild';
import { lowered } from './lowering.ts';

const PROJECT = path.join(import.meta.dirname, '..');
const SELDOM = 'initrd/seldom.ts';
const SHARED = 'initrd/shared.ts';
/** In the place of src/formats/byte-strings.ts. */
const BYTE_STRINGS = 'initrd/byte-strings.ts';
/** With what they import, from outside to inside; then the formats, and inside them the rest. */
const OUTERMOST = [BYTE_STRINGS, 'initrd/sys.ts', 'src/formats/curves.ts'];

export interface Scripts {
  readonly program: string;
  /** Its value is a function: what is shared -> the exports of seldom.ts. Empty for a program that asks for nothing. */
  readonly seldom: string;
}

/** `entry` is the program's path in the project. */
export async function bundleScripts(entry: string): Promise<Scripts> {
  const first = await run({ entryPoints: [entry], format: 'esm' });
  const inputs = Object.values(first.metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  const own = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([name]) => name);
  const exported = await exportsOf(own);
  const levels = levelsOf(own, first.metafile);
  if (!own.includes(SHARED)) return { program: await bundleLevels(entry, levels, exported, []), seldom: '' };
  const { text, shared } = await bundleSeldom(exported);
  const sharing = replacing(SHARED, sharingModule(shared));
  return { program: await bundleLevels(entry, levels, exported, [sharing]), seldom: text };
}

interface Export {
  /** The module's path in the project. */
  readonly module: string;
  readonly name: string;
}

/** What each module exports, by its path. */
async function exportsOf(modules: readonly string[]): Promise<Export[]> {
  const { metafile } = await run({ entryPoints: [...modules], format: 'esm', outdir: '/' });
  return Object.values(metafile.outputs).flatMap(({ entryPoint: module, exports }) =>
    module === undefined ? [] : exports.map((name) => ({ module, name })),
  );
}

/** A level imports from those before it only. */
function levelsOf(modules: readonly string[], { inputs }: Metafile): string[][] {
  const reached = (from: string, found = new Set<string>()): Set<string> => {
    if (!found.has(from)) {
      found.add(from);
      for (const { path: next } of inputs[from]?.imports ?? []) reached(next, found);
    }
    return found;
  };
  const rank = (module: string): number => {
    const at = OUTERMOST.findIndex((root) => reached(root).has(module));
    if (at >= 0) return at;
    return module.startsWith('src/formats/') ? OUTERMOST.length : OUTERMOST.length + 1;
  };
  const ranks = [...new Set(modules.map(rank))].sort((a, b) => a - b);
  return ranks.map((wanted) => modules.filter((module) => rank(module) === wanted));
}

const LEVEL = 'level:outside';

/** From inside to outside, since the inner levels decide what the outer ones have to give. */
async function bundleLevels(
  entry: string,
  levels: readonly string[][],
  exported: readonly Export[],
  plugins: Plugin[],
): Promise<string> {
  const variable = (of: Export) => `$${exported.indexOf(of)}`;
  const standIns = (of: readonly string[]) =>
    of.map((module) => {
      const names = exported.filter((other) => other.module === module);
      const list = names.map((one) => `${variable(one)} as ${one.name}`);
      return replacing(module, `export { ${list.join(', ')} } from '${LEVEL}';`);
    });
  let program = '';
  let wanted = new Set<string>();
  for (let at = levels.length - 1; at >= 0; at--) {
    const given = exported.filter((one) => wanted.has(variable(one)) && levels[at]?.includes(one.module));
    const contents = given
      .map(
        (one) =>
          `export { ${one.name} as ${variable(one)} } from ${JSON.stringify(path.join(PROJECT, one.module))};`,
      )
      .join('\n');
    const source: BuildOptions =
      at === levels.length - 1
        ? { entryPoints: [entry] }
        : { stdin: { contents, resolveDir: PROJECT, loader: 'ts' } };
    const outside = levels.slice(0, at).flat();
    const result = await run({
      ...source,
      format: 'esm',
      // Numbers take the place of constants while these are constants still.
      minifySyntax: true,
      plugins: [leaving(LEVEL), ...plugins, ...standIns(outside)],
    });
    const { body, imported } = withoutModules(textOf(result));
    wanted = new Set([...wanted, ...imported]);
    program = `(() => {\n${body}\n${program}\n})();`;
  }
  const minified = await transform(program, { minify: true, target: 'es2023', legalComments: 'none' });
  return await lowered(minified.code);
}

/** An ES module as statements: its exports become variables, its imports those of a function around it. */
function withoutModules(text: string): { body: string; imported: string[] } {
  const imported: string[] = [];
  const names = (list: string) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
  const body = text
    .replaceAll(/^import\s*\{([^}]*)\}\s*from\s*"level:outside";$/gm, (_, list: string) => {
      imported.push(...names(list));
      return '';
    })
    .replaceAll(/^export\s*\{([^}]*)\};$/gm, (_, list: string) =>
      names(list)
        .map((name) => name.split(' as '))
        .map(([from, to]) => `var ${to} = ${from};`)
        .join('\n'),
    );
  // esbuild lists all that the stand-in of a module has.
  const used = new Set(body.match(/\$\d+\b/g));
  const odd = imported.find((name) => !/^\$\d+$/.test(name)) ?? /^(?:import|export)\b.*/m.exec(body)?.[0];
  if (odd !== undefined) throw new Error(`cannot take a module apart: ${odd}`);
  return { body, imported: imported.filter((name) => used.has(name)) };
}

/** The modules of the program stand in for themselves by one call of `take` for each export; unused ones fall away. */
async function bundleSeldom(exported: readonly Export[]): Promise<{ text: string; shared: Export[] }> {
  const modules = [...new Set(exported.map(({ module }) => module))];
  const standIns = modules.map((module) => {
    const lines = exported.flatMap((one, at) =>
      one.module === module ? [`export const ${one.name} = /* @__PURE__ */ take(${at});`] : [],
    );
    return replacing(module, lines.join('\n'));
  });
  const result = await run({
    entryPoints: [SELDOM],
    format: 'iife',
    minify: true,
    plugins: standIns,
    globalName: 'seldom',
    banner: { js: '(take=>{' },
    footer: { js: 'return seldom})' },
  });
  const text = await lowered(textOf(result));
  const taken = [...new Set([...text.matchAll(/\btake\((\d+)\)/g)].map(([, at]) => Number(at)))];
  return {
    text: text.replaceAll(/\btake\((\d+)\)/g, (_, at: string) => `take[${taken.indexOf(Number(at))}]`),
    shared: taken.map((at) => exported[at] as Export),
  };
}

/** shared.ts as it is in the program. */
function sharingModule(shared: readonly Export[]): string {
  const imports = shared.map(
    ({ module, name }, at) =>
      `import { ${name} as s${at} } from ${JSON.stringify(path.join(PROJECT, module))};`,
  );
  return `${imports.join('\n')}\nexport const shared = () => [${shared.map((_, at) => `s${at}`).join(',')}];`;
}

function replacing(module: string, contents: string): Plugin {
  const filter = new RegExp(`^${path.join(PROJECT, module).replaceAll(/[^\w/]/g, '\\$&')}$`);
  return {
    name: `replacing ${module}`,
    setup({ onLoad }) {
      onLoad({ filter }, () => ({
        contents,
        loader: 'ts',
        resolveDir: path.dirname(path.join(PROJECT, module)),
      }));
    },
  };
}

/** Whatever imports the loops over bytes gets those of the runtime. */
const inC: Plugin = {
  name: 'byte strings in C',
  setup({ onResolve }) {
    onResolve({ filter: /\/byte-strings\.ts$/ }, () => ({ path: path.join(PROJECT, BYTE_STRINGS) }));
  },
};

/** Imports of that name stay where they are used. */
function leaving(name: string): Plugin {
  return {
    name: `leaving ${name}`,
    setup({ onResolve }) {
      onResolve({ filter: new RegExp(`^${name}$`) }, () => ({
        path: name,
        external: true,
        sideEffects: false,
      }));
    },
  };
}

async function run({ plugins = [], ...options }: BuildOptions) {
  return await build({
    plugins: [...plugins, inC],
    absWorkingDir: PROJECT,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'neutral',
    target: 'es2023',
    legalComments: 'none',
    mainFields: ['module', 'main'],
    ...options,
  } as BuildOptions & { metafile: true; write: false });
}

function textOf({ outputFiles }: BuildResult<{ write: false }>): string {
  return outputFiles[0]?.text ?? '';
}
