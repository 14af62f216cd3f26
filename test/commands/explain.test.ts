import { describe, expect, it } from 'vitest';
import { REFUSAL_CAUSES } from '../../src/formats/refusal-causes.ts';
import { refusalCodes, refusalOf } from '../../src/formats/refusals.ts';
import { sealroot, useCli } from './run-cli.ts';

useCli();

describe('sealroot explain', () => {
  it('prints cause, remedy and MESSAGE_ID', () => {
    const cause = REFUSAL_CAUSES['image-missing'];
    const { remedy, messageId } = refusalOf('image-missing') ?? {};
    expect(sealroot(['explain', 'image-missing'])).toEqual({
      status: 0,
      stdout: `cause       ${cause}\nremedy      ${remedy}\nMESSAGE_ID  ${messageId}\n`,
      stderr: '',
    });
    const { stdout } = sealroot(['explain', '--json', 'image-missing']);
    expect(JSON.parse(stdout)).toEqual({ code: 'image-missing', cause, remedy, messageId });
  });

  it('names the codes there are when it does not know one', () => {
    const { status, stdout, stderr } = sealroot(['explain', 'image-gone']);
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
    expect(stderr).toBe(
      'sealroot: error: cannot explain image-gone: no refusal of the boot has this code\n' +
        `sealroot: hint: the codes are: ${refusalCodes().join(', ')}\n`,
    );
  });
});
