/** The program mkcomposefs. */

import { startOf } from './composefs-tools.ts';
import { mkcomposefs } from './personalities/mkcomposefs.ts';

export const start = startOf(mkcomposefs);
