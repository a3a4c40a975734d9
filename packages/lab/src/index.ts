/**
 * What was really on the wire.
 *
 * A program that uses TCP sees two things of it: what it wrote, and what its reads returned. Neither is what crossed the
 * network, and neither says where a message ends:
 *
 * ```text
 *   writes     |hello|world|egon|          three calls of send
 *   segments   |hello|worldegon|           what TCP made of them (only a capture sees these)
 *   reads      |hel|loworldegon|           what recv returned: whatever was there, as much as was asked for
 *   messages   |hello|world|egon|          what a framing finds in it, however it was cut
 * ```
 *
 * The lab makes this visible: `phenomena` are experiments on real sockets, `serveCommands` and `openCommandClient` speak
 * the historical protocols, `startProxy` stands between two programs, watched by an `Inspector` or with `faults` on its
 * way, and `probe` finds the cuts of a request that break a server. The command `wirelab` is made of these.
 *
 * @module @sendall/lab
 */
export { formatAddress, parseAddress, type Address } from './address.js';
export { ChatServer, type ChatEvent, type ChatServerOptions } from './chat/server.js';
export { joinChat, type ChatClient } from './chat/client.js';
export { detectEncoding, textDecoder, type Encoding, type TextDecoderStream } from './encoding.js';
export { experiment, type Experiment, type ExperimentOptions } from './experiment/experiment.js';
export {
  directedFaults,
  faults,
  type DirectedFaultOptions,
  type DirectedFaults,
  type Direction,
  type Fault,
  type FaultContext,
  type FaultOptions,
  type Stage,
} from './faults/index.js';
export { guessFraming, type Guess } from './messages/guess.js';
export { openCommandClient, type CommandClient } from './historical/client.js';
export {
  serveCommands,
  type CommandEvent,
  type CommandServer,
  type CommandServerOptions,
} from './historical/server.js';
export { Inspector, type Framings, type InspectEvent, type InspectRead } from './proxy/inspector.js';
export type { Lang, Text } from './lang.js';
export { CaptureError, type CaptureLimits } from './capture/packet.js';
export { FilterError, parseFilter, type Filter, type Filterable } from './messages/filter.js';
export { byBytes, IDENTITIES, parseIdentify, type Identify, type Role } from './messages/identities.js';
export { Pairs, type PairedMessage, type PairEvent, type PairOptions } from './proxy/pairs.js';
export { PcapExport } from './proxy/pcap-export.js';
export { readCapture, type ReadCapture } from './proxy/captured.js';
export { phenomena, type Observation, type Phenomenon, type Plot, type Shown, type Table } from './phenomena/index.js';
export {
  NoAnswerError,
  probe,
  type ProbeCase,
  type ProbeFailure,
  type ProbeOptions,
  type ProbeReport,
  type Verdict,
} from './probe/probe.js';
export type { NotTried, Plan } from './probe/plan.js';
export { startProxy, type Proxy, type ProxyEvent, type ProxyOptions } from './proxy/proxy.js';
export { readRecord, Recorder, type ReadRecord } from './proxy/record.js';
export { Tap, type TapMessage, type TapRead } from './messages/tap.js';
export { timeline } from './render/timeline.js';
export { Trace, type Acknowledgement, type Segments, type Span } from './wire/trace.js';
