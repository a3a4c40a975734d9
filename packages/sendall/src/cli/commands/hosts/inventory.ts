/** `hosts import` and `hosts export`: lists of hosts from other tools, and ours for others. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname, extname, resolve } from 'node:path';
import { UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { AllHosts } from '../../../index.js';
import {
  addInventoryFile,
  addInventoryProgram,
  convert,
  inventoryLimits,
  jsonOf,
  yamlText,
  type Format,
} from '../../../internal.js';
import { started } from '../../../started.js';
import { answer, json } from '../../show/print.js';
import type { Arguments } from '../../words/command.js';
import { count } from '../../words/units.js';

/** Adds a file, or a program with --exec, to hosts.d. */
export function importHosts(args: Arguments, words: readonly string[]): number {
  const program = args.text('exec');
  const [file, ...more] = words;
  if (program !== undefined && file === undefined && !args.on('from')) return importProgram(args, program);
  if (program !== undefined) throw new UsageError('--exec takes the place of a file: leave the file and --from out');
  if (file === undefined || more.length)
    throw new UsageError(
      'hosts import needs one file: sendall hosts import ~/.ssh/config, or - for stdin, or --exec PROGRAM',
    );
  const limits = inventoryLimits({}, process.env);
  const path = file === '-' ? 'stdin' : resolve(file);
  const text = textOf(file, path, limits.maxBytes);
  const from = args.text('from') as Format | undefined;
  const folder = file === '-' ? process.cwd() : dirname(path);
  const { format, listing, notes, text: ours } = convert({ text, file: path, folder, from }, limits);
  const name = args.text('as') ?? usualName(file, format);
  const replace = args.on('replace');
  const written = addInventoryFile(resolveHome(), { name, replace, text: ours, listing }, limits);
  const { hosts, groups } = listing;
  if (args.on('json')) json({ event: 'imported', format, file: written, ...sizes(listing), leftOut: notes });
  else {
    answer(`imported ${count(hosts.size, 'host')} and ${count(groups.size, 'group')} (${format}) into ${written}`);
    answer(...notes.map((note) => `left out: ${note}`));
  }
  return 0;
}

function importProgram(args: Arguments, program: string): number {
  const name = args.text('as') ?? basename(program);
  const addition = { name, replace: args.on('replace'), program: resolve(program) };
  const { path, listing } = addInventoryProgram(resolveHome(), addition, inventoryLimits({}, process.env));
  const { hosts, groups } = listing;
  if (args.on('json')) json({ event: 'imported', format: 'program', file: path, ...sizes(listing), leftOut: [] });
  else
    answer(
      `${path} will be asked for hosts; now it has ${count(hosts.size, 'host')} and ${count(groups.size, 'group')}`,
    );
  return 0;
}

const sizes = ({ hosts, groups }: { hosts: { size: number }; groups: { size: number } }) => ({
  hosts: hosts.size,
  groups: groups.size,
});

function usualName(file: string, format: Format): string {
  if (format === 'ssh') return 'ssh';
  return file === '-' ? (format === 'yaml' ? 'imported' : format) : basename(file, extname(file));
}

/** Reads a file or stdin, of any kind, up to a limit. */
function textOf(file: string, path: string, maxBytes: number): string {
  if (file === '-' && started().closed.has(0)) throw new UsageError('our stdin is closed: give it a list of hosts');
  let fd = 0;
  const pieces: Buffer[] = [];
  try {
    if (file !== '-') fd = openSync(path, 'r');
    if (fstatSync(fd).isDirectory()) throw new UsageError(`${path} is a folder: name a file in it`);
    for (let total = 0; ;) {
      const piece = Buffer.allocUnsafe(64 * 1024);
      const length = readSome(fd, piece);
      if (!length) return Buffer.concat(pieces).toString();
      pieces.push(piece.subarray(0, length));
      total += length;
      if (total > maxBytes)
        throw new UsageError(`${path} has more than ${maxBytes} bytes (maxBytes, SENDALL_INVENTORY_MAX_BYTES)`);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  } finally {
    if (fd) closeSync(fd);
  }
}

/** Reads some bytes, waiting for them if a process that shares the descriptor made it non-blocking. */
function readSome(fd: number, piece: Buffer): number {
  for (;;)
    try {
      return readSync(fd, piece);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
}

/** Prints all hosts and groups as YAML or JSON, which `hosts import` reads. */
export function exportHosts(args: Arguments, words: readonly string[]): number {
  if (words.length) throw new UsageError('hosts export takes no words: it prints all hosts and groups');
  if (args.on('yaml') && args.on('json'))
    throw new UsageError('--yaml and --json contradict each other: leave one out');
  const all = AllHosts.of(resolveHome());
  const written = { hosts: new Map(all.list().map((host) => [host.name, host])), groups: all.groups() };
  if (args.on('json')) json(jsonOf(written));
  else answer(...yamlText(written).split('\n').slice(0, -1));
  return 0;
}
