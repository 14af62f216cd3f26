/** How a tool of composefs ends and what it says, which is collected until then. */

import { SourceError } from '../adapters/directory-source.ts';
import { errnoText } from '../adapters/error-text.ts';
import type { Progress } from '../adapters/progress.ts';
import { type ByteString, fromByteString } from '../formats/encoding.ts';
import { SealrootError } from '../formats/errors.ts';

/** Ends a tool. */
class Exit extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}

/** What a tool is called with, and what it says. Text is bytes: names are printed as they are. */
export class Call {
  readonly name: string;
  readonly args: readonly ByteString[];
  /** On a terminal only, where the reference shows nothing. */
  readonly progress: Progress;
  readonly stdout: Uint8Array[] = [];
  stderr = '';

  constructor(name: string, args: readonly ByteString[], progress: Progress) {
    this.name = name;
    this.args = args;
    this.progress = progress;
  }

  out(text: string | Uint8Array): void {
    this.stdout.push(typeof text === 'string' ? fromByteString(text as ByteString) : text);
  }

  err(text: string): void {
    this.stderr += text;
  }

  /** `text` to standard error as it is, and the end. */
  exit(text: string, status = 1): never {
    this.err(text);
    throw new Exit(status);
  }

  /** As errx(3): with the program's name before and a newline after. */
  fail(text: string): never {
    this.exit(`${this.name}: ${text}\n`);
  }
}

/** Runs `action`; what the system says against it is reported as err(3) does. */
export function withReason<T>(call: Call, describe: (path: ByteString) => string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return call.fail(`${describe(error.path)}: ${errnoText(error.errno)}`);
  }
}

export type Tool = (call: Call) => void;

/** Runs a tool and returns its exit status. Every failure is 1, as with the reference; a defect of ours is thrown on. */
export function runTool(tool: Tool, call: Call): number {
  try {
    tool(call);
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.status;
    if (!(error instanceof SealrootError)) throw error;
    call.err(`${call.name}: ${error.message}\n`);
    return 1;
  }
}
