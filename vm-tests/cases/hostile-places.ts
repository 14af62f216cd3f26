/** What stands in the place of the files and directories that prepare-root opens, and where `ostree=` leads. */

import { LATEST } from '../trials/latest.ts';
import { PLACES } from '../trials/places.ts';
import { RESOLUTION } from '../trials/resolution.ts';
import { trialCase } from '../trials.ts';

export default trialCase('nothing but plain files in plain directories boots', [
  ...RESOLUTION,
  ...LATEST,
  ...PLACES,
]);
