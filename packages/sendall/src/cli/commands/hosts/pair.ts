/** Pairing: a code made on one machine and typed on another lets each learn the other's key. */
import { hostname } from 'node:os';
import { isatty } from 'node:tty';
import { UnreachableError, UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { connect, pair as pairWith, type AgentStatus, type IssuedCode } from '../../../index.js';
import { Callers, natsHostOf } from '../../../internal.js';
import type { Arguments, Command } from '../../words/command.js';
import { answer, json, table } from '../../show/print.js';
import { count, parseDuration } from '../../words/units.js';

/** Most characters of a code on stdin. */
const LONGEST_CODE = 200;

export const pair: Command = {
  name: 'pair',
  usage: '--new [--principal NAME --role ROLE] | URL --code CODE --name NAME | --list | --remove KEY',
  summary: 'introduce two machines to each other with a one-time code',
  examples: [
    'sendall pair --new --ttl 1h',
    'sendall pair --new --principal alice --role deploy',
    'sendall pair tls://web1.example:7433 --code - --name web1',
    'sendall pair nats:ID --code - --name web2',
    'sendall pair --list',
  ],
  options: {
    new: { help: 'on the agent’s machine: make a code and show what to type on the other' },
    ttl: { value: 'TIME', help: 'how long the code is valid (default 10m)' },
    principal: {
      value: 'NAME',
      help: 'with --new: who the other machine’s user will be here, with runs of its own (default: owner, who may do everything)',
    },
    role: {
      value: 'ROLE',
      help: 'with --new: a role of that principal, for the policy’s rules; may be repeated (default: those it has)',
    },
    code: { value: 'CODE', help: 'the code; "-" reads it from stdin, so that no process list shows it' },
    name: { value: 'NAME', help: 'the host’s name here' },
    identity: { value: 'NAME', help: 'pair as this identity; see sendall identity', complete: 'identity' },
    list: { help: 'on the agent’s machine: list the callers that may run commands on it' },
    remove: { value: 'KEY', help: 'on the agent’s machine: remove the caller with this key or name' },
    json: { help: 'one JSON object a line on stdout' },
  },
  async run(args) {
    if (args.on('new')) {
      if (args.words.length) throw new UsageError('pair --new takes no address: it is for the agent’s own machine');
      const ttl = args.text('ttl');
      const principal = args.text('principal');
      const roles = args.on('role') ? args.texts('role') : undefined;
      if (roles && principal === undefined)
        throw new UsageError('--role needs --principal NAME: roles belong to a principal');
      await using host = await connect('local');
      const made = await host.ask<IssuedCode>('pair-new', {
        ...(ttl !== undefined && { ttlMs: parseDuration(ttl, '--ttl') }),
        principal,
        roles,
      });
      const { principal: who, roles: its, ...alone } = made;
      if (args.on('json')) json(principal === undefined ? alone : { ...alone, principal: who, roles: its });
      else await explain(made);
      return 0;
    }
    for (const name of ['principal', 'role'])
      if (args.on(name)) throw new UsageError(`--${name} goes with --new, on the agent’s machine`);
    if (args.on('list') || args.on('remove')) return await callers(args);
    const [url] = args.words;
    const name = args.text('name');
    const code = args.text('code');
    if (url === undefined || name === undefined || code === undefined)
      throw new UsageError(
        'pair needs an address, a code and a name: sendall pair tls://HOST:PORT --code CODE --name web1',
      );
    const identity = args.text('identity');
    const paired = await pairWith(resolveHome(), url, { code: code === '-' ? await readCode() : code, name, identity });
    if (args.on('json')) json({ name: paired.name, url: paired.url, fingerprint: paired.pin });
    else
      answer(
        `paired with ${paired.name} (${paired.url}), key ${paired.pin}; try: sendall run ${paired.name} -- uname -a`,
      );
    return 0;
  },
};

/** Lists the callers of this machine's agent, or removes one. */
async function callers(args: Arguments): Promise<number> {
  const known = new Callers(resolveHome());
  const wanted = args.text('remove');
  if (wanted === undefined) {
    const all = known.list();
    if (args.on('json')) for (const each of all) json(each);
    else if (!all.length) answer('only you may run commands here: sendall pair --new lets another machine in');
    else
      await table([
        ['NAME', 'PRINCIPAL', 'ROLES', 'KEY', 'PAIRED'],
        ...all.map((each) => [each.name, each.principal, each.roles.join(',') || '-', each.fingerprint, each.pairedAt]),
      ]);
    return 0;
  }
  const found = known.list().filter(({ fingerprint, name }) => fingerprint === wanted || name === wanted);
  if (found.length !== 1)
    throw new UsageError(
      found.length
        ? `${found.length} callers are called "${wanted}": give the key of one, as sendall pair --list shows it`
        : `no caller has the key or the name "${wanted}": see sendall pair --list`,
    );
  const ended = await removeKey(known, found[0]!.fingerprint);
  if (args.on('json')) json({ removed: found[0]!.fingerprint, ended });
  else answer(`removed${ended ? `; ${count(ended, 'link')} closed` : ''}`);
  return 0;
}

/** The agent removes it and ends its links; without an agent there are none. Returns how many ended. */
async function removeKey(known: Callers, fingerprint: string): Promise<number> {
  try {
    await using host = await connect('local');
    return (await host.ask<{ ended: number }>('remove-caller', { fingerprint })).ended;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    await known.remove(fingerprint);
    return 0;
  }
}

async function explain({ code, fingerprint, expires, principal, roles }: IssuedCode): Promise<void> {
  await using host = await connect('local');
  const { listening, name } = await host.ask<AgentStatus>('status');
  const url = listening.find((each) => each.startsWith('tls:'));
  const broker = listening.find((each) => each.startsWith('nats:'));
  answer(`code         ${code}`);
  answer(`fingerprint  ${fingerprint}`);
  answer(`valid until  ${new Date(expires).toLocaleString('sv')}, local time, for one machine`);
  answer(`lets in      ${rightsIn(principal, roles)}`);
  if (!url && broker === undefined) {
    answer(
      'This agent listens only on its Unix socket, so other machines cannot reach it. Let it listen, and make a new code:',
    );
    answer('  sendall agent restart --listen tls://0.0.0.0:7433 && sendall pair --new');
    return;
  }
  const shown = url?.replace(/\/\/(0\.0\.0\.0|\[::\])/, `//${hostname()}`);
  answer('On the other machine:');
  if (shown) answer(`  sendall pair ${shown} --code ${code} --name ${name}`);
  if (!broker) return;
  if (shown) answer('or, through the broker:');
  answer(`  sendall pair ${natsHostOf(fingerprint)} --code ${code} --name ${name}`);
  answer(`If that machine has no broker set up yet, first: sendall engine ${broker}, with its --creds`);
}

function rightsIn(principal: string, roles: readonly string[]): string {
  if (principal === 'owner') return 'an owner, who may run anything here, as you may';
  if (roles.includes('owner')) return `${principal}, an owner, who may run anything here, as you may`;
  const its = roles.length ? ` (${roles.join(', ')})` : '';
  return `${principal}${its}, who may do what the policy here allows`;
}

/** Reads the first line of stdin. */
async function readCode(): Promise<string> {
  if (isatty(0)) process.stderr.write('code: ');
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk as string;
    if (text.includes('\n') || text.length > LONGEST_CODE) break;
  }
  const code = text.split('\n', 1)[0]!.trim();
  if (!code) throw new UsageError('no code came on stdin: sendall pair --new on the agent’s machine shows one');
  return code;
}
