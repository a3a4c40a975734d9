import { readFileSync } from 'node:fs';
import { formatAddress, parseAddress } from '../../address.js';
import { parsePlan } from '../../probe/plan.js';
import { formatCase, NoAnswerError, parseCase, Probe, probe, type ProbeOptions } from '../../probe/probe.js';
import { failureJson, probedJson, renderFailure, renderProbed } from '../../render/probed.js';
import { checkFraming } from '../../tap.js';
import { checked, integer, parse, UsageError, type Command } from '../command.js';
import { print, say } from '../output.js';

const notProbed = 3;
/** Of a longer request the whole case would not fit on a command line that somebody copies. */
const longestCase = 4000;

export const command: Command = {
  summary: 'finds the ways of cutting a request that a server cannot bear',
  help: `wirelab probe HOST:PORT --framing SPEC --request HEX|@FILE [--json] [--all] [--timeout MS]
wirelab probe --repeat CASE

Sends the same request in many ways - split at every offset, byte by byte, slow, glued, pipelined - and compares the
answers with the one that it gets when it is sent whole. Exits with 1 when a cut changes the answer (or it hangs, or the
connection is closed), and shows the smallest case that does; with 3 when there is no answer to compare with.

  --framing     of the answers: u32be, lines, …; "raw": none, all bytes are compared
  --request     exact bytes in hex, or a file that holds them; several are asked one after the other. What is no whole
                frame is tried as it is first, then with the framing put around it
  --all         goes on with cuts of a kind that has failed three times
  --timeout MS  how long a server may be silent until that is a hang, default 2000
  --repeat CASE a case that a report named, alone; or, beside the other options, COPIES:CUTS:PAUSE

A server that runs commands will run pieces of them: probe with harmless requests.

example: wirelab probe 127.0.0.1:6379 --framing crlf --request 50494e470d0a`,
  async run(words) {
    const { values, positionals } = parse({
      args: words,
      allowPositionals: true,
      options: {
        framing: { type: 'string' },
        request: { type: 'string', multiple: true },
        repeat: { type: 'string' },
        json: { type: 'boolean' },
        all: { type: 'boolean' },
        timeout: { type: 'string' },
      },
    });
    const timeoutMs = integer('timeout', values.timeout, 1, 3_600_000) ?? 2000;
    const whole = values.repeat === undefined ? undefined : parseCase(values.repeat);
    const target = positionals[0] ?? whole?.address;
    const framing = values.framing ?? whole?.framing;
    const requests = values.request?.map(readRequest) ?? whole?.requests;
    if (positionals.length > 1) throw new UsageError('probe takes one HOST:PORT');
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
      ...(values.all && { all: true }),
      onProgress: progress,
    };
    try {
      return values.repeat === undefined
        ? await report(options, values.json === true)
        : await repeat(options, whole?.plan ?? values.repeat, values.json === true);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      say(`wirelab: ${error.message}`);
      return notProbed;
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
    if (text.length <= longestCase) again = `wirelab probe --repeat '${text}'`;
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
