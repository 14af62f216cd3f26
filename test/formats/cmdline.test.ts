import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findKernelArgument, kernelArguments } from '../../src/formats/cmdline.ts';
import { ascii, type ByteString } from '../../src/formats/encoding.ts';

describe('findKernelArgument()', () => {
  const cases: [string, string | undefined][] = [
    ['ostree=/a', '/a'],
    ['root=LABEL=x ostree=/a quiet\n', '/a'],
    ['  \t ostree=/a\n', '/a'],
    ['ostree=/first ostree=/second', '/first'],
    ['ostree=', ''],
    ['ostree', undefined],
    ['', undefined],
    ['xostree=/a ostree2=/b Ostree=/c', undefined],
    ['a="b ostree=/quoted"', undefined],
    ['a="b ostree=/quoted" ostree=/real', '/real'],
    ['a=b" ostree=/quoted" ostree=/real', '/real'],
    ['ostree="/with space"', '/with space'],
    ['"ostree=/with space" x', '/with space'],
    ['"ostree=/unclosed and more', '/unclosed and more'],
    ['ostree="/unclosed and more', '/unclosed and more'],
    ['ostree=/a"b"', '/a"b"'],
    ['ostree=/a=b', '/a=b'],
    ['ostree ostree=/a', '/a'],
    ['init=/bin/sh -- ostree=/after', '/after'],
    ['a\u00a0ostree=/a', '/a'],
    ['=ostree=/a', undefined],
    ['"', undefined],
    ['ostree="', ''],
  ];
  for (const [cmdline, expected] of cases) {
    it(`${JSON.stringify(cmdline)} gives ${JSON.stringify(expected)}`, () => {
      expect(findKernelArgument(kernelArguments(cmdline as ByteString), 'ostree')).toBe(expected);
    });
  }

  it('finds an argument among any others, whatever they are', () => {
    const word = fc.stringMatching(/^[a-z=."\\-]{0,8}$/).filter((text) => text.split('"').length % 2 === 1);
    fc.assert(
      fc.property(fc.array(word), fc.array(word), (before, after) => {
        const clean = before.filter((text) => !text.includes('wanted'));
        const line = ascii([...clean, 'wanted=1', ...after].join(' '));
        expect(findKernelArgument(kernelArguments(line), 'wanted')).toBe('1');
      }),
    );
  });

  it('takes a leading = for a part of the key, as the kernel does', () => {
    expect(kernelArguments(ascii('=a=b =c'))).toEqual([
      { key: '=a', value: 'b' },
      { key: '=c', value: undefined },
    ]);
  });

  it('keeps bytes that are not ASCII', () => {
    expect(kernelArguments('a=\u00ff\u00c3 b' as ByteString)).toEqual([
      { key: 'a', value: '\u00ff\u00c3' },
      { key: 'b', value: undefined },
    ]);
  });
});
