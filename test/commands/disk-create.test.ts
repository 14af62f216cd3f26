import { describe, expect, it } from 'vitest';
import { parseSize } from '../../src/commands/disk-create.ts';

const MIB = 1024 * 1024;

describe('parseSize()', () => {
  it.each([
    ['4G', 4096 * MIB],
    ['900M', 900 * MIB],
    ['1T', 1024 * 1024 * MIB],
    ['2048K', 2 * MIB],
    [String(5 * MIB + 1), 5 * MIB],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '4g', '4 G', '-1', '1.5G', '0x10', 'G'])('refuses "%s"', (text) => {
    expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'size-malformed', kind: 'usage' }));
  });
});
