/** The mutation table of the verdict through the real program: the same rows, the same codes, and no mount left. */

import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { applyMutation, type Mutation } from '../formats/mutation-inputs.ts';
import { MUTATIONS } from '../formats/verdict-mutations.ts';
import { AFTER_ACCEPTANCE, codeOf, makeRig, type Rig } from './prepare-root-rig.ts';

/** Warnings about what was skipped; that a kernel argument is not followed is said beside them. */
const WARNING = /^sealroot-prepare-root: warning: cannot (?!follow kernel argument)/;

let binary = '';
let rig: Rig | undefined;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});

afterEach(() => {
  rig?.remove();
  rig = undefined;
});

async function outcome(row: Mutation): Promise<{ code: string; status: number; warnings: number }> {
  rig = makeRig(binary, applyMutation(row));
  const { status, stdout, stderr } = await rig.run();
  expect(stdout).toBe('');
  const warnings = stderr.split('\n').filter((line) => WARNING.test(line));
  return { code: codeOf(stderr), status, warnings: warnings.length };
}

describe('sealroot-prepare-root and the mutation table', () => {
  it('has a table', () => {
    expect(MUTATIONS.length).toBeGreaterThan(100);
  });

  for (const row of MUTATIONS) {
    it(`${row.name}: ${row.expectedCode ?? 'accepted'}`, async () => {
      const { code, status, warnings } = await outcome(row);
      expect(code).toBe(row.expectedCode ?? AFTER_ACCEPTANCE);
      expect(status).toBe(1);
      if (row.expectedCode === undefined) expect(warnings).toBe(row.warnings ?? 0);
    });
  }
});
