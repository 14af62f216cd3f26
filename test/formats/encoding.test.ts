import { describe, expect, it } from 'vitest';
import { ascii, hex, parseHex } from '../../src/formats/encoding.ts';

describe('parseHex()', () => {
  it('reads what hex() wrote', () => {
    const bytes = Uint8Array.of(0, 1, 0x7f, 0x80, 0xff);
    expect(parseHex(hex(bytes), 'value')).toEqual(bytes);
  });

  it.each([
    ['AB', 'not lower-case hex'],
    ['0g', 'not lower-case hex'],
    [' 00', 'not lower-case hex'],
    ['0x', 'not lower-case hex'],
    ['012', 'odd number of hex digits'],
  ])('refuses %j', (text, fact) => {
    expect(() => parseHex(text, 'the value')).toThrow(
      expect.objectContaining({ code: 'hex-malformed', message: `cannot read the value: ${fact}` }),
    );
  });
});

describe('ascii()', () => {
  it('refuses a literal that is not ASCII', () => {
    expect(() => ascii('zi\xebl')).toThrow(expect.objectContaining({ code: 'not-ascii' }));
  });
});
