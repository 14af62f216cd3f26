/** The golden table beside the reference, and beside the runtime of the initramfs. Needs root and musl-gcc. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildForInitramfs } from '../../initrd/build.ts';
import { bundleProgram } from '../../tools/bundle.ts';
import { ensureForky, runIn } from '../../tools/chroots.ts';
import { ensureTrixie } from '../../vm-tests/os-tree.ts';
import { formatDump } from '../formats/format-dump.ts';
import { GOLDEN_DIGESTS, GOLDEN_TREES } from '../formats/golden-trees.ts';

let work = '';

beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'sealroot-golden-'));
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('the golden table', () => {
  it('is what mkcomposefs says', async () => {
    for (const [name, tree] of GOLDEN_TREES) writeFileSync(path.join(work, name), formatDump(tree()));
    const names = GOLDEN_TREES.map(([name]) => name);
    const script = `for i in ${names.join(' ')}; do echo $i $(mkcomposefs --from-file --print-digest-only $i); done`;
    const options = { binds: [[work, '/work']] as const, cwd: '/work' };
    const { stdout } = await runIn(await ensureForky(), ['sh', '-euc', script], options);
    expect(
      Object.fromEntries(
        stdout
          .toString()
          .trim()
          .split('\n')
          .map((line) => line.split(' ')),
      ),
    ).toEqual(GOLDEN_DIGESTS);
  });

  it("is what Debian stable's own Node.js makes", async () => {
    const bundle = path.join(work, 'bundle');
    await bundleProgram(bundle);
    for (const [name, tree] of GOLDEN_TREES) writeFileSync(path.join(work, name), formatDump(tree()));
    const command = 'node bundle/sealroot.js mkcomposefs --from-file --print-digest-only';
    const names = GOLDEN_TREES.map(([name]) => name);
    const script = `node --version; for i in ${names.join(' ')}; do echo $i $(${command} $i); done`;
    const options = { binds: [[work, '/srv']] as const, cwd: '/srv' };
    const { stdout } = await runIn(await ensureTrixie('next'), ['sh', '-euc', script], options);
    const [version, ...lines] = stdout.toString().trim().split('\n');
    expect(version).toMatch(/^v20\./);
    expect(Object.fromEntries(lines.map((line) => line.split(' ')))).toEqual(GOLDEN_DIGESTS);
  });

  it('is what the writer makes under QuickJS', async () => {
    const program = await buildForInitramfs('test/formats/golden-program.ts', 'golden-images');
    const output = execFileSync(program, { encoding: 'utf8', timeout: 120_000 });
    expect(
      Object.fromEntries(
        output
          .trim()
          .split('\n')
          .map((line) => line.split(' ')),
      ),
    ).toEqual(GOLDEN_DIGESTS);
  });
});
