/**
 * What a guest tells the host: JSON objects, one a line, on its virtio console. `event` names what happened; the
 * mandatory last one is `{"event":"done","status":N}`, so that a guest that died on the way is never taken for
 * one that had nothing to say. Anything else on that channel is a fault of the test, not noise to be skipped.
 */
import { badInput } from '../src/formats/errors.ts';

export interface GuestEvent {
  readonly event: string;
  readonly [field: string]: string | number | boolean;
}

/** A guest's line is short; one that does not end is a guest gone wild. */
export const MAX_EVENT_LINE_BYTES = 1 << 20;

/** One line without its end. Accepts flat objects only. */
export function parseGuestEvent(line: string): GuestEvent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw badInput('guest-event-malformed', `cannot read guest event: not JSON: ${JSON.stringify(line)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badInput('guest-event-malformed', `cannot read guest event: not an object: ${line}`);
  }
  const fields = Object.entries(value);
  const odd = fields.find(([, field]) => !['string', 'number', 'boolean'].includes(typeof field));
  if (odd)
    throw badInput('guest-event-malformed', `cannot read guest event: field ${odd[0]} is not flat: ${line}`);
  if (!('event' in value) || typeof value.event !== 'string' || value.event === '') {
    throw badInput('guest-event-malformed', `cannot read guest event: no name: ${line}`);
  }
  if (value.event === 'done' && (!('status' in value) || !Number.isInteger(value.status))) {
    throw badInput(
      'guest-event-malformed',
      `cannot read guest event: done without an integer status: ${line}`,
    );
  }
  return value as GuestEvent;
}

/** Cuts a byte stream into lines. A tty ends them with CR LF unless told otherwise, so a CR at the end is dropped. */
export class LineSplitter {
  #pending = '';

  push(text: string): string[] {
    const lines = (this.#pending + text).split('\n');
    this.#pending = lines.pop() ?? '';
    if (this.#pending.length > MAX_EVENT_LINE_BYTES) {
      throw badInput(
        'guest-event-malformed',
        `cannot read guest event: a line exceeds ${MAX_EVENT_LINE_BYTES} bytes`,
      );
    }
    return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  }

  /** What came after the last line end. */
  get rest(): string {
    return this.#pending;
  }
}
