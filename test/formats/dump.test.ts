import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/formats/bytes.ts';
import { dumpImage } from '../../src/formats/dump.ts';
import { finishDump, parseDump, readLines, startDump } from '../../src/formats/dump-read.ts';
import { ascii } from '../../src/formats/encoding.ts';
import { readImage } from '../../src/formats/erofs-read.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { MAX_DEPTH, type TreeNode, type ValidatedTree, validateTree } from '../../src/formats/tree.ts';
import { randomDump } from '../oracles/random-dump.ts';
import { formatDump } from './format-dump.ts';
import { FIXTURE_DUMP } from './image-fixture.ts';

const ROOT = '/ 0 40755 2 0 0 0 0.0 - - -\n';

function parse(lines: string) {
  return parseDump(Buffer.from(lines, 'latin1'));
}

function parseStrictly(lines: string) {
  return parseDump(Buffer.from(lines, 'latin1'), { strict: true });
}

function again(lines: string): string {
  return Buffer.from(dumpImage(writeImage(validateTree(parse(lines))))).toString('latin1');
}

describe('parseDump()', () => {
  it.each([
    ['nothing', '', 'no line for /'],
    ['a child before the root', '/a 0 100644 1 0 0 0 0.0 - - -\n', 'stands before /'],
    ['a second root', ROOT + ROOT, 'line 2: path / stands on an earlier line'],
    ['a root that is a file', '/ 0 100644 1 0 0 0 0.0 - - -\n', 'not a directory'],
    ['an empty line', `${ROOT}\n`, 'line 2: mode "" is not a number'],
    ['a NUL', `${ROOT}/a\0 0 100644 1 0 0 0 0.0 - - -\n`, 'NUL'],
    [
      'a parent that is a file',
      `${ROOT}/a 0 100644 1 0 0 0 0.0 - - -\n/a/b 0 100644 1 0 0 0 0.0 - - -\n`,
      'no parent',
    ],
    ['a gid that is no number', `${ROOT}/a 0 100644 1 5 x 0 0.0 - - -\n`, 'gid "x" is not a number'],
    ['a mode in decimal', `${ROOT}/a 0 100849 1 0 0 0 0.0 - - -\n`, 'mode "100849"'],
    [
      'a name of 256 bytes',
      `${ROOT}/${'n'.repeat(256)} 0 100644 1 0 0 0 0.0 - - -\n`,
      'not end in a file name',
    ],
    ['the name .', `${ROOT}/. 0 100644 1 0 0 0 0.0 - - -\n`, 'not end in a file name'],
    ['the name ..', `${ROOT}/.. 0 100644 1 0 0 0 0.0 - - -\n`, 'not end in a file name'],
    ['a short digest', `${ROOT}/a 1 100644 1 0 0 0 0.0 x - abcd\n`, 'digest "abcd"'],
    ['a lone backslash', `${ROOT}/a\\ 0 100644 1 0 0 0 0.0 - - -\n`, 'unknown escape'],
    ['an empty xattr name', `${ROOT}/a 0 100644 1 0 0 0 0.0 - - - =1\n`, 'empty name'],
    ['a hard link without target', `${ROOT}/a 0 @100644 1 0 0 0 0.0 - - -\n`, 'missing in a hard link'],
  ])('refuses %s', (_, lines, fact) => {
    expect(() => parse(lines)).toThrow(SealrootError);
    expect(() => parse(lines)).toThrow(fact);
  });

  it.each([
    [
      'a line without newline',
      `${ROOT}/a 0 100644 1 0 0 0 0.0 - - -`,
      'line 2: line does not end in a newline',
    ],
    ['a device number of a file', `${ROOT}/a 0 100644 1 0 0 7 0.0 - - -\n`, 'device number is 7'],
    ['one above 32 bits', `${ROOT}/a 0 10644 1 0 0 4294967296 0.0 - - -\n`, 'device number is 4294967296'],
    [
      'the size of another link target',
      `${ROOT}/a 3 120777 1 0 0 0 0.0 to - -\n`,
      'size is 3, expected the 2',
    ],
    ['content of a link', `${ROOT}/a 2 120777 1 0 0 0 0.0 to xy -\n`, 'content is that of a link'],
  ])('refuses %s only when it is strict', (_, lines, fact) => {
    expect(() => parseStrictly(lines)).toThrow(fact);
    expect(parse(lines).children?.size).toBe(1);
  });

  it('is not stricter about what the format means', () => {
    expect(parseStrictly(FIXTURE_DUMP)).toEqual(parse(FIXTURE_DUMP));
    const lines = `${ROOT}/a 0 20644 1 0 0 7 0.0 - - -\n/b 9 @20644 1 0 0 7 0.0 /a - -\n`;
    expect(parseStrictly(lines)).toEqual(parse(lines));
  });

  it('resolves hard links to later lines', () => {
    const root = parse(`${ROOT}/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 100644 1 0 0 0 0.0 - - -\n`);
    expect(root.children?.get(ascii('a'))?.hardlink).toBe(root.children?.get(ascii('b')));
  });

  it('reads of a hard link its type and its target', () => {
    const root = parse(`${ROOT}/a 0 100644 1 0 0 0 0.0 - - -\n/h size @100644 n u g d time /a content\n`);
    expect(root.children?.get(ascii('h'))?.hardlink).toBe(root.children?.get(ascii('a')));
  });

  it('takes numbers as C does', () => {
    const { children } = parse(`${ROOT}/a 0 100644 -1 +7 4294967298 0 -5.18446744073709551616 - - -\n`);
    const node = children?.get(ascii('a'));
    expect(node).toMatchObject({ nlink: 0xffffffff, uid: 7, gid: 2, mtimeSec: -5n, mtimeNsec: 0xffffffff });
  });
});

/** Enough to name a directory one level too deep; each on an earlier line than what is in it. */
function nested(depth: number): string {
  const lines = [ROOT];
  for (let path = '/d'; path.length <= 2 * depth; path += '/d')
    lines.push(`${path} 0 40755 2 0 0 0 0.0 - - -\n`);
  return lines.join('');
}

describe('parseDump() of what no image can hold', () => {
  it.each([
    ['a file beyond 2^53 bytes', '/a 9007199254740993 100644 1 0 0 0 0.0 x - -\n', 'tree-file-too-large'],
    [
      'a backing path beyond PATH_MAX',
      `/a 1 100644 1 0 0 0 0.0 ${'p'.repeat(4096)} - -\n`,
      'tree-payload-invalid',
    ],
    [
      'the same with escapes',
      `/a 1 100644 1 0 0 0 0.0 ${'\\x70'.repeat(4096)} - -\n`,
      'tree-payload-invalid',
    ],
    ['a link without target', '/a 0 120777 1 0 0 0 0.0 - - -\n', 'tree-target-invalid'],
    [
      'a name of an xattr beyond 255 bytes',
      `/a 0 100644 1 0 0 0 0.0 - - - ${'n'.repeat(256)}=\n`,
      'tree-xattr-invalid',
    ],
    [
      'xattrs beyond 32 KiB',
      `/a 0 100644 1 0 0 0 0.0 - - - user.a=${'v'.repeat(32768)}\n`,
      'tree-xattrs-too-large',
    ],
    [
      'a hard link to a directory',
      '/d 0 40755 2 0 0 0 0.0 - - -\n/h 0 @100644 1 0 0 0 0.0 /d - -\n',
      'hardlink-to-directory',
    ],
    ['directories without end', nested(MAX_DEPTH + 1).slice(ROOT.length), 'tree-too-deep'],
    [
      'the same, each path from the root on',
      nested(MAX_DEPTH + 1)
        .slice(ROOT.length)
        .replace(/^\//gm, '//'),
      'tree-too-deep',
    ],
  ])('refuses %s', (_, lines, code) => {
    expect(() => parse(ROOT + lines)).toThrow(expect.objectContaining({ code }));
  });

  it('takes directories as deep as they may be', () => {
    expect(() => parse(nested(MAX_DEPTH))).not.toThrow();
  });
});

/** As it is read in pieces of so many bytes. */
function inPieces(dump: Uint8Array, bytes: number): ValidatedTree {
  const parser = startDump();
  let rest: Uint8Array = new Uint8Array(0);
  for (let at = 0; at <= dump.length; at += bytes) {
    const piece = concatBytes([rest, dump.subarray(at, at + bytes)]);
    rest = piece.subarray(readLines(parser, piece, at + bytes > dump.length));
  }
  expect(rest.length).toBe(0);
  return finishDump(parser);
}

describe('readLines()', () => {
  it('makes the same tree of pieces of any size', () => {
    const dumps = [Buffer.from(FIXTURE_DUMP), ...fc.sample(randomDump, { numRuns: 20, seed: 20261127 })];
    for (const dump of dumps) {
      const whole = parseDump(dump);
      for (const bytes of [1, 7, 64, 1000, dump.length]) expect(inPieces(dump, bytes)).toEqual(whole);
    }
  });

  it('takes nothing of the next line', () => {
    const lines = `${ROOT}/a 0\n40755 2 0 0 0 0.0 - - -\n`;
    expect(() => parse(lines)).toThrow('line 2: mode "" is not a number');
  });

  it('takes no head with fields missing for one of the next line', () => {
    const lines = `${ROOT}/h 0 @100644\n/i 0 @100644 1 0 0 0 0.0 /none - -\n`;
    expect(() => parse(lines)).toThrow('line 3: hard link target "/none" does not exist');
  });

  it('takes a head as short or as long as it is', () => {
    const digits = '1'.padStart(300, '0');
    const heads = [
      `100644 1 0 0 0 ${digits}.0`,
      `100644 1 0 0 0 ${digits}.01`,
      '100644 1 0 0 0 1.0',
      '100644 1 0 0 0 1.01',
    ];
    const lines = heads.flatMap((head, i) => [`/a${i} 0 ${head} - - -\n`, `/b${i} 0 ${head} - - -\n`]);
    const { children } = parse(ROOT + lines.join(''));
    const times = [...(children?.values() ?? [])].map(({ mtimeSec, mtimeNsec }) => [mtimeSec, mtimeNsec]);
    const [none, one] = [
      [1n, 0],
      [1n, 1],
    ];
    expect(times).toEqual([none, none, one, one, none, none, one, one]);
  });

  it('finds directories whose paths are longer than any that Linux takes', () => {
    const name = 'n'.repeat(255);
    const paths = Array.from({ length: 40 }, (_, depth) => `/${name}`.repeat(depth + 1));
    const tree = parse(
      ROOT +
        paths
          .map((path) => `${path} 0 40755 2 0 0 0 0.0 - - -\n${path}/f 0 100644 1 0 0 0 0.0 - - -\n`)
          .join(''),
    );
    let at: TreeNode | undefined = tree;
    for (const _ of paths) {
      at = at?.children?.get(ascii(name));
      expect(at?.children?.has(ascii('f'))).toBe(true);
    }
  });

  it('does not take one directory for another', () => {
    const directory = (path: string) => `${path} 0 40755 2 0 0 0 0.0 - - -\n`;
    const file = (path: string) => `${path} 0 100644 1 0 0 0 0.0 - - -\n`;
    const { children } = parse(
      [
        ROOT,
        directory('/ab'),
        directory('/ab/c'),
        file('/ab/c/1'),
        file('/ab/2'),
        directory('/ac'),
        file('/ab/3'),
        file('/ac/4'),
        directory('/ac/c'),
        file('/ab/c/5'),
      ].join(''),
    );
    const names = (...path: string[]) => {
      let at = children;
      for (const name of path) at = at?.get(ascii(name))?.children;
      return [...(at?.keys() ?? [])];
    };
    expect(names('ab')).toEqual(['c', '2', '3']);
    expect(names('ab', 'c')).toEqual(['1', '5']);
    expect(names('ac')).toEqual(['4', 'c']);
    expect(names('ac', 'c')).toEqual([]);
  });
});

describe('dumpImage()', () => {
  it('gives the text again', () => {
    expect(again(FIXTURE_DUMP)).toBe(FIXTURE_DUMP);
  });

  it('escapes what would be read otherwise', () => {
    const name = '/\\x20\\\\\\n\\t\\r\\x00=\\xff';
    const root = ROOT.replace(' 0 ', ' 4096 ');
    const lines = `${root}${name.replace('\\x00', '')} 1 100644 1 0 0 0 0.0 \\x2d - - user.a\\x3d=\\x3d\\x00\n`;
    expect(again(lines)).toBe(lines);
  });

  it('writes numbers as long as they get', () => {
    const lines = [
      '/ 4096 40755 2 0 0 0 0.0 - - -',
      '/a 9007199254740992 100000 4294967295 4294967295 4294967295 0 -9223372036854775808.4294967295 x - -',
      '/b 0 60777 1 0 0 4294967295 9223372036854775807.0 - - -',
      '/c 0 20777 1 0 0 2 -1.999999999 - - -',
      '/d 0 20777 1 0 0 1 -1.999999999 - - -',
      '',
    ].join('\n');
    expect(again(lines)).toBe(lines);
  });

  it('has room for text that is much longer than its image', () => {
    const content = '\\xff'.repeat(5000);
    const links = Array.from({ length: 99 }, (_, i) => `/d/${'l'.repeat(200)}${i}`);
    const lines = [
      '/ 4096 40755 3 0 0 0 0.0 - - -',
      `/a 5000 100644 100 0 0 0 0.0 - ${content} -`,
      '/d 0 40755 2 0 0 0 0.0 - - -',
      ...links.sort().map((path) => `${path} 5000 @100644 100 0 0 0 0.0 /a ${content} -`),
      '',
    ].join('\n');
    const written = again(lines).replace(/^\/d \d+/m, '/d 0');
    expect(written.length).toBe(lines.length);
    expect(written === lines).toBe(true);
  });

  it('writes what is read of an image', () => {
    for (const dump of fc.sample(randomDump, { numRuns: 60, seed: 20261126 })) {
      let image: Uint8Array;
      try {
        image = writeImage(parseDump(dump));
      } catch (error) {
        // The format cannot hold a few of them.
        expect(error).toMatchObject({ code: 'overlay-xattrs-too-large' });
        continue;
      }
      expect(Buffer.from(dumpImage(image)).toString('latin1')).toBe(
        Buffer.from(formatDump(readImage(image))).toString('latin1'),
      );
    }
  });
});
