/** Where the time of a boot goes, by the monotonic clock. */

import type { Phase } from '../src/formats/boot-report.ts';
import * as sys from './sys.ts';

export class Phases {
  readonly done: Phase[] = [];
  #since = sys.monotonicMicroseconds();

  /** What has passed since the phase before. */
  end(name: string): void {
    const now = sys.monotonicMicroseconds();
    this.done.push({ name, microseconds: now - this.#since });
    this.#since = now;
  }
}
