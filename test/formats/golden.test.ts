import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { parseDump } from '../../src/formats/dump-read.ts';
import { hex } from '../../src/formats/encoding.ts';
import { checkImage } from '../../src/formats/erofs-read.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { type TreeNode, validateTree } from '../../src/formats/tree.ts';
import { bundleProgram } from '../../tools/bundle.ts';
import { ArchiveRepo } from '../commands/archive-repo.ts';
import { formatDump } from './format-dump.ts';
import { GOLDEN_DIGESTS, GOLDEN_TREES } from './golden-trees.ts';

function digestOf(tree: TreeNode): string {
  return hex(verityDigest(writeImage(validateTree(tree)), nodeHasher));
}

/** Names in another order: as another file system would list them. */
function shuffle(node: TreeNode): TreeNode {
  if (node.children === undefined) return node;
  const entries = [...node.children].reverse();
  entries.push(...entries.splice(0, Math.floor(entries.length / 3)));
  node.children = new Map(entries.map(([name, child]) => [name, shuffle(child)]));
  node.xattrs = new Map([...node.xattrs].reverse());
  return node;
}

describe.each(GOLDEN_TREES)('the golden tree "%s"', (name, tree) => {
  it('has the digest that it always had', () => {
    expect(digestOf(tree())).toBe(GOLDEN_DIGESTS[name]);
  });

  it('has it in whatever order its names and xattrs come, and out of a dump', () => {
    expect(digestOf(shuffle(tree()))).toBe(GOLDEN_DIGESTS[name]);
    expect(digestOf(parseDump(formatDump(tree())))).toBe(GOLDEN_DIGESTS[name]);
  });

  it('makes an image that passes both gates', () => {
    expect(checkImage(writeImage(validateTree(tree())), 3).findings).toEqual([]);
  });
});

describe('sealroot image create', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), 'sealroot-golden-'));
  const bundle = join(import.meta.dirname, `../../.cache/cli/golden-${process.pid}`);
  const program = join(bundle, 'sealroot.js');
  const repo = new ArchiveRepo(join(folder, 'repo'));

  beforeAll(() => bundleProgram(bundle));
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
    rmSync(bundle, { recursive: true, force: true });
  });

  it('makes the same image of a commit in any locale, time zone and umask', () => {
    repo.commit({ ref: 'os/x' });
    const surroundings = [
      { LC_ALL: 'C', TZ: 'UTC', umask: '022' },
      { LC_ALL: 'tr_TR.UTF-8', TZ: 'Pacific/Kiritimati', umask: '077' },
      { LC_ALL: 'de_DE.ISO-8859-1', LANG: 'ja_JP.SJIS', TZ: '<x>-3:17', umask: '000' },
    ];
    for (const { umask, ...env } of surroundings) {
      const image = join(folder, `${umask}.cfs`);
      const argv = [
        '-c',
        `umask ${umask}; exec "$@"`,
        'sh',
        process.execPath,
        program,
        'image',
        'create',
        '--no-cache',
      ];
      const run = spawnSync('sh', [...argv, '--repo', repo.path, '--commit', 'os/x', image], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
        timeout: 60_000,
      });
      expect(run).toMatchObject({ status: 0, stdout: `fsverity-sha256-12:${COMMIT_DIGEST}\n`, stderr: '' });
      expect(statSync(image).mode & 0o777).toBe(0o644);
    }
  });
});

/** Of the tree in archive-repo.ts. */
const COMMIT_DIGEST = '3e39ab12ece3fffbd12d046da37594406ed2314f20e489be1f75414bd34f8351';
