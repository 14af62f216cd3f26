/** The program composefs-info. */

import { startOf } from './composefs-tools.ts';
import { composefsInfo } from './personalities/composefs-info.ts';

export const start = startOf(composefsInfo);
