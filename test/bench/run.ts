/**
 * `npm run bench [-- PART...]`: figures of sealroot beside those of what it replaces, as tables. Parts: binary, guest,
 * initramfs, images, disk; all of them without one. Runs alternate, nothing is asserted, and wall times mean something only
 * on an idle machine: the load stands beside them. Instructions and sizes do not depend on it.
 */
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { CACHE_DIR } from '../../tools/cache.ts';
import { startAlternation } from './alternation.ts';
import { diskRows } from './disk.ts';
import { bytes, formatTable, type Row } from './figures.ts';
import { guestRows } from './guest.ts';
import { imageRows } from './images.ts';
import { initramfsRows } from './initramfs-size.ts';
import { buildMeasure } from './measure.ts';

const BINARY_LIMIT_BYTES = 450_000;

interface Prepared {
  readonly scratch: string;
  readonly measure: string;
  readonly prepareRoot: string;
}

type Part = (prepared: Prepared) => Promise<void>;

const PARTS: Record<string, Part> = {
  async binary({ prepareRoot }) {
    const { size } = await stat(prepareRoot);
    show('sealroot-prepare-root, static and stripped', [
      { what: 'size', sealroot: bytes(size), limit: bytes(BINARY_LIMIT_BYTES) },
    ]);
  },
  async guest({ scratch, measure }) {
    show(
      'prepare-root in a guest: ours verifies a signature, ostree-prepare-root of forky (composefs.enabled=verity) none',
      await guestRows(scratch, measure),
    );
  },
  async initramfs({ prepareRoot }) {
    show(
      "initramfs: our dracut module, and trixie's ostree module (no composefs)",
      await initramfsRows(prepareRoot),
    );
  },
  async images({ scratch }) {
    show(
      "images: reference is ostree checkout --composefs, mkcomposefs and composefs-info (forky's)",
      await imageRows(await startAlternation(scratch)),
    );
  },
  async disk({ scratch }) {
    show('sealroot disk create, of an existing commit', await diskRows(await startAlternation(scratch)));
  },
};

function show(title: string, rows: readonly Row[]): void {
  process.stdout.write(`\n${formatTable(title, rows)}`);
}

function showMachine(when: string): void {
  const load = loadavg().map((value) => value.toFixed(1));
  process.stdout.write(
    `${when}: load ${load.join(' ')} on ${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}\n`,
  );
}

async function main(names: readonly string[]): Promise<number> {
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
    showMachine('before');
    for (const [name, part] of Object.entries(PARTS)) {
      if (names.length === 0 || names.includes(name)) await part(prepared);
    }
    showMachine('\nafter');
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
