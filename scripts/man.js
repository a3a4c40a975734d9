/**
 * npm run man: writes the manual pages of `sendall` and `wirelab` (packages/…/man) from the tables that their parsers use.
 * Part of the build; the pages go into the tarballs.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { commandGroups } from '../packages/sendall/dist/cli/command-table.js';
import { allCommands } from '../packages/lab/dist/cli/command-table.js';

/**
 * @typedef {{ value?: string, optionalValue?: boolean, short?: string, help: string, group?: string }} Option
 * @typedef {{ name: string, usage: string | readonly string[], summary: string, about?: readonly string[],
 *   parsesItself?: boolean, examples: readonly string[], options: Readonly<Record<string, Option>>,
 *   tables?: Readonly<Record<string, Readonly<Record<string, string>>>> }} Command
 */

const packages = fileURLToPath(new URL('../packages/', import.meta.url));

/** Escapes text for groff. @param {string} text */
const plain = (text) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
/** @param {string} text */
const bold = (text) => `\\fB${plain(text)}\\fR`;
/** @param {string} text */
const italic = (text) => `\\fI${plain(text)}\\fR`;

/** @param {string} heading @param {string[]} lines */
const section = (heading, ...lines) => (lines.length ? [`.SH ${heading.toUpperCase()}`, ...lines] : []);
/** @param {string} term @param {string} text */
const entry = (term, text) => ['.TP', term, plain(text)];
/** Lines as users type them. @param {readonly string[]} lines */
const typed = (lines) => ['.EX', ...lines.map(plain), '.EE'];
/** @param {readonly (readonly [string, string])[]} rows */
const entries = (rows) => rows.flatMap(([term, text]) => entry(bold(term), text));

/** @param {string} program @param {Command} command */
const synopsis = (program, { name, usage }) =>
  [usage]
    .flat()
    .flatMap((each, i) => [...(i ? ['.br'] : []), `${bold(`${program} ${name}`)} ${plain(each)}`.trimEnd()]);

/** @param {[string, Option]} option */
function optionEntry([name, { value, optionalValue, short, help }]) {
  const shown = value === undefined ? '' : optionalValue ? `[=${italic(value)}]` : ` ${italic(value)}`;
  const flag = name.length === 1 ? `-${name}` : `--${name}`;
  return entry(`${short ? `${bold(`-${short}`)}, ` : ''}${bold(flag)}${shown}`, help);
}

/** @param {Command} command @returns {Option} */
const helpOf = ({ parsesItself }) => ({ ...(parsesItself ? {} : { short: 'h' }), help: 'show this help' });

/** Options under their headings. @param {string} level @param {Command} command */
function options(level, command) {
  /** @type {[string, Option][]} */
  const all = Object.entries({ ...command.options, help: helpOf(command) });
  const groups = new Set(all.map(([, { group = 'Options' }]) => group));
  return [...groups].flatMap((heading) => [
    ...(heading === 'Options' ? [] : [`.${level} ${plain(heading)}`]),
    ...all.filter(([, { group = 'Options' }]) => group === heading).flatMap(optionEntry),
  ]);
}

/** @param {string} title @param {string[]} body @param {string} version */
const page = (title, version, ...body) =>
  [`.TH ${plain(title.toUpperCase())} 1 "" "sendall ${version}" "sendall"`, ...body].join('\n') + '\n';

/** @param {string} name */
const manifestOf = (name) => JSON.parse(readFileSync(`${packages}${name}/package.json`, 'utf8'));

/** @param {string} name of the package @param {Record<string, string>} pages */
function write(name, pages) {
  const folder = `${packages}${name}/man/`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [file, text] of Object.entries(pages)) writeFileSync(folder + file, text);
  const made = Object.keys(pages).map((file) => `./man/${file}`);
  if (JSON.stringify(manifestOf(name).man) !== JSON.stringify(made))
    throw new Error(`"man" in packages/${name}/package.json must be ${JSON.stringify(made)}`);
}

const EXIT_STATUS = /** @type {const} */ ([
  ["the command's own", 'it ended by itself'],
  ['128 + n', 'it died of signal n'],
  ['126, 127', 'the program cannot be executed; it does not exist'],
  ['129', 'also: sendall received SIGHUP before the end was known; the run id is on stderr'],
  ['200', 'the command line is wrong'],
  ['201', 'the host was not reached'],
  ['202', 'the host refused: key, pairing, permission, working folder'],
  ['203, 204', 'it was ended by a timeout; it was cancelled'],
  ['205', 'the link was lost and the end is not known'],
  ['206', 'output is missing'],
  ['207', 'of many hosts, some were never started'],
  ['208', 'the run id was used for another command'],
]);

const TARGETS = /** @type {const} */ ([
  ['local', 'this machine'],
  ['web1', 'a host that "sendall hosts" lists'],
  ['web[01-20,33]', 'each of these names'],
  ['a,b', 'both'],
  ['@web', 'hosts with a tag of this name or with this value'],
  ['role=web', 'hosts with this tag'],
  ['all', 'every known host'],
  ['all,!web3', 'without these'],
  ['all&role=web', 'only those in both'],
]);

const ENVIRONMENT = /** @type {const} */ ([
  ['SENDALL_HOME', 'one folder for keys, hosts, state and sockets, instead of the XDG folders'],
  ['SENDALL_DEBUG', 'set to 1: errors with their stacks'],
  ['SENDALL_VERBOSE', 'short or full: runs are narrated on stderr'],
  ['NODE_DISABLE_COMPILE_CACHE', 'set to 1: no cache of compiled code is read or written'],
]);

const groups = /** @type {ReadonlyMap<string, readonly Command[]>} */ (await commandGroups());
const { version } = manifestOf('sendall');
/** @type {Record<string, string>} */
const sendall = {
  'sendall.1': page(
    'sendall',
    version,
    ...section('Name', 'sendall \\- run a command on one machine or on many, exactly'),
    ...section(
      'Synopsis',
      `${bold('sendall')} ${italic('COMMAND')} [OPTIONS] [WORDS] [${bold('--')} PROGRAM ARGUMENTS]`,
    ),
    ...section(
      'Description',
      'Sends a command to one machine or to many and brings back every byte of the answer, once and in order, with the exit code.',
      'Each machine runs an agent; machines know each other by pinned keys after they were paired once.',
    ),
    ...section(
      'Commands',
      'Each has a page of its own, such as',
      `.BR sendall\\-run (1).`,
      ...[...groups].flatMap(([heading, commands]) => [
        `.SS ${plain(heading)}`,
        ...entries(commands.map(({ name, summary }) => [name, summary])),
      ]),
    ),
    ...section('Targets', ...entries(TARGETS)),
    ...section('Exit status', ...entries(EXIT_STATUS)),
    ...section('Environment', ...entries(ENVIRONMENT)),
    ...section(
      'Files',
      ...entries([
        ['~/.config/sendall', "this user's key, the hosts that are known here, the keys that may call"],
        ['~/.local/state/sendall', 'runs and their output, sockets'],
        ['~/.cache/sendall', 'compiled code; it may be removed at any time'],
      ]),
    ),
  ),
};
for (const command of [...groups.values()].flat())
  sendall[`sendall-${command.name}.1`] = page(
    `sendall-${command.name}`,
    version,
    ...section('Name', `sendall\\-${plain(command.name)} \\- ${plain(command.summary)}`),
    ...section('Synopsis', ...synopsis('sendall', command)),
    ...section('Options', ...options('SS', command)),
    ...Object.entries(command.tables ?? {}).flatMap(([heading, table]) =>
      section(heading, ...entries(Object.entries(table))),
    ),
    ...section('Examples', ...typed(command.examples)),
    ...section('See also', '.BR sendall (1)'),
  );
write('sendall', sendall);

const commands = /** @type {readonly Command[]} */ (await allCommands());
write('lab', {
  'wirelab.1': page(
    'wirelab',
    version,
    ...section('Name', 'wirelab \\- see what was really on the wire'),
    ...section('Synopsis', `${bold('wirelab')} ${italic('COMMAND')} [OPTIONS] [WORDS]`),
    ...commands.flatMap((command) => [
      ...section(`wirelab ${command.name}`, plain(command.summary), '.PP', ...synopsis('wirelab', command)),
      ...(command.about?.length ? ['.PP', ...command.about.map(plain)] : []),
      ...options('SS', command),
      '.PP',
      ...typed(command.examples),
    ]),
    ...section(
      'Exit status',
      ...entries([
        ['0', 'all is well'],
        ['1', 'something failed; probe: a cut changes the answer'],
        ['3', 'probe: there is no answer to compare with'],
        ['200', 'the command line is wrong'],
        ['201', 'the server was not reached'],
        ['206, 141', 'the output could not be written to its end; its reader has gone'],
      ]),
    ),
  ),
});
