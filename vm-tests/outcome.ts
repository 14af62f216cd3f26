/** The verdicts over a guest that has ended: it did all it should, or it refused to boot as it should. */
import { GuestFailure, type Machine } from './machine.ts';

const PANIC = 'Kernel panic - not syncing';

/** The guest said done with status 0, and its kernel did not panic. */
export function requireDone(machine: Machine): void {
  const fail = (fact: string) => new GuestFailure(machine, `cannot accept guest ${machine.name}: ${fact}`);
  if (machine.console.includes(PANIC)) throw fail('its kernel panicked');
  if (machine.done === undefined) throw fail('it ended without done');
  const { status, reason } = machine.done;
  if (status !== 0) throw fail(`done with status ${status}${reason ? `: ${reason}` : ''}`);
}
