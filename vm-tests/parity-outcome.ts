/**
 * What a run of ostree-prepare-root or of ours comes to, in words that two runs have in common: for the oracle test on this
 * machine's kernel and for the case in a guest. OBSERVE is POSIX sh, in a mount namespace in which the program has run:
 * `root` is the initramfs's root, `status` the exit status, `said` a file of what it said, `deployment` its place on the
 * physical root, `files` what is to be read below the new root.
 */

export interface Outcome {
  readonly status: number;
  readonly said: string;
  /** One line a mount: its place, then parent, root, options, propagation, type, source and super options. */
  readonly mounts: string[];
  /** /run/ostree-booted, Latin-1. */
  readonly record: string;
  /** `mode path target` of what is in /run, without what is in the places of transient files. */
  readonly run: string[];
  /** Of loop devices for images: whether they are read-only, autoclear and direct, and their block size. */
  readonly loops: string[];
  /** `path=first line`, and `path writable` or not. */
  readonly access: string[];
}

export const OBSERVE = `
section() { echo "== $1"; }
section status; echo "$status"
section said; cat "$said"
section mounts; cat /proc/self/mountinfo
section record; base64 -w 0 "$root/run/ostree-booted" 2>/dev/null; echo
section run
cd "$root/run"
find ostree systemd ostree-booted sealroot -xdev 2>/dev/null | while read -r path; do
    case $path in ostree/transient-etc*/* | ostree/.private/root/*/*) continue ;; esac
    echo "$(stat -c %A "$path") $path $(readlink "$path")"
done
section loops
for device in /sys/block/loop*; do
    # Below the mount that the program has detached, so not where its root is.
    grep -q "/$deployment/[.]ostree[.]cfs" "$device/loop/backing_file" 2>/dev/null || continue
    echo "$(cat "$device/ro" "$device/loop/autoclear" "$device/loop/dio" "$device/queue/logical_block_size" | tr '\\n' ' ')"
done
section access
cd "$root/sysroot"
if [ "$status" -eq 0 ]; then
    for file in $files; do [ ! -e $file ] || echo "$file=$(head -n 1 $file 2>&1)"; done
    for folder in . etc usr var sysroot sysroot/ostree/deploy/*/var; do
        if mkdir "$folder/probe" 2>/dev/null; then rmdir "$folder/probe"; echo "$folder writable"; else echo "$folder read-only"; fi
    done
fi
`;

/** `folder` is what the paths of the mount table have before those of the initramfs. */
export function parseOutcome(output: string, folder: string, deployment: string): Outcome {
  const sections = new Map(
    output
      .split(/^== /m)
      .slice(1)
      .map((text) => {
        const end = text.indexOf('\n');
        return [text.slice(0, end), text.slice(end + 1)];
      }),
  );
  const lines = (name: string) => (sections.get(name) ?? '').split('\n').filter((line) => line !== '');
  const plain = (text: string) =>
    text
      // Only where nobody has used the directories before.
      .replaceAll(',uuid=on', '')
      .replaceAll(/transient-etc\.\w+/g, 'transient-etc.N')
      .replaceAll(/\/sysroot\.tmp|\/run\/ostree\/\.private\/new-root/g, 'NEW')
      .replaceAll(`/sysroot/${deployment}/.usr-ovl`, '.usr-ovl');
  return {
    status: Number(sections.get('status')),
    said: sections.get('said') ?? '',
    mounts: mountsOf(lines('mounts'), folder, plain),
    record: plain(Buffer.from(sections.get('record') ?? '', 'base64').toString('latin1')),
    run: lines('run').map(plain).sort(),
    loops: lines('loops'),
    access: lines('access'),
  };
}

/** Those at and below /sysroot and left in /run/ostree, without ids, places of the rig and names given by chance. */
function mountsOf(mountinfo: readonly string[], folder: string, plain: (text: string) => string): string[] {
  const entries = mountinfo.map((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [id = '', parent = '', , root = '', place = '', options = '', ...tags] = left.split(' ');
    return { id, parent, root, place, options, tags, right };
  });
  const placeOf = new Map(entries.map(({ id, place }) => [id, place]));
  const own = (text: string) => text.replaceAll(folder, '').replace(/^$/, '/');
  return entries
    .filter(({ place }) => /^\/(sysroot|run\/ostree)/.test(own(place)))
    .map(({ parent, root, place, options, tags, right }) =>
      [
        own(place),
        `on ${own(placeOf.get(parent) ?? '')}`,
        own(root),
        options,
        tags.map((tag) => tag.replace(/:\d+/, '')).join(' '),
        plain(right),
      ].join(' '),
    )
    .sort();
}

/** Without what is ours alone, the record for people, and without empty places for mounts that are gone. */
export function comparable({ status, mounts, record, run, loops, access }: Outcome) {
  const common = run.filter(
    (line) => !/ (sealroot(\/.*)?|ostree\/\.private\/(new-root|cfsroot-lower|clone)) $/.test(line),
  );
  return { status, mounts, record, run: common, loops, access };
}
