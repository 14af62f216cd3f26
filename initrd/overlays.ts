/** The overlays that stand on parts of the root: /usr and /etc. */

import { ascii } from '../src/formats/encoding.ts';
import type { OverlayMount } from '../src/formats/mount-plan.ts';
import { create, OVERLAY, withContext } from './file-systems.ts';
import * as sys from './sys.ts';

export function mountOverlay({ lower, upper, work, access }: OverlayMount, name: string): sys.Descriptor {
  return withContext(OVERLAY, (context) => {
    sys.configureFileSystem(context, 'source', ascii('overlay'));
    sys.configureFileSystem(context, 'lowerdir', lower);
    sys.configureFileSystem(context, 'upperdir', upper);
    sys.configureFileSystem(context, 'workdir', work);
    if (access === 'read-only') sys.configureFileSystem(context, 'ro');
    create(context, `the overlay of /${name}`);
    return sys.mountFileSystem(context, `the overlay of /${name}`, access === 'read-only');
  });
}
