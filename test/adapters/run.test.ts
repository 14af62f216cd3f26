import { describe, expect, it } from 'vitest';
import { runProgram } from '../../src/adapters/run.ts';

/** A program that every machine with these tests has. */
function node(script: string): [string, ...string[]] {
  return [process.execPath, '-e', script];
}

describe('runProgram()', () => {
  it('returns what the program printed, for an exit status that is allowed', () => {
    const script = 'process.stdin.pipe(process.stdout); console.error("said"); process.exitCode = 3';
    expect(runProgram(node(script), { input: 'given', allowedStatuses: [0, 3] })).toEqual({
      status: 3,
      stdout: 'given',
      stderr: 'said\n',
    });
  });

  it('names the program that is not installed', () => {
    expect(() => runProgram(['sealroot-no-such-program'])).toThrow(
      expect.objectContaining({
        kind: 'system',
        code: 'program-missing',
        message: 'cannot run sealroot-no-such-program: it is not installed',
      }),
    );
  });

  it.each([
    ['an exit status', 'console.error("a\\nb\\nc\\nd"); process.exitCode = 7', ': exit status 7: b; c; d'],
    ['a signal', 'process.kill(process.pid, "SIGTERM")', ': signal SIGTERM'],
  ])('fails with %s and the end of what the program said', (_, script, end) => {
    expect(() => runProgram(node(script))).toThrow(
      expect.objectContaining({
        kind: 'system',
        code: 'program-failed',
        message: expect.stringMatching(new RegExp(`${end}$`)),
      }),
    );
  });

  it('kills a program that takes too long', () => {
    expect(() => runProgram(node('setInterval(() => {}, 1000)'), { timeoutSeconds: 1 })).toThrow(
      expect.objectContaining({ code: 'program-failed', message: expect.stringMatching(/: ETIMEDOUT$/) }),
    );
  });
});
