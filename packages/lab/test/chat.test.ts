/** The chat, with clients and servers of the tutorial on the other side. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { portOf, python, wirelab } from './programs.js';

describe('wirelab chat', () => {
  it('serves the tutorial’s Python client: the operator sees it and answers', async () => {
    await using server = wirelab('chat', 'serve', '--port', '0');
    await using client = python('chat_client', await portOf(server), '你好', 'second');
    await server.says(/c1: 你好/);
    server.write('回答\n');
    await server.says(/c1: second/);
    server.write('and this\n');
    expect(await client.ended).toBe(0);
    expect(client.stdout).toBe('回答\n--\nand this\n--\n');
  });

  it('talks to the tutorial’s Python server', async () => {
    await using server = python('chat_server', '来自远方', 'bye');
    await using client = wirelab('chat', `127.0.0.1:${await portOf(server)}`);
    client.write('hello\n');
    await client.says(/来自远方/);
    client.write('再见\n');
    await client.says(/bye/);
    client.end();
    expect(await client.ended).toBe(0);
    expect(server.stdout).toContain('heard 再见');
  });

  it('has many clients at once, answered by name and all together', async () => {
    await using server = wirelab('chat', 'serve', '--port', '0');
    const target = `127.0.0.1:${await portOf(server)}`;
    await using one = wirelab('chat', target);
    await server.says(/c1 joined/);
    await using two = wirelab('chat', target);
    await server.says(/c2 joined/);
    two.write('from two\n');
    await server.says(/c2: from two/);
    server.write('@c1 only one\n@all both\n');
    await one.says(/only one\nboth|only oneboth/);
    await two.says(/both/);
    expect(two.stdout).not.toContain('only one');
  });

  it('keeps a character whole that is cut between two reads', async () => {
    await using server = wirelab('chat', 'serve', '--port', '0');
    const socket = connect({ port: Number(await portOf(server)), host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const bytes = Buffer.from('你好');
    socket.write(Buffer.concat([Buffer.from('a'), bytes.subarray(0, 1)]));
    await server.says(/c1: a/);
    socket.write(bytes.subarray(1));
    await server.says(/c1: 你好/);
    socket.destroy();
    expect(server.stdout).not.toContain('\ufffd');
  });

  it('a client whose stdin ends waits for remaining texts', async () => {
    await using server = wirelab('chat', 'serve', '--port', '0');
    await using client = wirelab('chat', `127.0.0.1:${await portOf(server)}`);
    client.write('question\n');
    client.end();
    await server.says(/c1: question/);
    server.write('late answer\n');
    expect(await client.ended).toBe(0);
    expect(client.stdout).toBe('late answer\n');
  });

  it('with a framing, messages stay whole for any cuts', async () => {
    await using server = wirelab('chat', 'serve', '--port', '0', '--framing', 'u32be');
    await using client = wirelab('chat', `127.0.0.1:${await portOf(server)}`, '--framing', 'u32be');
    await server.says(/c1 joined/);
    client.write('one\ntwo\nthree\n');
    await server.says(/c1: three/);
    expect(server.stdout).toMatch(/c1: one\nc1: two\nc1: three\n/);
    server.write('a\n@c1 b\n');
    await client.says(/a\nb\n/);
  });

  it('shows control characters as text', async () => {
    await using server = wirelab('chat', 'serve', '--port', '0');
    const socket = connect(Number(await portOf(server)), '127.0.0.1');
    socket.write('\u001b[2Jgone');
    await server.says(/c1: .\[2Jgone/);
    socket.destroy();
    expect(server.stdout).not.toContain('\u001b');
  });
});
