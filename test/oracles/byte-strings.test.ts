/** The C functions of the initramfs that stand in for byte-strings.ts, beside that. Needs musl-gcc. */
import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { buildForInitramfs } from '../../initrd/build.ts';
import { FORBIDDEN, judgements } from '../formats/byte-strings-cases.ts';

it('the functions in C make the same of 6,000 byte strings, and refuse what would leave a buffer', async () => {
  const program = await buildForInitramfs('test/formats/byte-strings-program.ts', 'byte-strings');
  const output = execFileSync(program, { encoding: 'utf8', timeout: 120_000, maxBuffer: 64 << 20 });
  const lines = output.trim().split('\n');
  const refused = Object.keys(FORBIDDEN).map((name) => `${name}: refused`);
  expect(lines).toEqual([...judgements(), ...refused]);
});
