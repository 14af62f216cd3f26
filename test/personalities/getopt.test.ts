/** Against glibc 2.42's behaviour, which the oracles show at work in the real tools. */

import { describe, expect, it } from 'vitest';
import { ascii } from '../../src/formats/encoding.ts';
import { type Grammar, parseArguments } from '../../src/personalities/getopt.ts';

const GRAMMAR: Grammar = {
  short: 'vo:',
  long: [
    { name: 'print', value: false },
    { name: 'print-all', value: false },
    { name: 'prefix', value: true },
    { name: 'ours', value: false, exact: true },
  ],
};

function parse(args: readonly string[], grammar = GRAMMAR, stopAtOperand = false) {
  return parseArguments(args.map(ascii), grammar, stopAtOperand);
}

describe('parseArguments()', () => {
  it.each([
    [['a', '--print', 'b'], ['print'], ['a', 'b']],
    [['--print-a', '-v'], ['print-all', 'v'], []],
    [['--pre', 'x', '--prefix=y', '--pref='], ['prefix=x', 'prefix=y', 'prefix='], []],
    [['-vox', '-o', 'y', '-vv'], ['v', 'o=x', 'o=y', 'v', 'v'], []],
    [['-', '--', '--print', '-'], [], ['-', '--print', '-']],
    [['--prefix', '--', 'a'], ['prefix=--'], ['a']],
    [['--ours'], ['ours'], []],
  ])('reads %j', (args, options, operands) => {
    const result = parse(args);
    expect(
      result.options.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`)),
    ).toEqual(options);
    expect([result.operands, result.mistake]).toEqual([operands, undefined]);
  });

  it.each([
    [['--no=1'], 'unknown', "unrecognized option '--no=1'"],
    [
      ['--pr=1'],
      'unknown',
      "option '--pr=1' is ambiguous; possibilities: '--print' '--print-all' '--prefix'",
    ],
    [['--print=1'], 'unknown', "option '--print' doesn't allow an argument"],
    [['--our'], 'unknown', "unrecognized option '--our'"],
    [['--prefix'], 'value-missing', "option '--prefix' requires an argument"],
    [['-vo'], 'value-missing', "option requires an argument -- 'o'"],
    [['-vx'], 'unknown', "invalid option -- 'x'"],
    [['-:'], 'unknown', "invalid option -- ':'"],
  ])('says what is wrong with %j as glibc does', (args, kind, message) => {
    expect(parse(['operand', ...args])).toMatchObject({ operands: [], mistake: { kind, message } });
  });

  it('keeps the options before a mistake: a tool acts on them first', () => {
    expect(parse(['--print', '-x', '-v']).options).toEqual([{ name: 'print' }]);
  });

  it('stops at the first operand when POSIXLY_CORRECT asks for it', () => {
    expect(parse(['-v', 'a', '-v'], GRAMMAR, true)).toEqual({
      options: [{ name: 'v' }],
      operands: ['a', '-v'],
    });
  });

  it('takes --x for the option - where there are no long ones', () => {
    expect(parse(['--help'], { short: 'h' }).mistake?.message).toBe("invalid option -- '-'");
  });
});
