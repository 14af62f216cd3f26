import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runHere } from '../../tools/chroots.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('runHere()', () => {
  it('lets the process end when the command is not installed', () => {
    const script = `
      import { runHere } from './tools/chroots.ts';
      await runHere(['sealroot-no-such-command']).catch((error) => console.log(error.code));`;
    const argv = ['--import', 'tsx', '--input-type=module', '--eval', script];
    // Left to itself it ends at once; the deadline is only there so that a wait is red.
    const output = execFileSync(process.execPath, argv, { cwd: ROOT, encoding: 'utf8', timeout: 30_000 });
    expect(output).toBe('command-missing\n');
  });

  it('kills a command that takes too long', async () => {
    const forever = [process.execPath, '--eval', 'setInterval(() => {}, 1000)'];
    await expect(runHere(forever, { timeoutSeconds: 1 })).rejects.toMatchObject({
      code: 'command-failed',
      message: expect.stringContaining('killed by SIGKILL'),
    });
  });
});
