/** The program of the `image` commands, which scripts call more often than the others, and for less work. */

import { addImage } from './image-commands.ts';
import { startCommand } from './verbs.ts';

export function start(): void {
  startCommand(addImage);
}
