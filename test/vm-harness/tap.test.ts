import { describe, expect, it } from 'vitest';
import { comment, escapeDescription, subtest, testPoint } from '../../vm-tests/tap.ts';

describe('testPoint()', () => {
  it('writes a passed point as one line', () => {
    expect(testPoint(3, { title: 'boots', passed: true, seconds: 1.5 })).toBe('ok 3 - boots # time=1500ms\n');
  });

  it('writes a failure as a YAML block whose lines are all indented', () => {
    const point = { title: 'boots', passed: false, seconds: 0, failure: 'cannot boot\n\nsecond paragraph\n' };
    expect(testPoint(1, point)).toBe(
      'not ok 1 - boots # time=0ms\n  ---\n  message: |\n    cannot boot\n    \n    second paragraph\n  ...\n',
    );
  });
});

describe('subtest()', () => {
  it('indents the steps, plans them, and ends with the point of the whole', () => {
    const steps = [{ title: 'one', passed: true, seconds: 0 }];
    expect(subtest(2, { title: 'case', passed: true, seconds: 0 }, steps)).toBe(
      '# Subtest: case\n    ok 1 - one # time=0ms\n    1..1\nok 2 - case # time=0ms\n',
    );
  });
});

describe('escapeDescription()', () => {
  it('keeps a # or a line end in a title from starting a directive or a line', () => {
    expect(escapeDescription('a # SKIP\nok 2 \\')).toBe('a \\# SKIP ok 2 \\\\');
  });
});

describe('comment()', () => {
  it('puts # before every line, so that no guest output is taken for a test point', () => {
    expect(comment('ok 1 - forged\n\nnot ok 2\n\n')).toBe('# ok 1 - forged\n#\n# not ok 2\n');
  });
});
