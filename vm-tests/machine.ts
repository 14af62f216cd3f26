/**
 * One virtual machine: a QEMU process, its console, its events, its end. Everything waits for something the guest
 * does and nothing waits for time to pass; each wait has a deadline, and a deadline that passes kills the guest and
 * fails with what was awaited. The process dies with ours, however we end.
 *
 * The guest's serial console arrives as text and is kept in a log file; a second channel, the virtio console
 * /dev/hvc0, carries events (guest-events.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import path from 'node:path';
import { systemError } from '../src/formats/errors.ts';
import { type GuestEvent, LineSplitter, parseGuestEvent } from './guest-events.ts';

/** `kvm` only where a probe has booted with it (accelerator.ts). */
export type Accelerator = 'kvm' | 'tcg';

export interface Disk {
  readonly file: string;
  readonly format: 'raw' | 'qcow2';
  /** `discard`: the guest may write, the file stays as it is; `keep`: its writes go into the file. */
  readonly writes: 'discard' | 'keep' | 'refuse';
  /** The guest finds the disk under /dev/disk/by-id/virtio-SERIAL. */
  readonly serial?: string;
}

export type Boot =
  /** `initrd` is one file; `commandLine` is what follows the harness's own arguments. */
  | {
      readonly kind: 'kernel';
      readonly kernel: string;
      readonly initrd: string;
      readonly commandLine: string;
    }
  /** UEFI: the code image and a writable copy of the variables. */
  | { readonly kind: 'firmware'; readonly code: string; readonly variables: string };

export interface MachineOptions {
  /** Stands in messages and names the log file. */
  readonly name: string;
  readonly logFolder: string;
  readonly accelerator: Accelerator;
  readonly boot: Boot;
  /** In the order of /dev/vda, /dev/vdb... */
  readonly disks: readonly Disk[];
  readonly memoryMiB: number;
  /** Each a whole argument pair or flag list, for what a single case needs. */
  readonly extraArguments?: readonly string[];
}

/** The guest did not do what was awaited. */
export class GuestFailure extends Error {
  readonly machine: Machine;
  constructor(machine: Machine, message: string) {
    super(message);
    this.machine = machine;
  }
}

/** The console of a guest gone wild must not fill our memory. */
const MAX_CONSOLE_BYTES = 16 << 20;

/**
 * `panic=-1` with -no-reboot makes a panic end the machine at once; the console goes to the serial port; a getty
 * on the event channel would eat it; unused modules cost seconds under TCG, those that hash and encrypt with
 * instructions of the CPU among them, for the kernel tests each first.
 */
export const HARNESS_KERNEL_ARGUMENTS = [
  'console=ttyS0',
  'panic=-1',
  'loglevel=5',
  'systemd.getty_auto=0',
  'TERM=dumb',
  'systemd.tty.term.console=dumb',
  `modprobe.blacklist=${[
    ...[
      'kvm_amd',
      'ata_piix',
      'floppy',
      'psmouse',
      'powernow_k8',
      'serio_raw',
      'evdev',
      'button',
      'qemu_fw_cfg',
    ],
    ...['aesni_intel', 'ghash_clmulni_intel', 'crct10dif_pclmul', 'crc32_pclmul'],
    ...['sha1_ssse3', 'sha256_ssse3', 'sha512_ssse3', 'efi_pstore'],
  ].join()}`,
] as const;

/**
 * Without -cx16 QEMU's TCG breaks cmpxchg16b under load, which kernel 6.12's allocator uses. The others cost a whole
 * system a twelfth of its boot: erms makes the kernel copy and clear memory byte by byte, smap ends a block of translated
 * code before and after each copy from a program, la57 makes the walk through the page tables a step longer.
 */
const EMULATED_CPU = 'max,-cx16,-erms,-smap,-la57';

/** The whole QEMU command of a machine; also what a person runs to repeat it. Events are fd 4, the console fd 3. */
export function qemuArguments(
  options: MachineOptions,
  channels: { console: string; events: string },
): string[] {
  const { accelerator, boot, disks, memoryMiB, extraArguments = [] } = options;
  const out = [
    ...['-accel', accelerator],
    ...['-cpu', accelerator === 'kvm' ? 'host' : EMULATED_CPU],
    ...['-smp', '1', '-m', String(memoryMiB)],
    ...['-M', 'q35,sata=off,usb=off', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-chardev', `${channels.console},id=console`, '-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci', '-chardev', `${channels.events},id=events`],
    ...['-device', 'virtconsole,chardev=events', '-device', 'virtio-rng-pci', '-nic', 'none'],
  ];
  if (boot.kind === 'kernel') {
    const commandLine = [...HARNESS_KERNEL_ARGUMENTS, boot.commandLine].join(' ').trim();
    out.push('-kernel', boot.kernel, '-initrd', boot.initrd, '-append', commandLine);
  } else {
    out.push('-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${boot.code}`);
    out.push('-drive', `if=pflash,format=raw,unit=1,file=${boot.variables}`);
  }
  disks.forEach((disk, index) => {
    // Writes outlive the guest in our own page cache; should this machine fail too, no case goes on with its disk.
    const mode = { discard: ',snapshot=on', keep: ',cache=unsafe', refuse: ',readonly=on' }[disk.writes];
    // QEMU ends a value at a comma; a doubled one stands for itself.
    const file = disk.file.replaceAll(',', ',,');
    out.push('-drive', `file=${file},format=${disk.format},if=none,id=disk${index}${mode}`);
    // Fixed slots: the guest numbers its disks by PCI address, not by our order.
    const serial = disk.serial === undefined ? '' : `,serial=${disk.serial}`;
    out.push('-device', `virtio-blk-pci,drive=disk${index},addr=0x${(0x10 + index).toString(16)}${serial}`);
  });
  return [...out, ...extraArguments];
}

/** The kernel's last words when it stops without switching the machine off (kernel/reboot.c). */
const HALTED = 'reboot: System halted';

interface Waiter {
  /** True when it is over, one way or the other. */
  check(): boolean;
}

export class Machine {
  readonly name: string;
  readonly logFile: string;
  /** A command for a person: the same machine with its console on the terminal. */
  readonly repeatCommand: string;
  readonly events: GuestEvent[] = [];
  #console = '';
  #stderr = '';
  #exit: { status: number | null; signal: string | null } | undefined;
  #fault: Error | undefined;
  readonly #child: ChildProcess;
  readonly #consoleSocket: Socket;
  readonly #log: WriteStream;
  readonly #waiters = new Set<Waiter>();
  readonly #closed: Promise<void>;

  constructor(options: MachineOptions) {
    this.name = options.name;
    this.logFile = path.join(options.logFolder, `${options.name}.console.log`);
    this.repeatCommand = shellQuote([
      'qemu-system-x86_64',
      ...qemuArguments(options, { console: 'stdio,signal=off', events: 'file,path=/dev/stderr' }),
    ]);
    this.#log = createWriteStream(this.logFile);
    // setpriv makes the kernel kill the guest when this process is gone, even by SIGKILL; it execs, so the pid is QEMU's.
    this.#child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'qemu-system-x86_64'],
        ...qemuArguments(options, { console: 'socket,fd=3', events: 'socket,fd=4' }),
      ],
      { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] },
    );
    this.#consoleSocket = this.#child.stdio[3] as Socket;
    this.#closed = this.#listen();
  }

  #listen(): Promise<void> {
    const lines = new LineSplitter();
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    const events = this.#child.stdio[4] as Socket;
    for (const socket of [this.#consoleSocket, events]) {
      // A reset is the other face of the exit, which is reported by itself.
      socket.setEncoding('utf8').on('error', () => {});
    }
    this.#consoleSocket.on('data', (text: string) => {
      this.#log.write(text);
      this.#console += text;
      if (this.#console.length > MAX_CONSOLE_BYTES)
        this.#fail(new Error(`more than ${MAX_CONSOLE_BYTES} bytes of console`));
      // It would stand still until a deadline.
      if (this.#console.includes(HALTED, this.#console.length - text.length - HALTED.length))
        this.#fail(new Error('its kernel halted'));
      this.#notify();
    });
    events.on('data', (text: string) => {
      try {
        for (const line of lines.push(text)) if (line !== '') this.#accept(parseGuestEvent(line));
      } catch (error) {
        this.#fail(error as Error);
      }
      this.#notify();
    });
    this.#child.once('error', (error) => {
      this.#fail(systemError('qemu-missing', `cannot run qemu-system-x86_64: ${error.message}`));
      this.#notify();
    });
    return new Promise((resolve) => {
      this.#child.once('close', (status, signal) => {
        if (lines.rest !== '')
          this.#fail(new Error(`an event without an end: ${JSON.stringify(lines.rest)}`));
        this.#exit = { status, signal };
        this.#notify();
        this.#log.end(resolve);
      });
    });
  }

  #accept(event: GuestEvent): void {
    if (this.done !== undefined) throw new Error(`event ${event.event} after done`);
    this.events.push(event);
  }

  #fail(error: Error): void {
    this.#fault ??= error;
  }

  #notify(): void {
    for (const waiter of [...this.#waiters]) if (waiter.check()) this.#waiters.delete(waiter);
  }

  /** Everything that came over the serial port, with line ends as \n. */
  get console(): string {
    return this.#console.replaceAll('\r', '');
  }

  /** The mandatory last event, once it came. */
  get done(): GuestEvent | undefined {
    return this.events.find((event) => event.event === 'done');
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** Types on the serial console. */
  type(text: string): void {
    if (this.#exit === undefined) this.#consoleSocket.write(text);
  }

  async #wait<T>(
    what: string,
    seconds: number,
    look: () => T | undefined,
    survivesExit: boolean,
  ): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        const fail = (fact: string) =>
          reject(new GuestFailure(this, `cannot see ${what} of guest ${this.name}: ${fact}`));
        const check = (): boolean => {
          if (this.#fault) {
            fail(this.#fault.message);
            return true;
          }
          const found = look();
          if (found !== undefined) {
            resolve(found);
            return true;
          }
          if (this.#exit === undefined || survivesExit) return false;
          fail(`the guest ended before it (${this.#describeExit()})`);
          return true;
        };
        if (check()) return;
        const waiter = { check };
        this.#waiters.add(waiter);
        timer = setTimeout(() => {
          this.#waiters.delete(waiter);
          fail(`deadline of ${seconds} s passed`);
        }, seconds * 1000);
      });
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #describeExit(): string {
    const { status, signal } = this.#exit ?? { status: null, signal: null };
    const how = status === null ? `killed by ${signal}` : `QEMU exit status ${status}`;
    return this.#stderr === '' ? how : `${how}: ${this.#stderr.trim()}`;
  }

  /** The first event of that name, also when it came already. Its absence at the guest's end fails. */
  async waitForEvent(name: string, seconds: number): Promise<GuestEvent> {
    return await this.#wait(
      `event ${name}`,
      seconds,
      () => this.events.find(({ event }) => event === name),
      false,
    );
  }

  async waitForConsole(text: string, seconds: number): Promise<void> {
    await this.#wait(
      `"${text}" on the console`,
      seconds,
      () => (this.console.includes(text) ? true : undefined),
      false,
    );
  }

  /** Waits for the guest to end by itself. Says nothing about success: see outcome.ts. */
  async waitForEnd(seconds: number): Promise<void> {
    const exit = await this.#wait('the end', seconds, () => this.#exit, true);
    await this.#closed;
    if (exit.status !== 0)
      throw new GuestFailure(this, `guest ${this.name} did not end well: ${this.#describeExit()}`);
  }

  /** Ends the guest if it still runs; only ever this one process. */
  async kill(): Promise<void> {
    if (this.#exit === undefined) this.#child.kill('SIGKILL');
    await this.#closed;
  }
}

export async function startMachine(options: MachineOptions): Promise<Machine> {
  await mkdir(options.logFolder, { recursive: true });
  return new Machine(options);
}

/** Quotes for sh, only where needed. */
export function shellQuote(argv: readonly string[]): string {
  return argv
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
}
