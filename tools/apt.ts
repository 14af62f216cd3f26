/**
 * Where this machine gets Debian packages from. The address always comes from the machine's own apt
 * configuration, so that a build uses the mirror its owner chose, and no host name stands in the project.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { systemError } from '../src/formats/errors.ts';

const run = promisify(execFile);

/** Debian's release keys, old and new; from the package debian-archive-keyring. */
export const ARCHIVE_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Options for every apt and mmdebstrap call: a mirror may be a snapshot whose Release files have run out,
 * which says nothing about their signatures (those are still checked).
 */
export const APT_OPTIONS = ['Acquire::Check-Valid-Until "false"', 'Acquire::Retries "3"'] as const;

/**
 * The address of the configured mirror that carries Debian's `suite`. The machine itself may run another
 * suite: all suites of the main archive stand below one address, only those named like `*-security` do not.
 */
export async function mirrorFor(suite: string): Promise<string> {
  const fromEnvironment = process.env.SEALROOT_DEBIAN_MIRROR;
  if (fromEnvironment) return fromEnvironment;
  const { stdout } = await run(
    'apt-get',
    ['indextargets', '--format', '$(REPO_URI) $(RELEASE) $(CODENAME) $(LABEL)', 'Created-By: Packages'],
    { maxBuffer: 16 << 20, timeout: 60_000 },
  );
  const targets = stdout
    .split('\n')
    .map((line) => line.trim().split(' '))
    .filter(([uri, release]) => uri && release && !release.includes('-security'));
  const exact = targets.find(([, release, codename]) => release === suite || codename === suite);
  // Before the first `apt-get update` apt does not know the label; then the main archive is recognised by its path.
  const debian = targets.find(([uri, , , label]) => label === 'Debian' || /\/debian\/?$/.test(uri ?? ''));
  const uri = (exact ?? debian)?.[0];
  if (uri === undefined) {
    throw systemError(
      'apt-mirror-unknown',
      `cannot find a mirror for Debian ${suite}: apt has ${targets.length} package sources and none is Debian's`,
      'add a Debian source to apt, or set SEALROOT_DEBIAN_MIRROR to the address of one',
    );
  }
  return uri;
}

/** One line of a sources.list: `deb` for packages, `deb-src` for sources, of `suite`'s main component. */
export async function sourceLine(type: 'deb' | 'deb-src', suite: string): Promise<string> {
  return `${type} [signed-by=${ARCHIVE_KEYRING}] ${await mirrorFor(suite)} ${suite} main`;
}
