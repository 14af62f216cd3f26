import { describe, expect, it } from 'vitest';
import { parseDump } from '../../src/formats/dump-read.ts';
import { readImage } from '../../src/formats/erofs-read.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import type { TreeNode } from '../../src/formats/tree.ts';
import { diffTrees } from '../../src/formats/tree-diff.ts';

const ROOT = '/ 0 40755 2 0 0 0 0.0 - - -';
const ONE = '1'.repeat(64);
const TWO = '2'.repeat(64);

function tree(...lines: string[]): TreeNode {
  return readImage(writeImage(parseDump(Buffer.from([ROOT, ...lines, ''].join('\n')))));
}

/** `/path aspect,aspect` for each difference; `+` and `-` for those of one side. */
function diff(before: TreeNode, after: TreeNode): string[] {
  return [...diffTrees(before, after)].map((one) => {
    if (one.before === undefined) return `+ ${one.path}`;
    if (one.after === undefined) return `- ${one.path}`;
    return `${one.path} ${one.changes.map(({ aspect, name }) => `${aspect}${name ? ` ${name}` : ''}`).join(',')}`;
  });
}

const FILE = '/f 5 100644 1 0 0 0 0.0 - hello -';

describe('diffTrees()', () => {
  it('finds nothing between a tree and itself', () => {
    const one = tree(FILE, '/g 5 @100644 1 0 0 0 0.0 /f - -', '/w 0 20644 1 0 0 0 0.0 - - -');
    expect(diff(one, one)).toEqual([]);
  });

  const EXTERNAL = `/f 9 100644 1 0 0 0 0.0 aa/b - ${ONE}`;
  it.each<[what: string, before: string, after: string, expected: string]>([
    ['mode', FILE, FILE.replace('100644', '104644'), '/f mode'],
    ['user', FILE, FILE.replace('1 0 0', '1 7 0'), '/f owner'],
    ['group', FILE, FILE.replace('1 0 0', '1 0 7'), '/f owner'],
    ['seconds', FILE, FILE.replace('0.0', '1.0'), '/f time'],
    ['nanoseconds', FILE, FILE.replace('0.0', '0.1'), '/f time'],
    ['content', FILE, FILE.replace('hello', 'world'), '/f content'],
    ['size', FILE, FILE.replace('5', '6').replace('hello', 'hello!'), '/f content'],
    ['inline and external content', FILE, `/f 5 100644 1 0 0 0 0.0 aa/b - ${ONE}`, '/f content'],
    ['an xattr that is added', FILE, `${FILE} user.a=1`, '/f xattr user.a'],
    ['an xattr that is changed', `${FILE} user.a=1`, `${FILE} user.a=2`, '/f xattr user.a'],
    ['type', FILE, '/f 0 40644 2 0 0 0 0.0 - - -', '/f type'],
    ['digest', EXTERNAL, EXTERNAL.replace(ONE, TWO), '/f content'],
    ['digest and backing file', EXTERNAL, EXTERNAL.replace(ONE, TWO).replace('aa/b', 'bb/c'), '/f content'],
    ['no digest on one side', EXTERNAL, EXTERNAL.replace(ONE, '-'), '/f digest'],
    ['the backing file alone', EXTERNAL, EXTERNAL.replace('aa/b', 'bb/c'), '/f backing'],
    [
      'mode, after which an object of ostree is named',
      EXTERNAL,
      EXTERNAL.replace('aa/b', 'bb/c').replace('100644', '100600'),
      '/f mode',
    ],
    [
      'the backing file, when nothing else says whether content differs',
      EXTERNAL.replace(ONE, '-'),
      EXTERNAL.replace(ONE, '-').replace('aa/b', 'bb/c'),
      '/f content',
    ],
    ['link target', '/f 1 120777 1 0 0 0 0.0 a - -', '/f 1 120777 1 0 0 0 0.0 b - -', '/f content'],
    ['device', '/f 0 20644 1 0 0 257 0.0 - - -', '/f 0 20644 1 0 0 258 0.0 - - -', '/f content'],
    ['link count', FILE, FILE.replace('100644 1', '100644 2'), '/f links'],
  ])('finds a difference of %s', (_, before, after, expected) => {
    expect(diff(tree(before), tree(after))).toEqual([expected]);
  });

  it('names every path of a directory that is there on one side only, in the order of a dump', () => {
    const less = tree('/b 0 40755 2 0 0 0 0.0 - - -');
    const more = tree(
      '/a 0 40755 2 0 0 0 0.0 - - -',
      '/a/x 0 100644 1 0 0 0 0.0 - - -',
      '/b 0 40755 2 0 0 0 0.0 - - -',
      '/b/y 0 100644 1 0 0 0 0.0 - - -',
    );
    expect(diff(less, more)).toEqual(['+ /a', '+ /a/x', '+ /b/y']);
    expect(diff(more, less)).toEqual(['- /a', '- /a/x', '- /b/y']);
  });

  it('tells two files with the same content from one file with two names', () => {
    const two = tree(FILE, FILE.replace('/f', '/g'));
    const one = tree(FILE, '/g 5 @100644 1 0 0 0 0.0 /f - -');
    expect(diff(two, one)).toEqual(['/f links', '/g links']);
  });

  it('stops when nobody asks for more', () => {
    const first = diffTrees(
      tree(FILE),
      tree(FILE.replace('hello', 'world'), '/g 0 100644 1 0 0 0 0.0 - - -'),
    ).next();
    expect(first.value?.path).toBe('/f');
  });
});
