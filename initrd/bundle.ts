/**
 * TypeScript -> the two scripts that become bytecode. The first is the program. The second, `seldom.ts` and what only it
 * imports, is read when something asks for it (load.ts): reading bytecode costs every boot, and most boots succeed the
 * usual way. What both use is in the first, which hands it over: `shared.ts` is written here, as the list of that.
 *
 * One file each, without a module system: what QuickJS needs no promise to run.
 */

import path from 'node:path';
import { type BuildOptions, type BuildResult, build, type Plugin } from 'esbuild';

const PROJECT = path.join(import.meta.dirname, '..');
const SELDOM = 'initrd/seldom.ts';
const SHARED = 'initrd/shared.ts';
const APART = 'src/formats/curves.ts';

export interface Scripts {
  readonly program: string;
  /** Its value is a function: what is shared -> the exports of seldom.ts. Empty for a program that asks for nothing. */
  readonly seldom: string;
}

/** `entry` is the program's path in the project. */
export async function bundleScripts(entry: string): Promise<Scripts> {
  const apart = replacing(APART, await bundleApart());
  const first = await bundle(entry, [apart]);
  const inputs = Object.entries(first.metafile.outputs).flatMap(([, output]) =>
    Object.entries(output.inputs),
  );
  const own = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([name]) => name);
  if (!own.includes(SHARED)) return { program: textOf(first), seldom: '' };
  const { text, shared } = await bundleSeldom(await exportsOf(own));
  return { program: textOf(await bundle(entry, [apart, replacing(SHARED, sharing(shared))])), seldom: text };
}

/**
 * A module in a function of its own, with all it imports: to make a function QuickJS looks for each variable that it uses
 * among all those of its scope that others use already, one after the other. Half as many take a quarter of the time.
 */
async function bundleApart(): Promise<string> {
  const result = await bundle(APART, [], { globalName: 'apart' });
  const [names = []] = [...(await exportsOf([APART])).values()];
  return `${textOf(result)}\nexport const { ${names.join(', ')} } = apart;`;
}

interface Export {
  /** The module's path in the project. */
  readonly module: string;
  readonly name: string;
}

/** What each module exports, by its path. */
async function exportsOf(modules: readonly string[]): Promise<Map<string, string[]>> {
  const { metafile } = await run({ entryPoints: [...modules], format: 'esm', outdir: '/', minify: false });
  return new Map(
    Object.values(metafile.outputs).flatMap(({ entryPoint, exports }) =>
      entryPoint === undefined ? [] : [[entryPoint, exports]],
    ),
  );
}

/** The modules of the program stand in for themselves by one call of `take` for each export; unused ones fall away. */
async function bundleSeldom(
  modules: ReadonlyMap<string, string[]>,
): Promise<{ text: string; shared: Export[] }> {
  const known: Export[] = [...modules].flatMap(([module, names]) => names.map((name) => ({ module, name })));
  const standIns = [...modules].map(([module, names]) =>
    replacing(
      module,
      names
        .map((name) => {
          const at = known.findIndex((other) => other.module === module && other.name === name);
          return `export const ${name} = /* @__PURE__ */ take(${at});`;
        })
        .join('\n'),
    ),
  );
  const text = textOf(
    await bundle(SELDOM, standIns, {
      globalName: 'seldom',
      banner: { js: '(take=>{' },
      footer: { js: 'return seldom})' },
    }),
  );
  const taken = [...new Set([...text.matchAll(/\btake\((\d+)\)/g)].map(([, at]) => Number(at)))];
  return {
    text: text.replaceAll(/\btake\((\d+)\)/g, (_, at: string) => `take[${taken.indexOf(Number(at))}]`),
    shared: taken.map((at) => known[at] as Export),
  };
}

/** shared.ts as it is in the program. */
function sharing(shared: readonly Export[]): string {
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

async function bundle(entry: string, plugins: Plugin[], options: BuildOptions = {}) {
  return await run({ entryPoints: [entry], format: 'iife', minify: true, plugins, ...options });
}

async function run(options: BuildOptions) {
  return await build({
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
