/**
 * `npm run bench [-- [--json] [--svg FILE] [PART...]]`: figures of sealroot beside those of what it replaces, as tables,
 * or as JSON for scripts; FILE gets the ratios of the images as a picture. Parts: binary, guest, rebuild, boot,
 * initramfs, images, growth, disk; all of them without one. Runs alternate, nothing is asserted, and wall times mean
 * something only on an idle machine: the load stands beside them. Instructions and sizes do not depend on it.
 */
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { CACHE_DIR } from '../../tools/cache.ts';
import { startAlternation } from './alternation.ts';
import { bootRows } from './boot.ts';
import { ratioChart } from './chart.ts';
import { diskRows } from './disk.ts';
import { bytes, formatTable, type Row } from './figures.ts';
import { growthRows } from './growth.ts';
import { guestRows } from './guest.ts';
import { imageRows } from './images.ts';
import { initramfsRows } from './initramfs-size.ts';
import { buildMeasure } from './measure.ts';
import { rebuildRows } from './rebuild.ts';

const BINARY_LIMIT_BYTES = 520_000;

interface Prepared {
  readonly scratch: string;
  readonly measure: string;
  readonly prepareRoot: string;
}

interface Table {
  readonly title: string;
  readonly rows: readonly Row[];
}

type Part = (prepared: Prepared) => Promise<Table>;

const PARTS: Record<string, Part> = {
  async binary({ prepareRoot }) {
    const { size } = await stat(prepareRoot);
    const rows = [{ what: 'size', sealroot: bytes(size), limit: bytes(BINARY_LIMIT_BYTES) }];
    return { title: 'sealroot-prepare-root, static and stripped', rows };
  },
  async guest({ scratch, measure }) {
    return {
      title:
        'prepare-root in a guest: ours verifies a signature, ostree-prepare-root of forky (composefs.enabled=verity) none',
      rows: await guestRows(scratch, measure),
    };
  },
  async boot({ scratch }) {
    return {
      title:
        "whole boots: our unit verifies a signature, forky's ostree-prepare-root.service (composefs.enabled=verity) none",
      rows: await bootRows(scratch),
    };
  },
  async rebuild({ scratch, measure }) {
    return {
      title: 'prepare-root in a guest, building a missing image again',
      rows: await rebuildRows(scratch, measure),
    };
  },
  async initramfs({ prepareRoot }) {
    return {
      title: "initramfs: our dracut module, and trixie's ostree module (no composefs)",
      rows: await initramfsRows(prepareRoot),
    };
  },
  async images({ scratch }) {
    return {
      title: "images: reference is ostree checkout --composefs, mkcomposefs and composefs-info (forky's)",
      rows: await imageRows(await startAlternation(scratch)),
    };
  },
  async growth({ scratch }) {
    return {
      title: 'growth: the reference is sealroot itself with a tenth of the files',
      rows: await growthRows(await startAlternation(scratch)),
    };
  },
  async disk({ scratch }) {
    return {
      title: 'sealroot disk create, of an existing commit',
      rows: await diskRows(await startAlternation(scratch)),
    };
  },
};

function machine(): string {
  const load = loadavg().map((value) => value.toFixed(1));
  return `load ${load.join(' ')} on ${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}`;
}

interface Output {
  readonly json: boolean;
  readonly svg: string | undefined;
}

/** Tables come as they are ready; JSON is one value. */
async function measureParts(
  names: readonly string[],
  prepared: Prepared,
  { json, svg }: Output,
): Promise<void> {
  const before = machine();
  if (!json) process.stdout.write(`before: ${before}\n`);
  const tables: Table[] = [];
  for (const [name, part] of Object.entries(PARTS)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const table = await part(prepared);
    tables.push(table);
    if (!json) process.stdout.write(`\n${formatTable(table.title, table.rows)}`);
    if (svg !== undefined && name === 'images') await writeFile(svg, ratioChart(CHART_TITLE, table.rows));
  }
  const after = machine();
  if (json) process.stdout.write(`${JSON.stringify({ before, after, tables }, null, 2)}\n`);
  else process.stdout.write(`\nafter: ${after}\n`);
}

const CHART_TITLE =
  'Time of sealroot over time of the C tool: 20,000 files, 700 MB, medians of whole processes by turns';

async function main(argv: readonly string[]): Promise<number> {
  const options = { json: { type: 'boolean', default: false }, svg: { type: 'string' } } as const;
  const { values, positionals: names } = parseArgs({ args: [...argv], options, allowPositionals: true });
  const unknown = names.filter((name) => PARTS[name] === undefined);
  if (unknown.length > 0) {
    process.stderr.write(`no such part: ${unknown.join(' ')}; parts: ${Object.keys(PARTS).join(' ')}\n`);
    return 2;
  }
  // The base disk's initramfs is made with it, and the guests run it.
  const prepareRoot = await buildPrepareRoot();
  const folder = path.join(CACHE_DIR, 'bench');
  await mkdir(folder, { recursive: true });
  const scratch = await mkdtemp(path.join(folder, 'run-'));
  try {
    const prepared = { scratch, prepareRoot, measure: await buildMeasure(scratch) };
    await measureParts(names, prepared, { json: values.json, svg: values.svg });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
