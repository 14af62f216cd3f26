/**
 * `--help` as a manual page: NAME, SYNOPSIS, DESCRIPTION, COMMANDS, OPTIONS, EXIT STATUS, EXAMPLES. Options and arguments come
 * from what the parser really accepts; prose and examples from usage.ts.
 */

import type { Command, Help, Option } from 'commander';

export interface ManualPage {
  /** One line, as `apropos` shows it. */
  summary: string;
  /** Paragraphs. */
  description: readonly string[];
  examples: readonly string[];
}

const INDENT = '    ';
const EXIT_STATUS = [
  ['0', 'done'],
  ['1', 'refused: a policy says no'],
  ['2', 'the command line is wrong'],
  ['3', 'the input is malformed, or names what is not there'],
  ['4', 'the operating system said no'],
] as const;

/** Makes `--help` of this command show the page. */
export function setManualPage(command: Command, page: ManualPage): Command {
  return command
    .description(page.summary)
    .helpOption('--help', 'show this page')
    .helpCommand(false)
    .configureHelp({ formatHelp: (self, help) => formatPage(self, help, page) });
}

/** `sealroot image create`: how the command is called. */
export function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function formatPage(command: Command, help: Help, page: ManualPage): string {
  const width = Math.min(Math.max(help.helpWidth ?? 80, 60), 100);
  const name = fullName(command);
  const commands = command.commands.map((sub) => [help.subcommandTerm(sub), sub.description()] as const);
  const terms = [
    ...command.registeredArguments.map((argument) => [argument.name(), argument.description] as const),
    ...help.visibleOptions(command).map((option) => [flags(option), option.description] as const),
  ];
  const sections: [string, string][] = [
    ['NAME', wrap(`${name} - ${page.summary}`, INDENT, width)],
    ['SYNOPSIS', wrap(`${name} ${synopsis(command)}`, INDENT, width)],
    ['DESCRIPTION', page.description.map((text) => wrap(text, INDENT, width)).join('\n\n')],
    ['COMMANDS', definitions(commands, width)],
    ['OPTIONS', definitions(terms, width)],
    ['EXIT STATUS', definitions(EXIT_STATUS, width)],
    ['EXAMPLES', page.examples.map((line) => INDENT + line).join('\n')],
  ];
  return `${sections
    .filter(([, body]) => body !== '')
    .map(([title, body]) => `${title}\n${body}\n`)
    .join('\n')}`;
}

/** `--repo REPO`, as manual pages write it. */
function flags(option: Option): string {
  return option.flags.replaceAll(/[<>]/g, '');
}

/** Mandatory options first, then the optional ones in brackets, then the arguments; `...` where repetition is allowed. */
function synopsis(command: Command): string {
  if (command.commands.length > 0) return 'COMMAND [OPTION...]';
  const options = command.options.map((option) => {
    const repeated = Array.isArray(option.defaultValue) ? '...' : '';
    return option.mandatory ? `${flags(option)}${repeated}` : `[${flags(option)}]${repeated}`;
  });
  const operands = command.registeredArguments.map((argument) =>
    argument.required ? argument.name() : `[${argument.name()}]`,
  );
  return [...options, ...operands].join(' ');
}

function definitions(terms: readonly (readonly [term: string, text: string])[], width: number): string {
  return terms.map(([term, text]) => `${INDENT}${term}\n${wrap(text, INDENT + INDENT, width)}`).join('\n');
}

function wrap(text: string, indent: string, width: number): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > width && line !== indent) {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += `${word} `;
  }
  lines.push(line.trimEnd());
  return lines.join('\n');
}
