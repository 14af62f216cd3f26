/** The program that is the tools of composefs 1.0.8: same options, output and exit status. */

import { basename } from 'node:path';
import { lastArguments } from './adapters/argument-bytes.ts';
import { type ByteString, fromByteString } from './formats/encoding.ts';
import { composefsInfo } from './personalities/composefs-info.ts';
import { mkcomposefs } from './personalities/mkcomposefs.ts';
import { mountTool } from './personalities/mount-composefs.ts';
import { Call, runTool, type Tool } from './personalities/tool.ts';
import { runProgram } from './program.ts';
import { print, progress } from './terminal.ts';

const TOOLS: Readonly<Record<string, Tool>> = {
  mkcomposefs,
  'composefs-info': composefsInfo,
  'mount.composefs': mountTool,
};

/** `argv` is process.argv; the name of the tool, or a path with that name, stands at `nameAt`. */
export function start(argv: readonly string[], nameAt: number): void {
  runProgram(async () => {
    const name = basename(argv[nameAt] ?? '');
    const call = new Call(name, lastArguments(argv.length - nameAt - 1), progress);
    process.exitCode = runTool(TOOLS[name] as Tool, call);
    progress.finish();
    for (const bytes of call.stdout) print(bytes);
    process.stderr.write(fromByteString(call.stderr as ByteString));
  });
}
