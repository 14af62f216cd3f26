/** Standard streams that somebody made non-blocking: the flag belongs to the open file, which others share. */

const PAUSE_MS = 10;

/** The result of a read or write, which is tried again until the other side is ready. */
export function whenReady<T>(transfer: () => T): T {
  for (;;) {
    try {
      return transfer();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
  }
}
