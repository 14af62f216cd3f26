/**
 * The tools of composefs 1.0.8 under their own names, for the scripts that call them: same options, output and exit
 * status. A link to sealroot that has the name of a tool is that tool.
 */

import { basename } from 'node:path';
import { lastArguments } from '../adapters/argument-bytes.ts';
import { composefsInfo } from './composefs-info.ts';
import { mkcomposefs } from './mkcomposefs.ts';
import { mountTool } from './mount-composefs.ts';
import { type Outcome, runTool, type Tool } from './tool.ts';

const TOOLS: ReadonlyMap<string, Tool> = new Map([
  ['mkcomposefs', mkcomposefs],
  ['composefs-info', composefsInfo],
  ['mount.composefs', mountTool],
]);

/** Runs the tool that this process is called as, or by its first argument; undefined when that is none of them. */
export function runPersonality(argv: readonly string[]): Outcome | undefined {
  for (const index of [1, 2]) {
    const name = index === 1 ? basename(argv[index] ?? '') : (argv[index] ?? '');
    const tool = TOOLS.get(name);
    if (tool !== undefined) return runTool(tool, name, lastArguments(argv.length - index - 1));
  }
  return undefined;
}
