/** The door to what few boots need; see bundle.ts. */

/// <reference path="./runtime/sys.d.ts" />
import type * as Seldom from './seldom.ts';
import { shared } from './shared.ts';

let loaded: typeof Seldom | undefined;

/** The exports of seldom.ts. The first call reads them in. */
export function seldom(): typeof Seldom {
  loaded ??= (sys.seldom() as (shared: readonly unknown[]) => typeof Seldom)(shared());
  return loaded;
}
