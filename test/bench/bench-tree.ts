/**
 * What images are measured on: 20,000 files of 700 MB in 2,900 folders, sizes spread as in an OS tree (half of the
 * files fit a block, 81 of them hold nearly half of the bytes), the same on every machine. As a directory, as two
 * commits of a bare-user repository, the second with one file in a hundred changed, and as a dump.
 */
import { createCipheriv } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureCached } from '../../tools/cache.ts';
import { ensureForky, runIn } from '../../tools/chroots.ts';

export interface BenchTree {
  /** The folder that holds `tree`, `repo` and `tree.dump`. */
  readonly data: string;
  /** Checksums; `changed` differs from `commit` in one file of a hundred. */
  readonly commit: string;
  readonly changed: string;
}

interface SizeClass {
  readonly files: number;
  readonly least: number;
  readonly most: number;
}

/** Within a class the sizes are spread evenly over their logarithms. */
const CLASSES: readonly SizeClass[] = [
  { files: 9_700, least: 1, most: 4_096 },
  { files: 9_869, least: 4_097, most: 65_536 },
  { files: 350, least: 65_537, most: 1 << 20 },
  { files: 81, least: (1 << 20) + 1, most: 12 << 20 },
];
const FOLDERS = 2_900;
const LINKS = 2_000;
const CHANGED_EVERY = 100;
const MTIME = 1_700_000_000;

/** Changes with what this file makes of it. */
const RECIPE = { CLASSES, FOLDERS, LINKS, CHANGED_EVERY, MTIME, version: 1 };

export async function ensureBenchTree(): Promise<BenchTree> {
  const folder = await ensureCached({
    kind: 'bench',
    name: 'tree',
    recipe: RECIPE,
    build: makeBenchTree,
    discard: async (temporary) => rmSync(temporary, { recursive: true, force: true }),
  });
  const checksum = async (name: string) => (await readFile(path.join(folder, name), 'utf8')).trim();
  return { data: folder, commit: await checksum('commit'), changed: await checksum('changed') };
}

async function makeBenchTree(folder: string): Promise<void> {
  const tree = path.join(folder, 'tree');
  mkdirSync(tree, { recursive: true });
  const files = makeFiles(tree);
  const forky = await ensureForky();
  const inForky = (argv: readonly string[]) => runIn(forky, argv, { binds: [[folder, '/srv']] });
  await inForky(['mkdir', '/srv/repo']);
  await inForky(['ostree', '--repo=/srv/repo', 'init', '--mode=bare-user']);
  for (const name of ['commit', 'changed']) {
    if (name === 'changed') changeSome(files);
    const { stdout } = await inForky([
      ...['ostree', '--repo=/srv/repo', 'commit', `--branch=bench/${name}`, '--tree=dir=/srv/tree'],
      ...['--canonical-permissions', `--timestamp=@${MTIME}`, `--subject=bench ${name}`],
    ]);
    writeFileSync(path.join(folder, name), stdout);
  }
  await inForky([
    'sh',
    '-c',
    'mkcomposefs /srv/tree /srv/tree.cfs && composefs-info dump /srv/tree.cfs >/srv/tree.dump',
  ]);
  rmSync(path.join(folder, 'tree.cfs'));
}

interface MadeFile {
  readonly path: string;
  readonly bytes: Buffer;
}

/** Every file is a part of one long run of bytes that no two blocks of have in common. */
function makeFiles(tree: string): MadeFile[] {
  const random = keyStream(5 << 20);
  let drawn = 0;
  const draw = (below: number) => random.readUInt32LE((drawn++ * 4) % (random.length - 4)) % below;
  const folders = [tree];
  while (folders.length < FOLDERS) {
    const parent = folders[draw(folders.length)] as string;
    const folder = path.join(parent, `folder-${folders.length}`);
    mkdirSync(folder);
    folders.push(folder);
  }
  const content = keyStream(16 << 20);
  const files: MadeFile[] = [];
  for (const { files: count, least, most } of CLASSES) {
    for (let i = 0; i < count; i++) {
      const size = Math.round(least * (most / least) ** ((i + 0.5) / count));
      const at = draw(content.length - size);
      const name = path.join(folders[draw(folders.length)] as string, `lib${files.length}.so.${draw(100)}`);
      files.push({ path: name, bytes: content.subarray(at, at + size) });
      writeOut(name, content.subarray(at, at + size));
    }
  }
  for (let i = 0; i < LINKS; i++) {
    symlinkSync(`../lib/target-${i}`, path.join(folders[draw(folders.length)] as string, `link-${i}`));
  }
  return files;
}

function writeOut(file: string, bytes: Buffer): void {
  writeFileSync(file, bytes);
  utimesSync(file, MTIME, MTIME);
}

function changeSome(files: readonly MadeFile[]): void {
  for (let i = 0; i < files.length; i += CHANGED_EVERY) {
    const { path: file, bytes } = files[i] as MadeFile;
    writeOut(file, Buffer.concat([bytes.subarray(1), Buffer.from('!')]));
  }
}

/** Bytes that look random and are always the same. */
function keyStream(length: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(length));
}
