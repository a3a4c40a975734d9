// The layer rules of docs/architecture.md. Layers point down: what is not allowed here is an error.
const src = (name) => `^packages/${name}/src/`;
const only = (from, ...allowed) => ({
  name: `${from} imports only ${allowed.join(', ')}`,
  severity: 'error',
  from: { path: `^packages/${from}` },
  to: {
    path: '^(packages|node_modules/@sendall|node_modules/sendall)/',
    pathNot: [from, ...allowed].map((name) => `^packages/${name}`),
  },
});
const room = (from, ...allowed) => ({
  name: `sendall/${from} imports only ${['errors', ...allowed].join(', ')}`,
  severity: 'error',
  from: { path: `${src('sendall')}${from}/` },
  to: {
    path: src('sendall'),
    pathNot: [
      `${src('sendall')}(${[from, ...allowed].map((name) => `${name}/`).join('|')}|errors\\.ts|home\\.ts|fair-share\\.ts|started\\.ts|timer\\.ts|turns\\.ts)`,
    ],
  },
});
/** A room imports no other room of its package than these. */
const inside =
  (folder) =>
  (from, ...allowed) => [
    {
      name: `${folder}/${from} imports no room but ${allowed.join(', ') || 'itself'}`,
      severity: 'error',
      from: { path: `^packages/${folder}/${from}/` },
      to: {
        path: `^packages/${folder}/[^/]+/`,
        pathNot: [from, ...allowed].map((name) => `^packages/${folder}/${name}/`),
      },
    },
  ];
const client = inside('sendall/src/client');
const agent = inside('sendall/src/agent');
const cli = inside('sendall/src/cli');
const transfer = inside('sendall/src/transfer');
const servers = inside('socketserver/src');
const lab = inside('lab/src');
module.exports = {
  forbidden: [
    { name: 'no cycles', severity: 'error', from: { path: '^packages/[^/]+/src/' }, to: { circular: true } },
    {
      name: 'framing imports nothing but node:buffer, node:stream and timers',
      severity: 'error',
      from: { path: src('framing') },
      to: { pathNot: [src('framing'), '^(node:)?(buffer|stream|stream/web|timers)$'] },
    },
    only('framing/src/'),
    only('socketserver/src/', 'framing/'),
    only('sendall/src/', 'framing/', 'socketserver/'),
    only('lab/src/', 'framing/', 'socketserver/'),
    {
      name: 'framing and socketserver have no runtime dependency',
      severity: 'error',
      from: { path: '^packages/(framing|socketserver)/src/' },
      to: {
        dependencyTypes: ['npm', 'npm-dev', 'npm-no-pkg'],
        pathNot: ['^packages/', 'koffi', 'node_modules/@types'],
      },
    },
    {
      name: 'errors.ts imports nothing of ours',
      severity: 'error',
      from: { path: `${src('sendall')}errors\\.ts` },
      to: { path: src('sendall') },
    },
    room('text'),
    room('sets'),
    room('files'),
    room('log', 'files', 'text'),
    room('libc'),
    room('keys', 'files', 'text'),
    room('protocol'),
    room('link', 'protocol', 'text', 'keys'),
    room('keeper', 'protocol', 'link', 'text', 'files', 'log', 'libc'),
    room('keeper/system', 'protocol', 'libc'),
    room('keeper/output', 'protocol', 'keeper/system'),
    room('keeper/journal', 'protocol', 'keeper/output', 'keeper/probes'),
    room('keeper/log', 'protocol', 'log', 'keeper/journal', 'keeper/probes'),
    room('keeper/door', 'protocol', 'link', 'keeper/journal', 'keeper/output'),
    room('keeper/transfer', 'protocol', 'log', 'files', 'keeper/system'),
    room('keeper/bounds', 'protocol', 'libc', 'keeper/system', 'keeper/door'),
    room(
      'keeper/run',
      'protocol',
      'libc',
      'link',
      'text',
      'keeper/system',
      'keeper/output',
      'keeper/journal',
      'keeper/log',
      'keeper/door',
      'keeper/probes',
      'keeper/bounds',
      'keeper/transfer',
      'log',
    ),
    room('policy', 'protocol', 'text', 'files'),
    room('agent', 'protocol', 'link', 'text', 'files', 'keys', 'policy', 'log', 'keeper'),
    room('client', 'protocol', 'link', 'text', 'sets', 'files', 'keys', 'log', 'transfer'),
    room('fleet', 'sets', 'client', 'files', 'transfer'),
    room('fleet/history', 'fleet', 'sets', 'client', 'files'),
    room('transfer', 'protocol', 'text', 'files', 'libc'),
    room('testing', 'protocol', 'link', 'text', 'keeper', 'agent', 'client', 'fleet'),
    room('exchange', 'text', 'sets', 'client'),
    room('testing/network'),
    {
      name: 'only what asks for warm links, and the process that holds them, know link/warm',
      severity: 'error',
      from: { path: src('sendall'), pathNot: `${src('sendall')}(link/warm/|client/|internal\\.ts|on-demand\\.ts)` },
      to: { path: `${src('sendall')}link/warm/` },
    },
    {
      name: 'only link/nats knows NATS',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/', pathNot: `${src('sendall')}link/nats/` },
      to: { path: 'node_modules/@nats-io/' },
    },
    {
      name: 'the CLI is the first user of the API',
      severity: 'error',
      from: { path: `${src('sendall')}cli/` },
      to: {
        path: src('sendall'),
        pathNot: [
          `${src('sendall')}(cli/|console/server\\.ts|errors\\.ts|home\\.ts|started\\.ts|index\\.ts|internal\\.ts)`,
        ],
      },
    },
    {
      name: 'the console uses the API as a program does',
      severity: 'error',
      from: { path: `${src('sendall')}console/` },
      to: {
        path: src('sendall'),
        pathNot: [`${src('sendall')}(console/|errors\\.ts|home\\.ts|index\\.ts|internal\\.ts|turns\\.ts)`],
      },
    },
    {
      name: 'what the console and its page share imports nothing of Node',
      severity: 'error',
      from: { path: `${src('sendall')}console/messages(/|\\.ts)` },
      to: { pathNot: [`${src('sendall')}console/messages/`, 'node_modules/valibot/'] },
    },
    {
      name: 'only the command of the console loads it',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/', pathNot: `${src('sendall')}(console/|cli/commands/console\\.ts)` },
      to: { path: `${src('sendall')}console/` },
    },
    // Rooms of the caller's half, from the lowest to the highest. What lies at its root connects them.
    ...client('result'),
    ...client('streams', 'result'),
    ...client('options', 'result', 'streams'),
    ...client('session'),
    ...client('inventories'),
    ...client('run', 'result', 'streams', 'options', 'session'),
    ...client('transfer', 'result', 'streams', 'options', 'run'),
    // Rooms of transfers, from the lowest to the highest. What lies at its root connects them.
    ...transfer('files'),
    ...transfer('stream', 'files'),
    ...transfer('source', 'files', 'stream'),
    ...transfer('place', 'files', 'stream'),
    // Rooms of the agent, from the lowest to the highest. What lies at its root connects them, or is shared by all.
    ...agent('streams'),
    ...agent('callers'),
    ...agent('admission', 'callers', 'streams'),
    ...agent('log'),
    // Rooms of the command line, from the lowest to the highest.
    ...cli('words'),
    ...cli('terminal', 'words'),
    ...cli('show', 'words', 'terminal'),
    ...cli('leaving', 'words', 'terminal', 'show'),
    ...cli('hosts', 'words', 'show'),
    ...cli('install', 'words', 'show', 'hosts'),
    ...cli('runs', 'words', 'terminal', 'show', 'leaving', 'hosts'),
    ...cli('ssh', 'words', 'terminal', 'show', 'leaving', 'hosts', 'runs'),
    // Rooms of the socket server. What lies at its root is shared by all.
    ...servers('connection'),
    ...servers('transports'),
    ...servers('handler', 'connection'),
    ...servers('admission', 'connection', 'transports'),
    ...servers('concurrency', 'admission', 'handler', 'transports'),
    // Rooms of the lab, from the lowest to the highest; its command line may import all of them.
    ...lab('capture'),
    ...lab('wire', 'capture'),
    ...lab('messages'),
    ...lab('faults'),
    ...lab('historical', 'wire'),
    ...lab('chat', 'wire'),
    ...lab('proxy', 'capture', 'wire', 'messages', 'faults'),
    ...lab('control', 'wire', 'faults', 'proxy'),
    ...lab('probe', 'wire', 'messages'),
    ...lab('experiment', 'wire', 'messages', 'historical'),
    ...lab('phenomena', 'wire', 'messages', 'faults', 'historical', 'proxy', 'experiment'),
    ...lab('render', 'capture', 'wire', 'messages', 'proxy', 'probe', 'phenomena'),
    ...lab('page', 'messages', 'faults', 'proxy', 'experiment', 'phenomena', 'capture', 'render'),
    {
      name: 'what runs in the browser too imports nothing of Node',
      severity: 'error',
      from: { path: `${src('lab')}(page/protocol|phenomena/names|messages/filter)\\.ts` },
      to: { pathNot: [`${src('lab')}phenomena/names\\.ts`, 'node_modules/valibot/'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '/(dist|bin|test)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'default', 'types'] },
  },
};
