import { describe, expect, it } from 'vitest';
import { whenReady } from '../../src/adapters/non-blocking.ts';

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe('whenReady', () => {
  it('tries again while the other side is not ready', () => {
    const answers = [failure('EAGAIN'), failure('EAGAIN'), 7];
    const transfer = () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    };
    expect(whenReady(transfer)).toBe(7);
    expect(answers).toEqual([]);
  });

  it('passes every other error on', () => {
    const calls: string[] = [];
    const transfer = () => {
      calls.push('write');
      throw failure('EPIPE');
    };
    expect(() => whenReady(transfer)).toThrow('EPIPE');
    expect(calls).toHaveLength(1);
  });
});
