import { describe, expect, it } from 'vitest';
import { LineSplitter, MAX_EVENT_LINE_BYTES, parseGuestEvent } from '../../vm-tests/guest-events.ts';

describe('parseGuestEvent()', () => {
  it('accepts a flat object with a name', () => {
    const event = { event: 'prepare-root', status: 1, path: '/a "b"', ok: true };
    expect(parseGuestEvent(JSON.stringify(event))).toEqual(event);
  });

  it.each([
    ['text that is no JSON', 'Kernel panic', 'not JSON'],
    ['half a line', '{"event":"do', 'not JSON'],
    ['an array', '["done"]', 'not an object'],
    ['null', 'null', 'not an object'],
    ['no name', '{"status":0}', 'no name'],
    ['an empty name', '{"event":""}', 'no name'],
    ['a nested field', '{"event":"a","b":{}}', 'field b is not flat'],
    ['done without a status', '{"event":"done"}', 'done without an integer status'],
    ['done with a status in words', '{"event":"done","status":"0"}', 'done without an integer status'],
  ])('rejects %s', (_title, line, fact) => {
    expect(() => parseGuestEvent(line)).toThrow(fact);
  });
});

describe('LineSplitter', () => {
  it('joins what arrives in pieces and drops the CR of a tty', () => {
    const lines = new LineSplitter();
    expect(lines.push('{"ev')).toEqual([]);
    expect(lines.push('ent":1}\r\nab\n')).toEqual(['{"event":1}', 'ab']);
    expect(lines.push('c')).toEqual([]);
    expect(lines.rest).toBe('c');
  });

  it('refuses a line that does not end', () => {
    const lines = new LineSplitter();
    expect(() => lines.push('x'.repeat(MAX_EVENT_LINE_BYTES + 1))).toThrow('exceeds');
  });
});
