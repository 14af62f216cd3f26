/** The table of refusals is complete: every code of the boot is in it, and nothing else. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { REFUSAL_CAUSES } from '../../src/formats/refusal-causes.ts';
import { refusalCodes, refusalOf } from '../../src/formats/refusals.ts';

const root = join(import.meta.dirname, '../..');
const BUILD_TOOLS = ['build.ts', 'bundle.ts', 'patched-quickjs.ts', 'quickjs-source.ts'];
const SOURCES = [
  ...readdirSync(join(root, 'initrd'))
    .filter((name) => name.endsWith('.ts') && !BUILD_TOOLS.includes(name))
    .map((name) => `initrd/${name}`),
  'src/formats/keys.ts',
  'src/formats/opened-file.ts',
  'src/formats/policy.ts',
  'src/formats/policy-root.ts',
  'src/formats/rebuilt-image.ts',
  'src/formats/verdict.ts',
];

/** A code stands as the first argument of what makes an error, or as `missing` or `unsafe` of what opens a file. */
const CODE =
  /\b(?:refused|systemError|usageError|asRefusal|requireRegular)\(\s*'([a-z-]+)'|super\('\w+', '([a-z-]+)'|\b(?:missing|unsafe): '([a-z-]+)'|'(commit(?:meta)?-missing)'/g;

function thrownIn(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(CODE)].map((match) => match[1] ?? match[2] ?? match[3] ?? match[4] ?? '');
}

describe('the table of refusals', () => {
  it('has every code that initrd, policy and verdict give, and no other', () => {
    // What is no error at all is refused as `internal`.
    const thrown = new Set(['internal', ...SOURCES.flatMap(thrownIn)]);
    expect(thrown.size).toBeGreaterThan(25);
    expect([...thrown].sort()).toEqual(refusalCodes().sort());
  });

  it('has an id of its own for each, a random UUID', () => {
    const ids = refusalCodes().map((code) => refusalOf(code)?.messageId ?? '');
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('has causes that are sentences and remedies that fit behind a semicolon', () => {
    for (const code of refusalCodes()) {
      expect(REFUSAL_CAUSES[code], code).toMatch(/^[A-Zo][ -~]+\.$/);
      expect(refusalOf(code)?.remedy, code).toMatch(/^[a-z][ -~]+[^.]$/);
    }
    expect(Object.keys(REFUSAL_CAUSES).sort()).toEqual(refusalCodes().sort());
  });

  it('has nothing under names that every object has', () => {
    expect(refusalOf('constructor')).toBeUndefined();
  });
});
