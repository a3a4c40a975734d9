// STARTTLS: a connection that begins in plain text and continues encrypted. Bytes that a client sends after STARTTLS go
// to the TLS layer, never to the handler.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { StreamRequestHandler, serve } from '@sendall/socketserver';

const folder = mkdtempSync(join(tmpdir(), 'starttls-'));
const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost';
execFileSync('openssl', [...request.split(' '), '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' });
const tls = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
rmSync(folder, { recursive: true });

class Upgrading extends StreamRequestHandler {
  override async handle() {
    for (let line; (line = await this.rfile.readline()) !== null;) {
      if (String(line).trim() === 'STARTTLS') {
        await this.wfile.write('go ahead\n');
        await this.connection.upgradeTls(tls);
      } else {
        await this.wfile.write(`${'encrypted' in this.connection.socket ? 'encrypted' : 'plain'}: ${String(line)}`);
      }
    }
  }
}

await using server = await serve({ host: '127.0.0.1', port: 0 }, Upgrading);
const plain = connect(server.serverAddress.port, '127.0.0.1');
plain.write('hello\n');
process.stdout.write(String((await once(plain, 'data'))[0]));
plain.write('STARTTLS\n');
process.stdout.write(String((await once(plain, 'data'))[0]));
// The example's certificate is self-signed; a real client passes `ca` instead.
const secure = connectTls({ socket: plain, rejectUnauthorized: false });
secure.write('hello\n');
process.stdout.write(String((await once(secure, 'data'))[0]));
secure.end();
