/**
 * Whole processes of ours and of the reference's by turns: ours from the bundle that people run, theirs from Debian
 * forky in its chroot, both measured from fork to exit by measure.c.
 */
import { cp, mkdtemp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { bundleProgram } from '../../tools/bundle.ts';
import { ensureForky, runHere, runIn } from '../../tools/chroots.ts';
import { type Run, runsOf } from './measure.ts';

/** Where both find the data: deep paths cost time at every call. */
export const DATA = '/srv';
/** Where the reference finds `folder`. Both places are there in every Debian. */
const REFERENCE_FOLDER = '/mnt';

export class Alternation {
  /** Below the project, for results and outputs. */
  readonly folder: string;
  /** sealroot.js. */
  readonly program: string;
  readonly #forky: string;

  constructor(folder: string, forky: string) {
    this.folder = folder;
    this.program = path.join(folder, 'sealroot.js');
    this.#forky = forky;
  }

  /** `argv` of sealroot; `data` is a folder that it finds at DATA. */
  async ours(
    label: string,
    argv: readonly string[],
    { data = this.folder, env = {} }: { data?: string; env?: Readonly<Record<string, string>> } = {},
  ): Promise<void> {
    const apart = ['unshare', '--mount', 'sh', '-c', `mount --bind "$0" ${DATA} && exec "$@"`, data];
    // With this variable Node.js parses a file of certificates before anything else.
    const clean = ['env', '-u', 'NODE_EXTRA_CA_CERTS'];
    const measure = [path.join(this.folder, 'measure'), 'run', path.join(this.folder, 'figures'), label];
    const command = [...apart, ...clean, ...measure, process.execPath, this.program, ...argv];
    await runHere(command, { cwd: this.folder, env });
  }

  /** `argv[0]` is an absolute path; the working directory is `folder`. */
  async theirs(label: string, argv: readonly string[], data: string): Promise<void> {
    const measure = [`${REFERENCE_FOLDER}/measure`, 'run', `${REFERENCE_FOLDER}/figures`, label];
    await runIn(this.#forky, [...measure, ...argv], {
      binds: [
        [data, DATA],
        [this.folder, REFERENCE_FOLDER],
      ],
      cwd: REFERENCE_FOLDER,
    });
  }

  async runs(label: string): Promise<Run[]> {
    return runsOf(await readFile(path.join(this.folder, 'figures'), 'utf8'), label);
  }
}

/** `scratch` is an existing folder below the project, with the program of measure.ts in it. */
export async function startAlternation(scratch: string): Promise<Alternation> {
  const folder = await mkdtemp(path.join(scratch, 'by-turns-'));
  await cp(path.join(scratch, 'measure'), path.join(folder, 'measure'));
  await bundleProgram(folder);
  return new Alternation(folder, await ensureForky());
}
