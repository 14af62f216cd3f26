import { describe, expect, it } from 'vitest';
import { nodeHasher as hasher } from '../../src/adapters/hasher.ts';
import { bootedRecord, type Decision, plannedBoot } from '../../src/formats/boot-report.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { encodeJson, type Json } from '../../src/formats/json.ts';
import { parsePublicKeys } from '../../src/formats/keys.ts';
import { parsePolicy } from '../../src/formats/policy.ts';
import { decide } from '../../src/formats/verdict.ts';
import { commit, commitmeta, key1Line, UNTAMPERED, UNTAMPERED_DIGEST } from './mutation-inputs.ts';

const keys = parsePublicKeys(utf8(`\n${key1Line}\n`)).keys;

const DECISION: Decision = {
  deployment: ascii('ostree/deploy/os/deploy/x.0'),
  checksum: UNTAMPERED.checksum,
  verdict: decide({ commit, commitmeta, checksum: UNTAMPERED.checksum, keys, hasher }),
  policy: parsePolicy(
    utf8('[composefs]\nenabled=signed\nkeypath=/k\n[sealroot]\nrefs=a;b\non-failure=reboot\n'),
  ),
  passedOver: [
    { deployment: ascii('ostree/deploy/os/deploy/y.0'), code: 'image-missing', message: 'cannot open' },
  ],
};

const DECIDED = {
  deployment: 'ostree/deploy/os/deploy/x.0',
  commit: UNTAMPERED.checksum,
  timestamp: 1700000000,
  digest: UNTAMPERED_DIGEST,
  key: { publicKey: key1Line, file: '/k', line: 2 },
  policy: {
    sealed: true,
    sysrootReadonly: true,
    refs: ['a', 'b'],
    minTimestamp: 0,
    onFailure: 'reboot',
    shell: false,
  },
  passedOver: [{ deployment: 'ostree/deploy/os/deploy/y.0', code: 'image-missing', message: 'cannot open' }],
};

const parsed = (json: Json): unknown => JSON.parse(encodeJson(json));

describe('the record of a boot', () => {
  it('holds the decision and what each phase took', () => {
    const phases = [
      { name: 'policy', microseconds: 3 },
      { name: 'verdict', microseconds: 4 },
      { name: 'verdict', microseconds: 5 },
    ];
    expect(parsed(bootedRecord(DECISION, phases))).toEqual({
      ...DECIDED,
      microseconds: { policy: 3, verdict: 9 },
    });
  });

  it('names the base of a commit of bootc', () => {
    const record = parsed(bootedRecord({ ...DECISION, checksum: 'f'.repeat(64) }, []));
    expect(record).toMatchObject({ commit: 'f'.repeat(64), baseCommit: UNTAMPERED.checksum });
  });

  it('says for what an image was built again', () => {
    const rebuiltFor = { code: 'image-missing', message: 'cannot open', kind: 'refused' };
    const record = parsed(bootedRecord({ ...DECISION, rebuiltFor }, []));
    expect(record).toMatchObject({ rebuiltFor: { code: 'image-missing', message: 'cannot open' } });
  });
});

describe('the record of a boot that is not sealed', () => {
  it('has no proof, and says what the policy allows', () => {
    const policy = parsePolicy(
      utf8('[composefs]\nenabled=verity\n[etc]\ntransient=1\n[root]\ntransient=1\n'),
    );
    const record = parsed(bootedRecord({ ...DECISION, verdict: undefined, policy, passedOver: [] }, []));
    expect(record).toEqual({
      deployment: DECIDED.deployment,
      commit: DECIDED.commit,
      policy: {
        sealed: false,
        composefs: 'yes',
        verity: true,
        etcTransient: true,
        rootTransient: 'yes',
        sysrootReadonly: true,
        refs: [],
        minTimestamp: 0,
        onFailure: 'emergency',
        shell: false,
      },
      passedOver: [],
      microseconds: {},
    });
  });
});

describe('the plan of a boot', () => {
  it('holds the decision and the steps, of files their size only', () => {
    const plan = plannedBoot(DECISION, [
      { step: 'make-directory', path: ascii('/run/x'), mode: 0o755 },
      { step: 'write-file', path: ascii('/run/x/y'), content: new Uint8Array(7), mode: 0o444 },
    ]);
    expect(parsed(plan)).toEqual({
      ...DECIDED,
      steps: [
        { step: 'make-directory', path: '/run/x', mode: 0o755 },
        { step: 'write-file', path: '/run/x/y', mode: 0o444, bytes: 7 },
      ],
    });
  });
});
