/**
 * Prints what the interpreter makes of the cases and of random operations. Run by the engine that is tested, and by one that
 * is believed. With an argument it comes back to what started it.
 */

/// <reference path="../../initrd/runtime/sys.d.ts" />
import * as system from '../../initrd/sys.ts';
import { type ByteString, fromByteString } from '../../src/formats/encoding.ts';
import { cases } from './engine-cases.ts';
import { randomOperations } from './engine-random.ts';

const LINES_AT_ONCE = 200;

let lines: string[] = [];

function flush(): void {
  system.write(system.STDOUT, fromByteString(lines.join('\n').concat('\n') as ByteString), 'standard output');
  lines = [];
}

for (const make of [cases, randomOperations]) {
  for (const line of make()) if (lines.push(line) === LINES_AT_ONCE) flush();
}
flush();
if (sys.argv.length === 1) system.exit(0);
