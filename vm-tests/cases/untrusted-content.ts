/**
 * What stands in the files that prepare-root reads, and what its initramfs trusts: whatever is not the signed content
 * is refused, and what is malformed beside a good key or signature hides neither.
 */

import { CONTENT } from '../trials/content.ts';
import { TRUST } from '../trials/trust.ts';
import { trialCase } from '../trials.ts';

export default trialCase('only what a trusted key has signed for this machine boots', [...TRUST, ...CONTENT]);
