/** Executes a plan, step by step; after a failure everything that it attached is detached again. */

import type { ByteString } from '../src/formats/encoding.ts';
import { printable } from '../src/formats/encoding.ts';
import { systemError } from '../src/formats/errors.ts';
import type { MountName, MountStep } from '../src/formats/mount-plan.ts';
import type { PhysicalRoot } from './deployment.ts';
import { mountImage, mountRoot } from './file-systems.ts';
import { type OpenDirectory, openDirectory } from './files.ts';
import type { OpenImage } from './image.ts';
import { seldom } from './load.ts';
import * as sys from './sys.ts';

interface State {
  readonly root: PhysicalRoot;
  readonly image: OpenImage | undefined;
  readonly mounts: Map<MountName, OpenDirectory>;
  /** Where something of ours is mounted, in the order of attaching. */
  readonly attached: ByteString[];
}

/** Throws `mount-failed` for a system call that failed, a refusal for what on the disk is not what it should be. */
export function runPlan(steps: readonly MountStep[], root: PhysicalRoot, image: OpenImage | undefined): void {
  const state: State = { root, image, mounts: new Map(), attached: [] };
  try {
    for (const step of steps) runStep(step, state);
  } catch (error) {
    undo(state);
    if (error instanceof sys.KernelError) throw systemError('mount-failed', error.message);
    throw error;
  }
}

/** Detaching takes along what is mounted below; what a later step cannot undo is already gone with an earlier one. */
function undo({ attached }: State): void {
  for (const path of attached.reverse()) {
    try {
      sys.detachMount(path);
    } catch (error) {
      if (!(error instanceof sys.KernelError)) throw error;
    }
  }
}

function runStep(step: MountStep, state: State): void {
  switch (step.step) {
    case 'make-directory':
      unlessThere(() => sys.makeDirectory(step.path, step.mode));
      break;
    case 'make-link':
      unlessThere(() => sys.makeLink(step.path, step.target));
      break;
    case 'write-file':
      writeFile(step.path, step.content, step.mode);
      break;
    case 'make-private':
      setPropagation(step.path, sys.MS_PRIVATE, true);
      break;
    case 'propagate-one-way':
      setPropagation(step.path, sys.MS_SLAVE, false);
      setPropagation(step.path, sys.MS_SHARED, false);
      break;
    default:
      runMount(step, state);
  }
}

type MountingStep = Exclude<
  MountStep,
  { step: 'make-directory' | 'make-link' | 'write-file' | 'make-private' | 'propagate-one-way' }
>;

function runMount(step: MountingStep, state: State): void {
  switch (step.step) {
    case 'attach-image':
      attach(mountImage(imageOf(state)), step.path, state);
      break;
    case 'create-root':
      createRoot(step, state);
      break;
    case 'create-overlay':
      createOverlay(step, state);
      break;
    case 'clone':
      clone(step, state);
      break;
    case 'attach':
      attach(mountOf(step.mount, state).fd, step.path, state);
      break;
    case 'attach-if-directory':
      if (sys.statusAt(step.path)?.type !== sys.S_IFDIR) break;
      attach(mountOf(step.mount, state).fd, step.path, state);
      break;
    case 'attach-below':
      attachBelow(step, state);
      break;
    case 'require-modules':
      sys.close(openDirectory(mountOf(step.below, state), step.path, OF_KERNEL).fd);
      break;
    case 'detach':
      detach(step.path, state);
      break;
  }
}

const OF_KERNEL = { missing: 'kernel-mismatch', unsafe: 'kernel-mismatch' };
const ON_PATH = { missing: 'deployment-incomplete', unsafe: 'deployment-incomplete' };

function mountOf(name: MountName, { mounts }: State): OpenDirectory {
  const mount = mounts.get(name);
  if (mount === undefined) throw systemError('internal', `cannot mount ${name}: the plan has not made it`);
  return mount;
}

function imageOf({ image }: State): OpenImage {
  if (image === undefined)
    throw systemError('internal', 'cannot mount an image: the plan was made without one');
  return image;
}

function attach(mount: sys.Descriptor, path: ByteString, { attached }: State): void {
  sys.attachMount(mount, path, printable(path));
  attached.push(path);
}

function detach(path: ByteString, { attached }: State): void {
  sys.detachMount(path);
  const at = attached.indexOf(path);
  if (at >= 0) attached.splice(at, 1);
}

/** The objects' path is given to the kernel as text, so it is first shown to hold no link. */
function createRoot(step: Extract<MountStep, { step: 'create-root' }>, { root, mounts }: State): void {
  const below = step.objects.slice(root.place.length + 1) as ByteString;
  sys.close(openDirectory(root, below, ON_PATH).fd);
  mounts.set('root', { fd: mountRoot(step), path: 'the new root' });
}

/** Paths on the physical root are given to the kernel as text, too. */
function createOverlay(step: Extract<MountStep, { step: 'create-overlay' }>, { root, mounts }: State): void {
  for (const path of [step.upper, step.work]) {
    if (!path.startsWith(`${root.place}/`)) continue;
    sys.close(openDirectory(root, path.slice(root.place.length + 1) as ByteString, ON_PATH).fd);
  }
  mounts.set(step.name, { fd: seldom().mountOverlay(step, step.name), path: `the overlay of /${step.name}` });
}

function clone(step: Extract<MountStep, { step: 'clone' }>, { root, mounts }: State): void {
  const source = step.source === '' ? root : openDirectory(root, step.source, ON_PATH);
  const fd = sys.cloneMount(source.fd, source.path);
  const mount = step.access === 'inherited' ? fd : withAccess(fd, step.access === 'read-only', source.path);
  mounts.set(step.name, { fd: mount, path: source.path });
}

function withAccess(fd: sys.Descriptor, readOnly: boolean, name: string): sys.Descriptor {
  try {
    sys.setMountAttributes(fd, { readOnly }, name);
    return fd;
  } catch (error) {
    requireUnknownCall(error);
    return seldom().remounted(fd, readOnly, name);
  }
}

function attachBelow(step: Extract<MountStep, { step: 'attach-below' }>, state: State): void {
  const target = openDirectory(mountOf(step.below, state), step.path, ON_PATH);
  sys.attachMount(mountOf(step.mount, state).fd, target.fd, target.path);
}

function setPropagation(path: ByteString, propagation: number, recursive: boolean): void {
  try {
    sys.setMountAttributes(path, { propagation, recursive }, printable(path));
  } catch (error) {
    requireUnknownCall(error);
    seldom().propagate(path, propagation, recursive);
  }
}

/** mount_setattr(2) came with Linux 5.12. */
function requireUnknownCall(error: unknown): void {
  if (sys.errnoOf(error) !== 'ENOSYS') throw error;
}

function unlessThere(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (sys.errnoOf(error) !== 'EEXIST') throw error;
  }
}

/** /run belongs to this boot; what stands there already is replaced. */
export function writeFile(path: ByteString, content: Uint8Array, mode: number): void {
  const flags = sys.O_WRONLY | sys.O_CREAT | sys.O_TRUNC | sys.O_NOFOLLOW;
  const fd = sys.open(path, flags, mode);
  sys.write(fd, content, printable(path));
  sys.close(fd);
}
