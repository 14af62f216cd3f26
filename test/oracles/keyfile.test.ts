/** Key files against GLib's own GKeyFile, over random text made of what matters to the format. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toByteString, utf8 } from '../../src/formats/encoding.ts';
import { keyfileBoolean, keyfileValue, parseKeyfile, unescapeValue } from '../../src/formats/keyfile.ts';

interface GKeyFile {
  loadFromData(text: string, length: number, flags: number): boolean;
  getGroups(): [string[], number];
  getKeys(group: string): [string[], number];
  getValue(group: string, key: string): string;
  getString(group: string, key: string): string;
  getBoolean(group: string, key: string): boolean;
}
const { default: gi } = (await import('node-gtk')) as unknown as {
  default: { require(name: string, version: string): { KeyFile: new () => GKeyFile } };
};
const GLib = gi.require('GLib', '2.0');
const KEEP_TRANSLATIONS = 2;

type Contents = Record<string, Record<string, string>>;

function orError<T>(read: () => T): T | 'error' {
  try {
    return read();
  } catch {
    return 'error';
  }
}

function byGLib(text: string): Contents | 'error' {
  return orError(() => {
    const file = new GLib.KeyFile();
    file.loadFromData(text, Buffer.byteLength(text), KEEP_TRANSLATIONS);
    const group = (name: string) =>
      Object.fromEntries(file.getKeys(name)[0].map((key) => [key, file.getValue(name, key)]));
    return Object.fromEntries(file.getGroups()[0].map((name) => [name, group(name)]));
  });
}

/** Latin-1 characters in both, so that bytes and text can be compared. */
function byUs(text: string): Contents | 'error' {
  const decode = (bytes: string) => Buffer.from(bytes, 'latin1').toString('utf8');
  return orError(() => {
    const { groups } = parseKeyfile(utf8(text), 'test');
    return Object.fromEntries(
      [...groups].map(([name, values]) => [
        decode(name),
        Object.fromEntries([...values].map(([key, value]) => [decode(key), decode(value)])),
      ]),
    );
  });
}

const token = fc.constantFrom(
  '[',
  ']',
  '[a]',
  '=',
  ' ',
  '\t',
  '\r',
  '\f',
  '\v',
  '#',
  'a',
  'b=1',
  '.',
  'é',
  '\\s',
  '\x01',
);
const line = fc.array(token, { maxLength: 7 }).map((tokens) => tokens.join(''));
const odd = fc.constantFrom(
  'k[]=1',
  'k [de]=1',
  'k[de]x=1',
  'k[d=1',
  '[a',
  '[]',
  '[a]b',
  '[ a ]',
  'é=é',
  'x',
  '=1',
  'k[d e]=1',
  '#',
  '\r',
  'k\t=1',
  ' [c]',
  '[c]\r',
);
const sensible = fc.constantFrom('[a]', '[b]', 'x=1', 'x = 2 ', 'y=true', '# c', '', ' z=\\n', 'k[de]=v');
const text = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: sensible },
      { weight: 1, arbitrary: line },
      { weight: 1, arbitrary: odd },
    ),
    { maxLength: 8 },
  )
  .map((lines) => `[a]\n${lines.join('\n')}\n`);

describe('parseKeyfile() and GKeyFile', () => {
  it('read the same groups, keys and values, and refuse the same files', () => {
    let accepted = 0;
    fc.assert(
      fc.property(text, (contents) => {
        const expected = byGLib(contents);
        if (expected !== 'error') accepted++;
        expect(byUs(contents)).toEqual(expected);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(500);
    expect(accepted).toBeLessThan(4500);
  });

  it('read the same booleans and the same unescaped strings', () => {
    const part = fc.constantFrom('true', 'false', '1', '0', ' ', 'T', '\\s', '\\n', '\\\\', 'a', '\t');
    // At most one bad escape, at the end: GLib warns when it finds a second one.
    const bad = fc.constantFrom('', '', '\\', '\\x');
    const value = fc
      .tuple(fc.array(part, { maxLength: 3 }), bad)
      .map(([parts, end]) => [...parts, end].join(''));
    fc.assert(
      fc.property(value, (raw) => {
        const contents = `[a]\nx=${raw}\n`;
        const glib = new GLib.KeyFile();
        glib.loadFromData(contents, contents.length, 0);
        const ours = parseKeyfile(utf8(contents), 'test');
        expect(orError(() => keyfileBoolean(ours, 'a', 'x', 'test'))).toBe(
          orError(() => glib.getBoolean('a', 'x')),
        );
        const written = keyfileValue(ours, 'a', 'x') ?? toByteString(new Uint8Array(0));
        expect(orError(() => unescapeValue(written, 'test'))).toBe(orError(() => glib.getString('a', 'x')));
      }),
      { numRuns: 2000 },
    );
  });
});
