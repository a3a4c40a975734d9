/**
 * npm run picture: runs a few commands of the README in a terminal, with three agents on this machine, and draws their
 * output as docs/images/session.svg.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sendall-picture-'));
symlinkSync(join(root, 'packages/sendall/bin/sendall.js'), join(folder, 'sendall'));

const session = [
  'sendall run web1 -- uname -sm',
  'seq 1000000 | sendall run web1 -- sha256sum',
  'seq 1000000 | sha256sum',
  "sendall run 'web[1-3]' --gather -- node --version",
  "sendall run -d --name nightly web2 -- sh -c 'echo begun; sleep 2; echo done; exit 3'",
  'sendall attach nightly; echo "code $?"',
  'sendall run web3 -- no-such-program; echo "code $?"',
];

const columns = 100;
const [advance, leading, margin, fontSize] = [8.43, 20, 20, 14];

/** @param {string} name */
const envOf = (name) => ({
  ...process.env,
  SENDALL_HOME: join(folder, name),
  PATH: folder + delimiter + process.env.PATH,
  TERM: 'xterm-256color',
});
/** @param {string} name @param {string[]} words */
const sendall = (name, ...words) => spawnSync('sendall', words, { env: envOf(name), encoding: 'utf8' }).stdout;

/** @param {string} name */
async function agentOf(name) {
  const words = ['agent', '--name', name, '--listen', 'tls://127.0.0.1:0'];
  const agent = spawn('sendall', words, { env: envOf(name), stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: agent.stderr }))
    if (line.startsWith('listening tls:')) {
      const { code } = JSON.parse(sendall(name, 'pair', '--new', '--json'));
      sendall('caller', 'pair', line.slice('listening '.length), '--code', code, '--name', name);
      break;
    }
  agent.stderr.resume();
  return agent;
}

/** The output of a command on a terminal of this width. @param {string} command */
function typed(command) {
  const words = ['--quiet', '--return', '--command', `stty cols ${columns} rows 40; ${command}`, '/dev/null'];
  const { stdout } = spawnSync('script', words, { env: { ...envOf('caller'), SHELL: '/bin/bash' }, encoding: 'utf8' });
  return stdout
    .replaceAll('\r\n', '\n')
    .replaceAll(/[^\n]*\r(?!\n)/g, '')
    .replace(/\n$/, '');
}

/** @param {string} text */
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Text with colours and bold as spans. @param {string} line */
function spans(line) {
  const [plain = '', ...styled] = line.split('\u001b[');
  let style = '';
  const parts = styled.map((each) => {
    const [, codes = '', kind, text = ''] = /^([\d;]*)([A-Za-z])(.*)$/.exec(each) ?? [];
    const set = codes.split(';').filter((code) => code && code !== '0');
    if (kind === 'm') style = set.map((code) => `s${code}`).join(' ');
    return text && `<tspan${style && ` class="${style}"`}>${escaped(text)}</tspan>`;
  });
  return escaped(plain) + parts.join('');
}

/** @param {string[]} lines each with its escapes */
function draw(lines) {
  const width = columns * advance + 2 * margin;
  const height = lines.length * leading + 2 * margin;
  const rows = lines.map((line, i) => `<text x="${margin}" y="${margin + fontSize + i * leading}">${line}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<style>
rect { fill: #f6f8fa; stroke: #d0d7de }
text { font: ${fontSize}px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }
.prompt { fill: #6e7781 } .typed, .s1 { font-weight: bold } .s2 { fill: #6e7781 }
.s31 { fill: #cf222e } .s32 { fill: #116329 } .s33 { fill: #7d4e00 } .s34 { fill: #0969da } .s35 { fill: #8250df } .s36 { fill: #1b7c83 }
@media (prefers-color-scheme: dark) {
rect { fill: #161b22; stroke: #30363d }
text { fill: #e6edf3 }
.prompt, .s2 { fill: #8b949e }
.s31 { fill: #ff7b72 } .s32 { fill: #3fb950 } .s33 { fill: #d29922 } .s34 { fill: #58a6ff } .s35 { fill: #bc8cff } .s36 { fill: #39c5cf }
}
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${rows.join('\n')}
</svg>
`;
}

process.env.PATH = folder + delimiter + process.env.PATH;
const names = ['web1', 'web2', 'web3'];
const agents = await Promise.all(names.map(agentOf));
const lines = session.flatMap((command) => [
  `<tspan class="prompt">$ </tspan><tspan class="typed">${escaped(command)}</tspan>`,
  ...typed(command).split('\n').map(spans),
]);
writeFileSync(join(root, 'docs/images/session.svg'), draw(lines));
sendall('caller', 'links', 'stop');
for (const agent of agents) {
  agent.kill('SIGTERM');
  await once(agent, 'exit');
}
rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 1000 });
