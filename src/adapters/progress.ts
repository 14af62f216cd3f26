/** Progress on a terminal: one line that is rewritten, only when the work takes longer than a second, and gone after. */

import type { ImageProgress } from './image.ts';

const DELAY_MS = 1000;
const INTERVAL_MS = 100;
/** To look at the clock takes as long as what is done with a small file: the first one is told, then these. */
const FILES_PER_REPORT = 64;
const BYTES_PER_REPORT = 16 * 2 ** 20;

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
      if (now() < next || terminal.isTTY !== true) return;
      next = now() + INTERVAL_MS;
      shown = true;
      // A terminal that does not know its width says 0.
      terminal.write(`\r\x1b[K${describe().slice(0, (terminal.columns || 80) - 1)}`);
    },
    finish() {
      if (shown) terminal.write('\r\x1b[K');
      shown = false;
    },
  };
}

/**
 * For whoever reads files: what has been read, and how long the rest takes if it goes on like this. `now` is in
 * milliseconds.
 */
export function readingProgress(
  progress: Progress | undefined,
  what: string,
  now: () => number = Date.now,
): ((done: ImageProgress) => void) | undefined {
  if (progress === undefined) return undefined;
  const started = now();
  let reported = 0;
  return ({ files, bytes, of }) => {
    if (files % FILES_PER_REPORT !== 1 && bytes - reported < BYTES_PER_REPORT) return;
    reported = bytes;
    progress.update(() => {
      const left = Math.ceil((((now() - started) / files) * (of - files)) / 1000);
      return `reading ${what}: ${files} of ${of} files, ${Math.floor(bytes / 2 ** 20)} MiB, ${left} s left`;
    });
  };
}
