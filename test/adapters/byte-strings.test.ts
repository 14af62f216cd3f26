import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { nativeByteStrings } from '../../tools/bundle.ts';
import { judgements } from '../formats/byte-strings-cases.ts';

it('the functions of Node.js make the same of 6,000 byte strings as the portable ones', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sealroot-bytes-'));
  const program = path.join(folder, 'program.cjs');
  const { metafile } = await build({
    stdin: {
      contents: `
        import { judgements } from './test/formats/byte-strings-cases.ts';
        for (const line of judgements()) console.log(line);`,
      resolveDir: path.join(import.meta.dirname, '../..'),
    },
    outfile: program,
    bundle: true,
    platform: 'node',
    plugins: [nativeByteStrings],
    metafile: true,
  });
  expect(Object.keys(metafile.inputs)).toContain('src/adapters/byte-strings.ts');
  const output = execFileSync(process.execPath, [program], { encoding: 'utf8', maxBuffer: 64 << 20 });
  rmSync(folder, { recursive: true });
  expect(output.trim().split('\n')).toEqual([...judgements()]);
});
