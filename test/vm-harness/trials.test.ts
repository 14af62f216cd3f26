import { describe, expect, it } from 'vitest';
import { requireVerdict, type Trial } from '../../vm-tests/trials.ts';

const EXPECTED = { commit: 'c'.repeat(64), digest: 'd'.repeat(64) };
const PROGRAM = 'sealroot-prepare-root';
const MOUNTED = `${PROGRAM}: mounted ${EXPECTED.commit} (digest ${EXPECTED.digest}, key line 1)\n`;
const ROOT = 'mount: /sysroot ro,relatime - overlay composefs ro,metacopy=on,verity=require\n';
const WARNING = `${PROGRAM}: warning: cannot use signature 1 of 2: 63 bytes\n`;
const REFUSAL = `${PROGRAM}: error: image-missing: cannot open it: ENOENT; deploy again\n`;

const BOOTS: Trial = { title: 'boots' };
const WARNS: Trial = { title: 'warns', warns: [/signature 1 of 2/] };
const REFUSED: Trial = { title: 'refused', refused: 'image-missing' };

function event(output: string, fields: Record<string, number> = {}) {
  const said = Buffer.from(output).toString('base64');
  return { event: 'trial', status: 0, left: 1, booted: 1, inside: 0, ...fields, output: said };
}
const refusal = (fields: Record<string, number> = {}, output = REFUSAL) =>
  event(output, { status: 1, left: 0, booted: 0, ...fields });

describe('requireVerdict()', () => {
  it('accepts a boot, one with its warning, and a refusal', () => {
    requireVerdict(BOOTS, event(MOUNTED + ROOT), EXPECTED);
    requireVerdict(WARNS, event(WARNING + MOUNTED + ROOT), EXPECTED);
    requireVerdict(REFUSED, refusal(), EXPECTED);
    requireVerdict({ ...REFUSED, status: 4 }, refusal({ status: 4 }), EXPECTED);
  });

  it.each([
    ['a trial that never came', BOOTS, undefined],
    ['a refusal where it should boot', BOOTS, refusal()],
    ['a boot of something else', BOOTS, event(MOUNTED.replace('dd', 'ee') + ROOT)],
    ['a boot without fs-verity', BOOTS, event(MOUNTED + ROOT.replace('require', 'on'))],
    ['a boot without a root', BOOTS, event(MOUNTED)],
    ['a root that cannot be read', BOOTS, event(MOUNTED + ROOT, { inside: 127 })],
    ['a boot that leaves no record', BOOTS, event(MOUNTED + ROOT, { booted: 0 })],
    ['a warning of nobody', BOOTS, event(WARNING + MOUNTED + ROOT)],
    ['no warning', WARNS, event(MOUNTED + ROOT)],
    ['another warning', WARNS, event(WARNING.replace('1 of 2', '2 of 2') + MOUNTED + ROOT)],
    ['a boot where it should refuse', REFUSED, event(MOUNTED + ROOT)],
    ['another code', REFUSED, refusal({}, REFUSAL.replace('missing', 'unsafe'))],
    ['two refusals', REFUSED, refusal({}, REFUSAL + REFUSAL)],
    ['another status', REFUSED, refusal({ status: 137 })],
    ['a mount that was left', REFUSED, refusal({ left: 1 })],
    ['a record of a boot after a refusal', REFUSED, refusal({ booted: 1 })],
    ['success and refusal', REFUSED, refusal({}, MOUNTED + REFUSAL)],
  ])('rejects %s', (_title, trial, seen) => {
    expect(() => requireVerdict(trial, seen, EXPECTED)).toThrow();
  });
});
