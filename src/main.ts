/**
 * Where everything begins: the command line, or a tool of composefs for the scripts that call those. A link to sealroot
 * that has the name of a tool is that tool, and so is `sealroot NAME`. The two are programs of their own in the package
 * (tools/bundle.ts), since reading both would take longer than what most calls do.
 */

import { basename } from 'node:path';

const TOOLS = ['mkcomposefs', 'composefs-info', 'mount.composefs'];

async function main(argv: readonly string[]): Promise<void> {
  const [, program = '', first = ''] = argv;
  const nameAt = [basename(program), first].findIndex((name) => TOOLS.includes(name)) + 1;
  if (nameAt > 0) (await import('./composefs-tools.ts')).start(argv, nameAt);
  else (await import('./command-line.ts')).start();
}

void main(process.argv);
