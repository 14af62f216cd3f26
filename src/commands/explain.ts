/** `sealroot explain`: what a refusal means and what to do about it. */

import { printable } from '../formats/encoding.ts';
import { badInput } from '../formats/errors.ts';
import { REFUSAL_CAUSES } from '../formats/refusal-causes.ts';
import { type Refusal, refusalCodes, refusalOf } from '../formats/refusals.ts';

export interface ExplainResult extends Refusal {
  code: string;
  /** Sentences. */
  cause: string;
}

/** Throws `code-unknown`. */
export function explain(code: string): ExplainResult {
  const refusal = refusalOf(code);
  if (refusal !== undefined) return { code, cause: REFUSAL_CAUSES[code] ?? '', ...refusal };
  throw badInput(
    'code-unknown',
    `cannot explain ${printable(code)}: no refusal of the boot has this code`,
    `the codes are: ${refusalCodes().join(', ')}`,
  );
}
