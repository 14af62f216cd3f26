/**
 * What all commands of sealroot have in common: a page of the manual, options and arguments with the same rules, and errors
 * of usage.
 */

import { Command, CommanderError, InvalidArgumentError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { usageError } from './formats/errors.ts';
import { fullName, type ManualPage, setManualPage } from './manual.ts';
import { runProgram } from './program.ts';
import { ROOT_PAGE } from './usage.ts';

/** For an option that is given at most once: the parser alone would take the last of several. */
export function once(value: string, previous: string | undefined): string {
  if (previous !== undefined) throw new InvalidArgumentError(`It was given before, as ${previous}.`);
  if (value === '') throw new InvalidArgumentError('It is empty.');
  return value;
}

/** For an option that may be repeated; needs [] as default. */
export function repeated(value: string, previous: readonly string[]): string[] {
  if (value === '') throw new InvalidArgumentError('It is empty.');
  return [...previous, value];
}

/** For an option that must be given and may be repeated. */
export function required(command: string, option: string, values: readonly string[]): readonly string[] {
  if (values.length > 0) return values;
  throw usageError(
    'usage',
    `cannot run ${command}: required option '${option}' not specified`,
    `${command} --help shows how it is called`,
  );
}

export function addCommand(parent: Command, name: string, page: ManualPage): Command {
  const command = parent.command(name);
  return setManualPage(command, page)
    .exitOverride((error) => fail(command, error))
    .allowExcessArguments(false);
}

/** What commander objects to becomes our usage error; help and version are no errors. */
function fail(command: Command, error: CommanderError): never {
  if (error.exitCode === 0 || error.code === 'commander.help') throw error;
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\.?\s*$/, '')
    .replaceAll(/[<>]/g, '');
  throw usageError(
    'usage',
    `cannot run ${fullName(command)}: ${message.replaceAll('\n', ' ')}`,
    `${fullName(command)} --help shows how it is called`,
  );
}

/** Runs the command that this process was called with: one of those that `add` adds. */
export function startCommand(add: (program: Command) => void): void {
  runProgram(async () => {
    const program = new Command('sealroot');
    setManualPage(program, ROOT_PAGE)
      .version(packageJson.version, '--version', 'show the version')
      .configureOutput({ outputError: () => {} })
      .exitOverride((error) => fail(program, error));
    add(program);
    try {
      await program.parseAsync();
    } catch (error) {
      // Help and version are no errors.
      if (!(error instanceof CommanderError)) throw error;
      process.exitCode = error.exitCode === 0 ? 0 : 2;
    }
  });
}
