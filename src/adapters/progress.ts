/** Progress on a terminal: one line that is rewritten, only when the work takes longer than a second, and gone after. */

import type { ImageProgress } from './image.ts';

const DELAY_MS = 1000;
const INTERVAL_MS = 100;

export interface Progress {
  /** Called as often as the worker likes; `describe` only when the line is drawn. */
  update(describe: () => string): void;
  /** Clears the line. */
  finish(): void;
}

export interface ProgressTerminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Writes nothing when the stream is no terminal. `now` is in milliseconds. */
export function createProgress(terminal: ProgressTerminal, now: () => number = Date.now): Progress {
  let next = now() + DELAY_MS;
  let shown = false;
  return {
    update(describe) {
      if (terminal.isTTY !== true || now() < next) return;
      next = now() + INTERVAL_MS;
      shown = true;
      terminal.write(`\r\x1b[K${describe().slice(0, (terminal.columns ?? 80) - 1)}`);
    },
    finish() {
      if (shown) terminal.write('\r\x1b[K');
      shown = false;
    },
  };
}

/** For buildImage: what it reads, on the progress line. */
export function imageProgress(progress: Progress | undefined): ((done: ImageProgress) => void) | undefined {
  if (progress === undefined) return undefined;
  return ({ files, bytes }) =>
    progress.update(() => `reading objects: ${files} files, ${Math.floor(bytes / 2 ** 20)} MiB`);
}
