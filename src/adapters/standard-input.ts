/** Standard input as one value. */

import { badInput, systemError } from '../formats/errors.ts';

/** Everything up to the end; `max` bounds what is kept in memory. */
export async function readStandardInput(max: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > max) {
        throw badInput('file-too-large', `cannot read standard input: more than ${max} bytes`);
      }
      chunks.push(chunk);
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw systemError('file-access-failed', `cannot read standard input: ${code}`);
  }
  return Buffer.concat(chunks, length);
}
