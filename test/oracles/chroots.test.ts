/** What runs in a Debian tree ends with the process that asked for it, however that ends. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ensureTrixie } from '../../vm-tests/os-tree.ts';

const PROJECT_ROOT = path.join(import.meta.dirname, '../..');
const folder = mkdtempSync(path.join(tmpdir(), 'sealroot-chroots-'));
afterAll(() => rmSync(folder, { recursive: true }));

const PROGRAM = `
const [, chroots, tree, folder] = process.argv;
const { runIn } = await import(chroots);
await runIn(tree, ['sh', '-c', 'exec >/srv/fifo; echo started; sleep 600'], { binds: [[folder, '/srv']] });
`;

it('is killed with a process that is killed', async () => {
  const tree = await ensureTrixie();
  // Whoever waits for its end holds its other side: the reader sees the end of the last writer.
  const fifo = path.join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const chroots = path.join(PROJECT_ROOT, 'tools/chroots.ts');
  const argv = ['--import', 'tsx', '--input-type=module', '--eval', PROGRAM, chroots, tree, folder];
  const child = spawn(process.execPath, argv, { cwd: PROJECT_ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
  const reader = createReadStream(fifo, 'utf8');
  const [text] = await once(reader, 'data');
  expect(text).toBe('started\n');
  const ended = once(reader, 'end');
  child.kill('SIGKILL');
  await ended;
}, 120_000);
