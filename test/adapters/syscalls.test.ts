import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { systemCall } from '../../src/adapters/libc.ts';
import { check, SystemCallError } from '../../src/adapters/syscalls.ts';

const close = systemCall('int close(int fd)');
const chdir = systemCall('int chdir(str path)');

test('a failed call is its errno, negative, and keeps it whatever fails after it', () => {
  const result = close(-1);
  expect(result).toBe(-constants.errno.EBADF);
  expect(chdir('/no-such-folder')).toBe(-constants.errno.ENOENT);
  expect(() => check(result, 'close')).toThrow(new SystemCallError('close', 'EBADF'));
});

test('a call that succeeds is its result, after one that failed, too', () => {
  expect(chdir('/no-such-folder')).toBeLessThan(0);
  expect(chdir(process.cwd())).toBe(0);
});
