/**
 * Where everything begins: the command line, or a tool of composefs for the scripts that call those. A link to sealroot
 * that has the name of a tool is that tool, and so is `sealroot NAME`. Each is a program of its own in the package
 * (tools/bundle.ts), since reading the others would take longer than what most calls do.
 */

import { basename } from 'node:path';
import type { Start } from './composefs-tools.ts';

const TOOLS = new Map<string, () => Promise<{ start: Start }>>([
  ['mkcomposefs', () => import('./mkcomposefs.ts')],
  ['composefs-info', () => import('./composefs-info.ts')],
  ['mount.composefs', () => import('./mount-composefs.ts')],
]);

async function main(argv: readonly string[]): Promise<void> {
  const [, program = '', first = ''] = argv;
  const names = [basename(program), first];
  const nameAt = names.findIndex((name) => TOOLS.has(name)) + 1;
  const tool = TOOLS.get(names[nameAt - 1] ?? '');
  if (tool !== undefined) (await tool()).start(argv, nameAt);
  else if (first === 'image') (await import('./image.ts')).start();
  else (await import('./command-line.ts')).start();
}

void main(process.argv);
