import { describe, expect, it } from 'vitest';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { keyfileBoolean, keyfileValue, parseKeyfile, unescapeValue } from '../../src/formats/keyfile.ts';

function read(text: string): Record<string, Record<string, string>> {
  const { groups } = parseKeyfile(utf8(text), 'test');
  return Object.fromEntries([...groups].map(([name, values]) => [name, Object.fromEntries(values)]));
}

describe('parseKeyfile()', () => {
  const good: [string, string, Record<string, Record<string, string>>][] = [
    ['an empty file', '', {}],
    ['groups and keys', '[a]\nx=1\n[b]\nx=2\n', { a: { x: '1' }, b: { x: '2' } }],
    ['a file without a last newline', '[a]\nx=1', { a: { x: '1' } }],
    ['white space around =', '[a]\n x \t=\t 1\n', { a: { x: '1' } }],
    ['white space after a value, kept', '[a]\nx=1  \n', { a: { x: '1  ' } }],
    [
      'comments and blank lines',
      '# c\n\n[a]\n  # d\nx=1 # not a comment\n',
      { a: { x: '1 # not a comment' } },
    ],
    ['carriage returns', '[a]\r\nx=1\r\n\r\n', { a: { x: '1' } }],
    ['a duplicate key: the last holds', '[a]\nx=1\nx=2\n', { a: { x: '2' } }],
    ['a group that continues', '[a]\nx=1\n[b]\n[a]\ny=2\n', { a: { x: '1', y: '2' }, b: {} }],
    ['an empty value and = in a value', '[a]\nx=\ny=a=b\n', { a: { x: '', y: 'a=b' } }],
    ['blanks after a group', '[a] \t\nx=1\n', { a: { x: '1' } }],
    [
      'spaces inside a key, a locale, an empty one',
      '[a]\nb c=1\nd[de_DE]=2\ne[]=3\n',
      { a: { 'b c': '1', 'd[de_DE]': '2', 'e[]': '3' } },
    ],
    ['escapes, left as they are', '[a]\nx=\\s\\n\n', { a: { x: '\\s\\n' } }],
  ];
  for (const [name, text, expected] of good) {
    it(`reads ${name}`, () => expect(read(text)).toEqual(expected));
  }

  const bad: [string, string | Uint8Array][] = [
    ['a line that is nothing', '[a]\nnothing\n'],
    ['a key before the first group', 'x=1\n[a]\n'],
    ['a line that begins with =', '[a]\n=1\n'],
    ['an unclosed group', '[a\nx=1\n'],
    ['text after a group', '[a] b\nx=1\n'],
    ['an empty group name', '[]\n'],
    ['a bracket in a group name', '[a[b]\n'],
    ['a control character in a group name', '[a\u0001]\n'],
    ['a bracket in a key', '[a]\nx]y=1\n'],
    ['text after a locale', '[a]\nx[de]y=1\n'],
    ['a space before a locale', '[a]\nx [de]=1\n'],
    ['a NUL byte', '[a]\nx=\u0000\n'],
    ['a byte that is not UTF-8', new Uint8Array([0x5b, 0x61, 0x5d, 0x0a, 0x78, 0x3d, 0xff, 0x0a])],
    ['an overlong UTF-8 form', new Uint8Array([0x23, 0xc0, 0x80])],
    ['a UTF-16 surrogate', new Uint8Array([0x23, 0xed, 0xa0, 0x80])],
    ['a truncated character', new Uint8Array([0x23, 0xe2, 0x82])],
  ];
  for (const [name, text] of bad) {
    it(`refuses ${name}`, () => {
      const bytes = typeof text === 'string' ? utf8(text) : text;
      expect(() => parseKeyfile(bytes, 'test')).toThrow(
        expect.objectContaining({ code: 'keyfile-malformed' }),
      );
    });
  }

  it('names duplicates with group and line', () => {
    const { duplicates } = parseKeyfile(utf8('[a]\nx=1\n[b]\nx=1\n[a]\nx=2\n'), 'test');
    expect(duplicates).toEqual([{ group: 'a', key: 'x', line: 6 }]);
  });
});

describe('values', () => {
  const file = parseKeyfile(
    utf8('[a]\nyes=true\nno=false\none=1\nzero=0\nspace=true \nbad=True\nempty=\n'),
    't',
  );

  it('keyfileBoolean() reads what GKeyFile reads and nothing else', () => {
    const names = ['yes', 'no', 'one', 'zero', 'space', 'absent'];
    expect(names.map((key) => keyfileBoolean(file, 'a', key, 't'))).toEqual([
      true,
      false,
      true,
      false,
      true,
      undefined,
    ]);
    for (const key of ['bad', 'empty']) {
      expect(() => keyfileBoolean(file, 'a', key, 't')).toThrow(
        expect.objectContaining({ code: 'keyfile-malformed' }),
      );
    }
  });

  it('keyfileValue() is undefined for what is not there', () => {
    expect(keyfileValue(file, 'b', 'yes')).toBeUndefined();
    expect(keyfileValue(file, 'a', 'constructor')).toBeUndefined();
    expect(keyfileValue(file, '__proto__', 'toString')).toBeUndefined();
  });

  it('unescapeValue() undoes the five escapes and refuses any other', () => {
    expect(unescapeValue(ascii('a\\sb\\nc\\td\\re\\\\f'), 't')).toBe('a b\nc\td\re\\f');
    for (const text of ['\\x', '\\', 'a\\\\\\', '\\"']) {
      expect(() => unescapeValue(ascii(text), 't')).toThrow(
        expect.objectContaining({ code: 'keyfile-malformed' }),
      );
    }
  });
});
