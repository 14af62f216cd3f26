/** The program mount.composefs. */

import { startOf } from './composefs-tools.ts';
import { mountTool } from './personalities/mount-composefs.ts';

export const start = startOf(mountTool);
