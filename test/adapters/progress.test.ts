import { describe, expect, it } from 'vitest';
import { createProgress, readingProgress } from '../../src/adapters/progress.ts';

function terminal(
  isTTY: boolean,
  columns = 20,
): {
  isTTY: boolean;
  columns: number;
  out: string;
  write(text: string): void;
} {
  return {
    isTTY,
    columns,
    out: '',
    write(text) {
      this.out += text;
    },
  };
}

describe('createProgress()', () => {
  it('draws only after a second, at most ten times a second, within the width, and leaves nothing', () => {
    let now = 0;
    let described = 0;
    const screen = terminal(true);
    const progress = createProgress(screen, () => now);
    for (; now < 2000; now++) progress.update(() => `${++described} ${'x'.repeat(50)}`);
    expect(described).toBe(10);
    expect(screen.out.startsWith(`\r\x1b[K1 ${'x'.repeat(17)}\r`)).toBe(true);
    progress.finish();
    expect(screen.out.endsWith('\r\x1b[K')).toBe(true);
  });

  it('takes a terminal that does not know its width for one of 80 columns', () => {
    let now = 0;
    const screen = terminal(true, 0);
    const progress = createProgress(screen, () => now);
    now = 2000;
    progress.update(() => 'x'.repeat(100));
    expect(screen.out).toBe(`\r\x1b[K${'x'.repeat(79)}`);
  });

  it('is silent when the work is quick', () => {
    const screen = terminal(true);
    const progress = createProgress(screen, () => 0);
    progress.update(() => 'never');
    progress.finish();
    expect(screen.out).toBe('');
  });

  it('is silent when there is no terminal', () => {
    let now = 0;
    const screen = terminal(false);
    const progress = createProgress(screen, () => now);
    now = 5000;
    progress.update(() => 'never');
    progress.finish();
    expect(screen.out).toBe('');
  });
});

describe('readingProgress()', () => {
  it('tells files, bytes, and the time that the rest will take', () => {
    let now = 0;
    const screen = { ...terminal(true), columns: 80 };
    const progress = createProgress(screen, () => now);
    const report = readingProgress(progress, 'files', () => now);
    now = 2000;
    report?.({ files: 129, bytes: 3 * 2 ** 20, of: 429 });
    expect(screen.out).toBe('\r\x1b[Kreading files: 129 of 429 files, 3 MiB, 5 s left');
  });

  it('looks at the clock for few small files only, and for each large one', () => {
    let looks = 0;
    const progress = createProgress(terminal(true), () => {
      looks++;
      return 0;
    });
    const report = readingProgress(progress, 'files', () => 0);
    looks = 0;
    for (let files = 1; files <= 640; files++) report?.({ files, bytes: files, of: 640 });
    expect(looks).toBe(10);
    for (let files = 1; files <= 10; files++)
      report?.({ files: 64 * files, bytes: files * 2 ** 24 + 640, of: 640 });
    expect(looks).toBe(20);
  });

  it('is nothing where there is no progress to show', () => {
    expect(readingProgress(undefined, 'files')).toBeUndefined();
  });
});
