/** The scripts of the initramfs mean the same in the older form that they are compiled from. */
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { bundleScripts } from '../../initrd/bundle.ts';
import { lowered } from '../../initrd/lowering.ts';

const NEWER = /\b(?:let|const)\b|\$\{/;

const SCRIPT = `(() => {
  const later = [];
  for (let i = 0; i < 3; i++) {
    const { [i]: name = 'none', ...others } = { 0: 'zero', 2: undefined, a: 1 };
    later.push((suffix = '!') => \`\${i} \${name} \${Object.keys(others)}\${suffix}\`);
  }
  const [[first, , third = 'third'], ...rest] = [['1', '2'], 3, 4];
  const name = 'outside';
  { const name = 'inside'; later.push(() => name); }
  return [first, third, ...rest, name, ...later.map((call) => call()), later[0](undefined), later[1]('?')];
})()`;

describe('lowered', () => {
  it('keeps what a script means, each turn of a loop with variables of its own', async () => {
    const text = await lowered(SCRIPT);
    expect(text).not.toMatch(NEWER);
    const result: unknown = runInNewContext(text);
    expect(result).toEqual(runInNewContext(SCRIPT));
    expect(result).toHaveLength(11);
  });

  it('is what both scripts have gone through', async () => {
    const { program, seldom } = await bundleScripts('initrd/prepare-root.ts');
    for (const script of [program, seldom]) {
      expect(script.length).toBeGreaterThan(10_000);
      expect(script).not.toMatch(NEWER);
    }
  });
});
