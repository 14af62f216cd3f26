import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalBytes } from '../../src/formats/bytes.ts';
import { ascii, type ByteString, toByteString, utf8 } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import {
  decode,
  encode,
  makeVariant,
  openVariant,
  type Value,
  type ValueOf,
} from '../../src/formats/gvariant.ts';

const MEBIBYTE = 1024 * 1024;
const HOSTILE_BYTES = 16 * MEBIBYTE;

/** Bytes from text in which `\xHH` and friends are JavaScript's. */
function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SealrootError) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('decode()', () => {
  // The examples of the GVariant specification, section "Examples of serialised values", little endian.
  it.each<[string, string, Value]>([
    ['s', 'hello world\0', ascii('hello world')],
    ['as', 'i\0can\0has\0strings?\0\x02\x06\x0a\x13', ['i', 'can', 'has', 'strings?'] as ByteString[]],
    ['ay', '\x04\x05\x06\x07', Uint8Array.of(4, 5, 6, 7)],
    ['ai', '\x04\0\0\0\x02\x01\0\0', [4, 258]],
    ['(si)', 'foo\0\xff\xff\xff\xff\x04', [ascii('foo'), -1]],
    [
      'a(si)',
      'hi\0\0\xfe\xff\xff\xff\x03\0\0\0bye\0\xff\xff\xff\xff\x04\x09\x15',
      [
        [ascii('hi'), -2],
        [ascii('bye'), -1],
      ],
    ],
    [
      '((ys)as)',
      'ican\0has\0strings?\0\x04\x0d\x05',
      [[105, ascii('can')], ['has', 'strings?'] as ByteString[]],
    ],
    ['(yy)', '\x70\x80', [112, 128]],
    ['(iy)', '\x60\0\0\0\x70\0\0\0', [96, 112]],
    [
      'a(iy)',
      '\x60\0\0\0\x70\0\0\0\x88\x02\0\0\xf7\0\0\0',
      [
        [96, 112],
        [648, 247],
      ],
    ],
    ['()', '\0', []],
    ['x', '\xff\xff\xff\xff\xff\xff\xff\xff', -1n],
    ['t', '\xff\xff\xff\xff\xff\xff\xff\xff', 2n ** 64n - 1n],
    ['n', '\xff\xff', -1],
    ['b', '\x01', true],
  ])('reads and encode() writes the example of type %s', (type, serialised, value) => {
    expect(decode(type, bytes(serialised), 'example')).toEqual(value);
    expect(encode(type, value as never)).toEqual(bytes(serialised));
  });

  it('leaves a variant unopened', () => {
    const value = decode('v', bytes('\x07\0\0\0\0u'), 'example');
    expect(value).toEqual({ type: 'u', data: Uint8Array.of(7, 0, 0, 0) });
    expect(openVariant(value, 'u', 'example')).toBe(7);
    expect(codeOf(() => openVariant(value, 't', 'example'))).toBe('gvariant-type');
  });

  it('keeps the order of a dictionary', () => {
    const value = new Map([
      [ascii('z'), makeVariant('s', ascii('last'))],
      [ascii('1'), makeVariant('y', 1)],
      [ascii('a'), makeVariant('aay', [Uint8Array.of(1), Uint8Array.of()])],
    ]);
    const serialised = encode('a{sv}', value);
    expect([...decode('a{sv}', serialised, 'dictionary')]).toEqual([...value]);
  });

  it('reads offsets of one, two and four bytes', () => {
    for (const length of [10, 300, 70_000]) {
      const value: ValueOf<'(ayays)'> = [new Uint8Array(length).fill(7), Uint8Array.of(1), ascii('end')];
      const [blob, byte, end] = decode('(ayays)', encode('(ayays)', value), 'tuple');
      expect([equalBytes(blob, value[0]), byte, end]).toEqual([true, Uint8Array.of(1), 'end']);
      const list = decode('aay', encode('aay', [value[0], value[1]]), 'array');
      expect(list.map((item) => item.length)).toEqual([length, 1]);
    }
  });

  it.each<[string, string, string]>([
    ['s', '', 'no terminator in nothing'],
    ['s', 'abc', 'no terminator'],
    ['s', 'a\0b\0', 'a NUL inside'],
    ['s', '\xff\0', 'not UTF-8'],
    ['s', '\xc0\x80\0', 'overlong UTF-8'],
    ['b', '\x02', 'boolean 2'],
    ['u', '\x01\0\0', 'a short integer'],
    ['u', '\x01\0\0\0\0', 'a long integer'],
    ['ai', '\x01\0\0\0\0', 'an array of one and a quarter'],
    ['()', '\x01', 'the empty tuple with content'],
    ['(iy)', '\x60\0\0\0\x70\0\0\x01', 'padding at the end'],
    ['(yi)', '\x70\x01\0\0\x60\0\0\0', 'padding between'],
    ['as', 'a\0\x03', 'an offset past the table'],
    ['as', 'a\0b\0\x04\x02', 'offsets that run backwards'],
    ['as', 'a\0b\0\x02\x03', 'bytes between the last value and the table'],
    ['as', '\0', 'an offset table without values'],
    ['(si)', 'foo\0\xff\xff\xff\xff\x09', 'a framing offset past the body'],
    ['(ss)', 'a\0b\0\0', 'an empty string without terminator'],
    ['(yu)', '\x01\0\0\0\x01\0\0\0\0', 'bytes after a fixed tuple'],
    ['(sy)', 'a\0\x01\x07\x02', 'bytes after the last member'],
    ['v', '\x07u', 'a variant without separator'],
    ['v', '', 'an empty variant'],
    ['v', 'u', 'a variant that is only a type'],
    ['v', '\x07\0w}', 'a variant of an unknown type'],
    ['(ss)', '', 'a tuple of no bytes'],
    ['v', '\x07\0', 'a variant without type'],
    ['v', '\x07\0uu', 'a variant of two types'],
    ['v', '\x07\0(u', 'a variant of an open tuple'],
    ['v', '\x07\0a', 'a variant of an array of nothing'],
    ['v', '\x07\0{vs}', 'a variant of a dictionary entry keyed by variants'],
    ['v', `\x07\0${'a'.repeat(17)}y`, 'a type that is too deep'],
    ['v', `\x07\0${'('.repeat(300)}`, 'a type that is too long'],
  ])('refuses %s %j: %s', (type, serialised) => {
    expect(codeOf(() => decode(type, bytes(serialised), 'example'))).toBe('gvariant-malformed');
  });

  it('refuses offsets that are wider than they need be', () => {
    const body = new Uint8Array(254);
    const wide = new Uint8Array([...body, 254, 0]);
    expect(codeOf(() => decode('aay', wide, 'array'))).toBe('gvariant-malformed');
    expect(decode('aay', new Uint8Array([...body, 254]), 'array')).toEqual([body]);
  });

  it('refuses a key that stands in a dictionary twice', () => {
    const entry = [ascii('key'), makeVariant('y', 1)] as const;
    expect(codeOf(() => decode('a{sv}', encode('a(sv)', [entry, entry]), 'dictionary'))).toBe(
      'gvariant-malformed',
    );
  });

  it('names what is read, the fact and the offset', () => {
    expect(() => decode('(yu)', bytes('\x01\0\x05\0\x01\0\0\0'), 'thing')).toThrow(
      'cannot read thing: padding is not zero at offset 2 (0x2), not (yu) in normal form',
    );
  });
});

const byteString = fc
  .string({ unit: 'grapheme', maxLength: 12 })
  .map((text) => toByteString(utf8(text.replaceAll('\0', ''))));
const blob = fc.uint8Array({ maxLength: 40 });
const dictionary = fc
  .array(
    fc.tuple(
      byteString,
      fc.oneof(
        blob.map((b) => makeVariant('ay', b)),
        byteString.map((s) => makeVariant('s', s)),
      ),
    ),
    {
      maxLength: 6,
    },
  )
  .map((entries) => new Map(entries));

const COMMIT = '(a{sv}aya(say)sstayay)';
const commit = fc.tuple(
  dictionary,
  blob,
  fc.array(fc.tuple(byteString, blob), { maxLength: 4 }),
  byteString,
  byteString,
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  blob,
  blob,
);

describe('encode(decode(b)) equals b', () => {
  it('for every value of the type of a commit', () => {
    fc.assert(
      fc.property(commit, (value) => {
        const serialised = encode(COMMIT, value);
        const again = decode(COMMIT, serialised, 'commit');
        expect([...again[0]]).toEqual([...value[0]]);
        expect(again.slice(1)).toEqual(value.slice(1));
        expect(encode(COMMIT, again)).toEqual(serialised);
      }),
    );
  });

  it('for whatever is accepted of altered bytes, and the rest is refused by name', () => {
    let accepted = 0;
    fc.assert(
      fc.property(commit, fc.nat(), fc.nat(255), fc.nat(3), (value, where, byte, kind) => {
        const serialised = Array.from(encode(COMMIT, value));
        const at = where % serialised.length;
        if (kind === 0) serialised.splice(at, 1);
        else if (kind === 1) serialised.splice(at, 0, byte);
        else serialised[at] = byte;
        const altered = Uint8Array.from(serialised);
        const code = codeOf(() => {
          expect(encode(COMMIT, decode(COMMIT, altered, 'commit'))).toEqual(altered);
        });
        if (code === 'accepted') accepted++;
        else expect(['gvariant-malformed', 'truncated']).toContain(code);
      }),
      { numRuns: 500 },
    );
    expect(accepted).toBeGreaterThan(0);
  });
});

/** Each shape would be slow or huge if something were not bounded. */
const HOSTILE: Record<string, () => Uint8Array> = {
  zeros: () => new Uint8Array(HOSTILE_BYTES),
  ones: () => new Uint8Array(HOSTILE_BYTES).fill(1),
  'all bits set': () => new Uint8Array(HOSTILE_BYTES).fill(0xff),
  'a table of empty entries': () => hostileTable(0),
  'a table of entries of eight bytes': () => hostileTable(8),
  'a table whose last offset goes back': () => {
    const out = hostileTable(8);
    out.fill(0, out.length - 8, out.length - 4);
    return out;
  },
  'valid entries, too many': () =>
    encode(
      'a(sv)',
      Array.from({ length: 20_000 }, (_, i) => [ascii(`key ${i}`), makeVariant('ay', new Uint8Array(40))]),
    ),
  'one valid entry with 16 MiB of empty signatures': () =>
    encode('a{sv}', new Map([[ascii('k'), { type: 'aay', data: hostileTable(0) }]])),
};

/** As many elements as fit, each `size` bytes, with a right offset table. */
function hostileTable(size: number): Uint8Array {
  const count = Math.floor(HOSTILE_BYTES / (size + 4));
  const out = new Uint8Array(count * (size + 4));
  const view = new DataView(out.buffer);
  for (let i = 0; i < count; i++) view.setUint32(count * size + 4 * i, (i + 1) * size, true);
  return out;
}

describe('16 MiB of hostile bytes', () => {
  it.each(Object.keys(HOSTILE))('end in a named error at once: %s', (name) => {
    const hostile = HOSTILE[name]?.() ?? new Uint8Array();
    // Processor time: the machine may be busy with something else.
    const started = process.cpuUsage();
    const code = codeOf(() => {
      for (const value of decode('a{sv}', hostile, 'detached metadata').values())
        openVariant(value, 'aay', 'signatures');
    });
    expect(code).toBe('gvariant-malformed');
    expect(process.cpuUsage(started).user).toBeLessThan(500_000);
  });
});
