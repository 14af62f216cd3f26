/** How the tools of composefs 1.0.8 begin and end: same options, output and exit status. Each is a program of its own. */

import { basename } from 'node:path';
import { lastArguments } from './adapters/argument-bytes.ts';
import { type ByteString, fromByteString } from './formats/encoding.ts';
import { Call, runTool, type Tool } from './personalities/tool.ts';
import { runProgram } from './program.ts';
import { print, progress } from './terminal.ts';

/** `argv` is process.argv; the name of the tool, or a path with that name, stands at `nameAt`. */
export type Start = (argv: readonly string[], nameAt: number) => void;

export function startOf(tool: Tool): Start {
  return (argv, nameAt) =>
    runProgram(async () => {
      const name = basename(argv[nameAt] ?? '');
      const call = new Call(name, lastArguments(argv.length - nameAt - 1), progress);
      process.exitCode = runTool(tool, call);
      progress.finish();
      for (const bytes of call.stdout) print(bytes);
      if (call.stderr !== '') process.stderr.write(fromByteString(call.stderr as ByteString));
    });
}
