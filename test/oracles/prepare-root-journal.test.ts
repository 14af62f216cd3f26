/** What the journal is told of a deployment and of a refusal, by its native protocol, on a socket in the place of journald's. */

import { mkdirSync, statSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import koffi from 'koffi';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { refusalOf } from '../../src/formats/refusals.ts';
import { UNTAMPERED } from '../formats/mutation-inputs.ts';
import { makeRig, type Rig } from './prepare-root-rig.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, unsigned int length)');
const recv = libc.func('long recv(int fd, _Out_ void *buffer, size_t length, int flags)');
const close = libc.func('int close(int fd)');

/** Node has no Unix datagram sockets. Datagrams wait in the socket until they are read. */
class JournalSocket {
  readonly #fd: number;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${path}\0`)]);
    if (bind(this.#fd, address, address.length) !== 0) throw new Error(`cannot bind ${path}`);
  }

  /** All that have come. */
  datagrams(): string[] {
    const found: string[] = [];
    const buffer = Buffer.alloc(65536);
    for (;;) {
      const length = Number(recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT));
      if (length < 0) return found;
      found.push(buffer.toString('latin1', 0, length));
    }
  }

  close(): void {
    close(this.#fd);
  }
}

const SOCKET = 'run/systemd/journal/socket';

let binary = '';
let rig: Rig;
let journal: JournalSocket | undefined;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});

afterEach(() => {
  journal?.close();
  journal = undefined;
  rig.remove();
});

describe('the journal', () => {
  it('gets one entry for the deployment, as ostree has it, and one for a refusal with the MESSAGE_ID of its code', async () => {
    rig = makeRig(binary);
    unlinkSync(join(rig.deployment, '.ostree.cfs'));
    journal = new JournalSocket(join(rig.folder, SOCKET));
    const { stderr } = await rig.run();
    const said = /error: (image-missing: .*); (.*)\n$/.exec(stderr);
    const { dev, ino } = statSync(rig.deployment, { bigint: true });
    const below = /(ostree\/deploy\/.*)$/.exec(rig.deployment)?.[1];
    expect(journal.datagrams()).toEqual([
      [
        'SYSLOG_IDENTIFIER=sealroot-prepare-root',
        'PRIORITY=6',
        'MESSAGE_ID=7170336a73ba4601bad31af888aa0df7',
        `DEPLOYMENT_PATH=/${below}`,
        `DEPLOYMENT_DEVICE=${dev}`,
        `DEPLOYMENT_INODE=${ino}`,
        `MESSAGE=Resolved OSTree target to: /sysroot/${below}\n`,
      ].join('\n'),
      [
        'SYSLOG_IDENTIFIER=sealroot-prepare-root',
        'PRIORITY=3',
        `MESSAGE_ID=${refusalOf('image-missing')?.messageId}`,
        'SEALROOT_CODE=image-missing',
        `SEALROOT_REMEDY=${said?.[2]}`,
        `MESSAGE=refused: ${said?.[1]}\n`,
      ].join('\n'),
    ]);
  });

  it('gets no field of somebody else', async () => {
    rig = makeRig(binary, { ...UNTAMPERED, cmdline: 'ostree="/a\nPRIORITY=0\nb"\n' });
    journal = new JournalSocket(join(rig.folder, SOCKET));
    await rig.run();
    const fields = journal.datagrams().flatMap((datagram) => datagram.trimEnd().split('\n'));
    expect(fields.map((field) => field.split('=')[0])).toEqual([
      'SYSLOG_IDENTIFIER',
      'PRIORITY',
      'MESSAGE_ID',
      'SEALROOT_CODE',
      'SEALROOT_REMEDY',
      'MESSAGE',
    ]);
  });
});
