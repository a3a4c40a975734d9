/** `wirelab probe`: looks for cuts of a request that change a server's answer. */
import { readFileSync } from 'node:fs';
import { formatAddress, parseAddress } from '../../address.js';
import { parsePlan } from '../../probe/plan.js';
import { formatCase, NoAnswerError, parseCase, Probe, probe, type ProbeOptions } from '../../probe/probe.js';
import { failureJson, probedJson, renderFailure, renderProbed } from '../../render/probed.js';
import { checkFraming } from '../../messages/tap.js';
import { checked, UsageError, type Command } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { FRAMING_SPECS, SPECS } from '../framing-specs.js';
import { print, say } from '../output.js';

/** A longer case does not fit on a command line that can be copied. */
const LONGEST_CASE = 4000;

export const command: Command = {
  name: 'probe',
  usage: ['HOST:PORT --framing SPEC --request HEX|@FILE [--json] [--all] [--timeout MS]', '--repeat CASE'],
  summary: 'finds the cuts of a request that break a server',
  about: [
    'Sends the same request in many ways - split at every offset, byte by byte, slow, glued, pipelined - and compares the',
    'answers with the answer to the whole request. Exits with 1 when a cut changes the answer, makes the server hang or close',
    'the connection, and shows the smallest such case; exits with 3 when there is no answer to compare with. The report names',
    'the cuts that were not tried, with the reason.',
    '',
    'A server that runs commands will run pieces of them: probe with harmless requests.',
  ],
  examples: ['wirelab probe 127.0.0.1:6379 --framing crlf --request 50494e470d0a'],
  options: {
    framing: {
      value: 'SPEC',
      help: `of the answers: ${SPECS}; "raw": none, all bytes are compared`,
      complete: FRAMING_SPECS,
    },
    request: {
      value: 'HEX|@FILE',
      help:
        'exact bytes in hex, or a file that holds them; several are asked one after the other. What is no whole frame ' +
        'is tried as it is first, then with the framing put around it',
    },
    json: { help: 'one object' },
    all: { help: 'goes on with cuts of a kind that has failed three times' },
    timeout: { value: 'MS', help: 'how long a server may be silent before that is a hang, default 2000' },
    repeat: {
      value: 'CASE',
      help: 'a case of a report, alone; or COPIES:CUTS:PAUSE beside the other options',
    },
  },
  async run(args) {
    const timeoutMs = args.integer('timeout', 1, 3_600_000) ?? 2000;
    const again = args.text('repeat');
    const whole = again === undefined ? undefined : parseCase(again);
    const target = args.words[0] ?? whole?.address;
    const framing = args.text('framing') ?? whole?.framing;
    const requests = args.on('request') ? args.texts('request').map(readRequest) : whole?.requests;
    if (args.words.length > 1) throw new UsageError('probe takes one HOST:PORT');
    if (target === undefined || framing === undefined || requests === undefined) {
      throw new UsageError('probe takes HOST:PORT, --framing SPEC and --request HEX or @FILE (or --repeat CASE)');
    }
    checked(() => checkFraming(framing));
    const address = checked(() => parseAddress(target));
    const options: ProbeOptions = {
      address,
      framing,
      requests,
      timeoutMs,
      ...(args.on('all') && { all: true }),
      onProgress: progress,
    };
    try {
      return again === undefined
        ? await report(options, args.on('json'))
        : await repeat(options, whole?.plan ?? again, args.on('json'));
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      say(`wirelab: ${error.message}`);
      return EXIT.notProbed;
    }
  },
};

async function report(options: ProbeOptions, json: boolean): Promise<number> {
  const found = await probe(options);
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  const { minimal, request } = found;
  let again: string | undefined;
  if (minimal) {
    const text = formatCase(formatAddress(options.address), options.framing, [request], minimal.plan, request.length);
    if (text.length <= LONGEST_CASE) again = `wirelab probe --repeat '${text}'`;
  }
  await print(...(json ? [JSON.stringify(probedJson(found, again))] : renderProbed(found, again)));
  return minimal ? 1 : 0;
}

async function repeat(options: ProbeOptions, text: string, json: boolean): Promise<number> {
  const subject = await Probe.open(options);
  const { length } = subject.request;
  const tried = await subject.try(checked(() => parsePlan(text, length)));
  await print(...(json ? [JSON.stringify(failureJson(tried, length))] : renderFailure(tried, length)));
  return tried.verdict === 'same' ? 0 : 1;
}

function readRequest(value: string): Buffer {
  if (value.startsWith('@')) return readFileSync(value.slice(1));
  const hex = value.replace(/\s+/g, '');
  if (hex === '' || hex.length % 2 === 1 || /[^0-9a-f]/i.test(hex)) {
    throw new UsageError(`--request takes bytes in hex or @FILE, not "${value.slice(0, 40)}"`);
  }
  return Buffer.from(hex, 'hex');
}

function progress(family: string, done: number, of: number): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${family}: ${done} of ${of}`);
}
