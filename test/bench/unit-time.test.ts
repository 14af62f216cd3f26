import { describe, expect, it } from 'vitest';
import { UNIT_TIME_PROPERTIES, unitTimeOf } from './unit-time.ts';

const UNIT = 'sealroot-prepare-root.service';
/** As systemd 257 prints it, in an order of its own. */
const SHOWN = `Id=${UNIT}
ActiveState=active
InactiveExitTimestampMonotonic=4967389
ActiveEnterTimestampMonotonic=5154515
`;

describe('unitTimeOf', () => {
  it('reads when the unit began and when it was active, in whatever order', () => {
    const expected = { begun: 4_967_389, active: 5_154_515 };
    expect(unitTimeOf(SHOWN, UNIT)).toEqual(expected);
    expect(unitTimeOf(SHOWN.trimEnd().split('\n').reverse().join('\n'), UNIT)).toEqual(expected);
  });

  const faults: readonly (readonly [name: string, shown: string])[] = [
    ['nothing', ''],
    ['an error', 'Failed to connect to system scope bus via local transport: No such file or directory\n'],
    ['another unit', SHOWN.replace('sealroot', 'ostree')],
    ['a unit that failed', SHOWN.replace('=active', '=failed')],
    ['one that still starts', SHOWN.replace('=active', '=activating')],
    ['one that never began', SHOWN.replace('4967389', '0')],
    ['one that was never active', SHOWN.replace('5154515', '0')],
    ['one that was active before it began', SHOWN.replace('4967389', '5154516')],
    ['a time that is none', SHOWN.replace('4967389', '4.96s')],
    ...UNIT_TIME_PROPERTIES.map(
      (name) => [`no ${name}`, SHOWN.replace(new RegExp(`^${name}=.*\n`, 'm'), '')] as const,
    ),
  ];
  it.each(faults)('takes %s for no figure', (_, shown) => {
    expect(() => unitTimeOf(shown, UNIT)).toThrow(`cannot see how long ${UNIT} took`);
  });
});
