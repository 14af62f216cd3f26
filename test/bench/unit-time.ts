/** The time of a systemd unit, by systemd's own clock readings. */

/** In microseconds since the kernel started. */
export interface UnitTime {
  readonly begun: number;
  readonly active: number;
}

/** What the properties of `systemctl show` are called that unitTimeOf() reads. */
export const UNIT_TIME_PROPERTIES = [
  'Id',
  'ActiveState',
  'InactiveExitTimestampMonotonic',
  'ActiveEnterTimestampMonotonic',
] as const;

/** `shown` is the output of `systemctl show` for one unit. One that did not become active has no time: throws. */
export function unitTimeOf(shown: string, unit: string): UnitTime {
  const properties = new Map(
    shown
      .trimEnd()
      .split('\n')
      .map((line) => line.split('=', 2) as [string, string | undefined]),
  );
  const [id, state, begun, active] = UNIT_TIME_PROPERTIES.map((name) => properties.get(name));
  const time = { begun: Number(begun), active: Number(active) };
  // systemd says 0 where something has never happened.
  if (id !== unit || state !== 'active' || !(time.begun > 0) || !(time.active >= time.begun)) {
    throw new Error(`cannot see how long ${unit} took: ${JSON.stringify(shown)}`);
  }
  return time;
}
