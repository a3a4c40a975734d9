/* oxlint-disable unicorn/consistent-function-scoping -- small functions stand beside their use */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Framed, framed, lengthPrefixed, lines, netstring } from '@sendall/framing';
import { afterEach, describe, expect, test } from 'vitest';

const open: (Server | Socket)[] = [];
afterEach(() => {
  for (const each of open.splice(0)) {
    if ('close' in each) each.close();
    else each.destroy();
  }
});

/** Two ends of a real connection. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as { port: number };
  const client = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true });
  // Either side may hear of it first.
  const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [[Socket], unknown];
  client.on('error', () => {});
  peer.on('error', () => {});
  open.push(server, client, peer);
  return [client, peer];
}

/** A duplex stream that notes what is written to it. */
function recorder(): { stream: Duplex; writes: Buffer[] } {
  const writes: Buffer[] = [];
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(chunk);
      done();
    },
    writev(items, done) {
      writes.push(Buffer.concat(items.map((item) => item.chunk as Buffer)));
      done();
    },
  });
  return { stream, writes };
}

const tick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('sending', () => {
  test('the frames of a tick leave in one write, in order, whatever their size', async () => {
    const { stream, writes } = recorder();
    const link = framed(stream, lengthPrefixed());
    const payloads = [1, 64, 5000, 3, 100_000, 0, 4096, 4097].map((size, i) => Buffer.alloc(size, 65 + i));
    for (const payload of payloads) link.send(payload);
    await Promise.resolve();
    link.send('from a promise callback of the same tick');
    await tick();
    const wire = lengthPrefixed()
      .encoder()
      .encodeAll([...payloads, 'from a promise callback of the same tick']);
    expect(Buffer.concat(writes).equals(wire)).toBe(true);
    expect(writes.length).toBeLessThanOrEqual(2);
    writes.length = 0;
    link.sendAll(['a', 'b']);
    await tick();
    expect(writes).toEqual([lengthPrefixed().encoder().encodeAll(['a', 'b'])]);
  });

  test('connections that send by turns do not write into each other', async () => {
    const links = Array.from({ length: 5 }, () => {
      const each = recorder();
      return { ...each, link: framed(each.stream, netstring()) };
    });
    for (let i = 0; i < 2000; i++) links.forEach(({ link }, who) => link.send(`${who}:${i}`.repeat(1 + (i % 7))));
    await tick();
    links.forEach(({ writes }, who) => {
      const got = netstring().decoder().decode(Buffer.concat(writes));
      expect(got.map(String)).toEqual(Array.from({ length: 2000 }, (_, i) => `${who}:${i}`.repeat(1 + (i % 7))));
    });
  });

  test('small payloads are copied at once', async () => {
    const { stream, writes } = recorder();
    const link = framed(stream, lines());
    const payload = Buffer.from('before');
    link.send(payload);
    payload.write('after!');
    await tick();
    expect(String(writes[0])).toBe('before\n');
  });

  test('what the framing cannot carry is refused, and nothing of it is sent', async () => {
    const { stream, writes } = recorder();
    const link = framed(stream, lines({ maxFrameLength: 5000 }));
    link.send('good');
    expect(() => link.send('two\nlines')).toThrow(expect.objectContaining({ code: 'MALFORMED_FRAME' }));
    expect(() => link.send('x'.repeat(5001))).toThrow(expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }));
    expect(() => link.send(`${'x'.repeat(4500)}\n`)).toThrow(expect.objectContaining({ code: 'MALFORMED_FRAME' }));
    link.send('too');
    await tick();
    expect(String(Buffer.concat(writes))).toBe('good\ntoo\n');
  });

  test('send says when to wait, drained when to go on', async () => {
    const [a, b] = await pair();
    const link = framed(a, lengthPrefixed());
    let sent = 0;
    while (link.send(Buffer.alloc(60_000))) sent++;
    const waiting = link.drained();
    let received = 0;
    b.on('data', (chunk: Buffer) => void (received += chunk.length));
    await waiting;
    expect(a.writableNeedDrain).toBe(false);
    expect(link.send('again')).toBe(true);
    link.end();
    await once(b, 'end');
    expect(received).toBe((sent + 1) * 60_004 + 9);
  });

  test('drained rejects when the connection breaks', async () => {
    const [a, b] = await pair();
    const link = framed(a, lengthPrefixed());
    for (let i = 0; i < 40; i++) link.send(Buffer.alloc(1_000_000));
    const waiting = link.drained();
    b.resetAndDestroy();
    await expect(waiting).rejects.toThrow();
    expect(link.send('gone')).toBe(false);
  });

  test('drained rejects when the last write of a full stream fails, though the stream still says drain', async () => {
    const failure = new Error('the disk is full');
    let first: (() => void) | undefined;
    const stream = new Duplex({
      writableHighWaterMark: 10,
      read() {},
      write(_chunk, _encoding, done) {
        if (first === undefined) first = done;
        else done(failure);
      },
    });
    let drains = 0;
    stream.on('drain', () => drains++).on('error', () => {});
    const link = framed(stream, lengthPrefixed());
    link.send(Buffer.alloc(100));
    await tick();
    link.send(Buffer.alloc(100));
    const waiting = link.drained();
    first!();
    await expect(waiting).rejects.toBe(failure);
    expect(drains).toBe(1);
  });

  test('drained rejects from the moment a write has failed, before its error is told', async () => {
    const failure = new Error('the disk is full');
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(failure) });
    stream.on('error', () => {});
    const link = framed(stream, lengthPrefixed());
    link.send('lost');
    await expect(link.drained()).rejects.toBe(failure);
  });
});

describe('pulling', () => {
  test('frames, one by one, to the end', async () => {
    const [a, b] = await pair();
    const sender = framed(a, netstring());
    sender.sendAll(['one', '', 'three']);
    sender.end();
    const got: string[] = [];
    for await (const frame of framed(b, netstring())) got.push(String(frame));
    expect(got).toEqual(['one', '', 'three']);
  });

  test('several callers get the frames in the order they asked', async () => {
    const [a, b] = await pair();
    const link = framed(b, lines());
    const asked = [link.next(), link.next(), link.next()];
    a.end('1\n2\n');
    expect((await Promise.all(asked)).map((frame) => frame?.toString())).toEqual(['1', '2', undefined]);
  });

  test('an aborted wait loses nothing', async () => {
    const [a, b] = await pair();
    const link = framed(b, lines());
    const abort = new AbortController();
    const waiting = link.next({ signal: abort.signal });
    abort.abort(new Error('not now'));
    await expect(waiting).rejects.toThrow('not now');
    await expect(link.next({ signal: abort.signal })).rejects.toThrow('not now');
    a.write('kept\n');
    expect(String(await link.next())).toBe('kept');
  });

  test('batches hold all that came together', async () => {
    const [a, b] = await pair();
    a.end('1\n2\n3\n');
    await once(a, 'finish');
    const batches: string[][] = [];
    for await (const batch of framed(b, lines()).batches()) batches.push(batch.map(String));
    expect(batches.flat()).toEqual(['1', '2', '3']);
    expect(batches.length).toBeLessThan(3);
  });

  test('a slow reader pauses the stream', async () => {
    const [a, b] = await pair();
    const sender = framed(a, lengthPrefixed());
    const link = framed(b, lengthPrefixed(), { highWaterMark: 100_000 });
    expect(String((sender.send('go'), await link.next()))).toBe('go');
    let sent = 0;
    while (sent < 2000 && sender.send(Buffer.alloc(30_000))) sent++;
    for (; sent < 2000; sent++) if (!sender.send(Buffer.alloc(30_000))) break;
    await tick();
    await tick();
    expect(link.stats.bytes).toBeLessThan(400_000);
    for (let i = 0; i < sent; i++) expect((await link.next())?.length).toBe(30_000);
  });

  test('leaving a loop leaves the stream open', async () => {
    const [a, b] = await pair();
    const link = framed(b, lines());
    a.write('hello\nmore\n');
    for await (const frame of link) {
      expect(String(frame)).toBe('hello');
      break;
    }
    expect(String(await link.next())).toBe('more');
  });

  test('frames before an error come first; the error then ends the stream, what was sent still leaves', async () => {
    const [a, b] = await pair();
    const link = framed(b, lengthPrefixed({ bytes: 1, maxFrameLength: 3 }));
    a.write('\x01a\x09');
    expect(String(await link.next())).toBe('a');
    const failing = expect(link.next()).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE', size: 9 });
    link.send('bye');
    const [farewell] = (await once(a, 'data')) as [Buffer];
    expect(String(farewell)).toBe('\x03bye');
    await failing;
    await expect(link.next()).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' });
    if (!b.closed) await once(b, 'close').catch(() => {});
    expect(b.destroyed).toBe(true);
  });

  test('a stream that ends inside a frame, or breaks, is an error', async () => {
    const [a, b] = await pair();
    const link = framed(b, lengthPrefixed());
    a.end(Buffer.from([0, 0, 0]));
    await expect(link.next()).rejects.toMatchObject({ code: 'TRUNCATED_FRAME', have: 3 });
    const [c, d] = await pair();
    const broken = framed(d, lines());
    const waiting = broken.next();
    c.resetAndDestroy();
    await expect(waiting).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('onFrame', () => {
  test('is called for each frame and told the end once', async () => {
    const [a, b] = await pair();
    const got: string[] = [];
    const done = new Promise<Error | undefined>((resolve) => {
      framed(b, lines()).onFrame((frame) => void got.push(String(frame)), resolve);
    });
    a.end('1\n2\n3\n');
    expect(await done).toBeUndefined();
    expect(got).toEqual(['1', '2', '3']);
  });

  test('false holds the rest, and the stream, until resume', async () => {
    const [a, b] = await pair();
    const link = framed(b, lines());
    const got: string[] = [];
    let more = (): void => {};
    const done = new Promise<Error | undefined>((resolve) => {
      link.onFrame((frame) => {
        got.push(String(frame));
        more();
        return false;
      }, resolve);
    });
    for (const wanted of [1, 2, 3]) {
      const came = new Promise<void>((resolve) => {
        more = resolve;
      });
      if (wanted === 1) a.end('1\n2\n3\n');
      else link.resume();
      await came;
      await tick();
      expect(got).toHaveLength(wanted);
    }
    link.resume();
    expect(await done).toBeUndefined();
  });

  test('an error goes to done, behind the frames before it', async () => {
    const [a, b] = await pair();
    const got: string[] = [];
    const done = new Promise<Error | undefined>((resolve) => {
      framed(b, lines({ maxFrameLength: 3 })).onFrame((frame) => void got.push(String(frame)), resolve);
    });
    a.write('ok\ntoo long\n');
    expect(await done).toMatchObject({ code: 'FRAME_TOO_LARGE' });
    expect(got).toEqual(['ok']);
  });

  test('an exception in it destroys the stream and goes to done', async () => {
    const [a, b] = await pair();
    const done = new Promise<Error | undefined>((resolve) => {
      framed(b, lines()).onFrame(() => {
        throw new Error('handler broke');
      }, resolve);
    });
    a.write('x\n');
    expect((await done)?.message).toBe('handler broke');
    if (!b.destroyed) await once(b, 'close').catch(() => {});
    expect(b.destroyed).toBe(true);
  });
});

describe('changing protocols', () => {
  test.each(['pulled', 'called'])('a frame changes the framing of the bytes right behind it, %s', async (way) => {
    const [a, b] = await pair();
    const link = framed(b, lines());
    const got: string[] = [];
    const see = (frame: Buffer): void => {
      got.push(String(frame));
      if (String(frame) === 'BINARY') {
        link.send('OK');
        link.setFraming(lengthPrefixed({ bytes: 1 }));
        link.send('binary');
      }
    };
    a.end('hello\r\nBINARY\r\n\x02hi\x03\n\n\n');
    if (way === 'pulled') for await (const frame of link) see(frame);
    else {
      await new Promise<void>((resolve) => {
        link.onFrame(see, () => resolve());
      });
    }
    expect(got).toEqual(['hello', 'BINARY', 'hi', '\n\n\n']);
    link.end();
    const answer: Buffer[] = [];
    for await (const chunk of a) answer.push(chunk as Buffer);
    expect(String(Buffer.concat(answer))).toBe('OK\n\x06binary');
  });

  test.each(['pulled', 'called'])(
    'detach gives the stream back with the bytes that were not taken, %s',
    async (way) => {
      const [a, b] = await pair();
      const link = framed(b, lines());
      a.write('UPGRADE\nraw bytes\nmore');
      const taken = new Promise<ReturnType<Framed['detach']>>((resolve, reject) => {
        if (way === 'called') {
          link.onFrame(() => resolve(link.detach()));
        } else link.next().then(() => resolve(link.detach()), reject);
      });
      const { socket, rest } = await taken;
      expect(socket).toBe(b);
      expect(socket.listenerCount('data')).toBe(0);
      expect(String(rest)).toBe('raw bytes\nmore');
      a.end(' and more');
      const later: Buffer[] = [];
      for await (const chunk of socket) later.push(chunk as Buffer);
      expect(String(Buffer.concat(later))).toBe(' and more');
      expect(() => link.send('x')).toThrow('detached');
    },
  );
});

describe('ending', () => {
  test('close sends what waits and waits for the other side', async () => {
    const [a, b] = await pair();
    const link = framed(a, lines());
    const peer = framed(b, lines());
    link.send('last');
    const closing = link.close();
    expect(String(await peer.next())).toBe('last');
    expect(await peer.next()).toBeUndefined();
    await peer.close();
    await closing;
    await link.close();
    expect(a.destroyed).toBe(true);
    expect(() => link.send('after')).not.toThrow(TypeError);
  });

  test('close does not wait longer than closeTimeout for a peer that does nothing', async () => {
    const [a] = await pair();
    const link = framed(a, lines(), { closeTimeout: 20 });
    link.send('hello?');
    await link.close();
    expect(a.destroyed).toBe(true);
  });

  test('await using closes', async () => {
    const [a, b] = await pair();
    b.on('end', () => b.end()).resume();
    {
      await using link = framed(a, lines());
      link.send('x');
    }
    expect(a.destroyed).toBe(true);
  });

  test('destroy ends whoever waits', async () => {
    const [a] = await pair();
    const link = framed(a, lines());
    const waiting = link.next();
    link.destroy();
    expect(await waiting).toBeUndefined();
    const [c] = await pair();
    const other = framed(c, lines());
    const failing = other.next();
    other.destroy(new Error('enough'));
    await expect(failing).rejects.toThrow('enough');
  });
});

describe('frameTimeout', () => {
  test('ends a peer that dribbles, not one that is idle between frames', async () => {
    const [a, b] = await pair();
    const link = framed(b, lengthPrefixed(), { frameTimeout: 60 });
    a.write(lengthPrefixed().encoder().encode('whole'));
    expect(String(await link.next())).toBe('whole');
    const [c, d] = await pair();
    const slow = framed(d, lengthPrefixed(), { frameTimeout: 60, closeTimeout: 10 });
    const waiting = slow.next();
    c.write(Buffer.from([0, 0, 1, 0]));
    const dribble = setInterval(() => c.write('.'), 5);
    await expect(waiting).rejects.toMatchObject({ code: 'FRAME_TIMEOUT', ms: 60 });
    clearInterval(dribble);
    if (!d.closed) await once(d, 'close').catch(() => {});
    // All that time the first one was idle.
    a.write(lengthPrefixed().encoder().encode('still there'));
    expect(String(await link.next())).toBe('still there');
  });

  test('what came while the loop stood still came in time', async () => {
    const [a, b] = await pair();
    const link = framed(b, lengthPrefixed(), { frameTimeout: 60 });
    const wire = lengthPrefixed().encoder().encode('whole');
    const waiting = link.next();
    a.write(wire.subarray(0, 5));
    // Behind the decoder, whose clock runs from now on.
    b.once('data', () => {
      a.write(wire.subarray(5));
      for (const until = performance.now() + 150; performance.now() < until;);
    });
    expect(String(await waiting)).toBe('whole');
  });

  test('does not count while nobody reads', async () => {
    const stream = new PassThrough();
    const link = framed(stream, lengthPrefixed(), { frameTimeout: 30, highWaterMark: 1 });
    const one = lengthPrefixed().encoder().encode('1');
    stream.write(Buffer.concat([one, one.subarray(0, 3)]));
    expect(String(await link.next())).toBe('1');
    const other = lengthPrefixed().decoder({ frameTimeout: 60, onError: () => {} });
    other.decode(one.subarray(0, 3));
    while (other.state !== 'failed') await sleep(5);
    stream.write(one.subarray(3));
    expect(String(await link.next())).toBe('1');
  });
});

test('options nobody knows are refused by name', () => {
  const { stream } = recorder();
  expect(() => framed(stream, lines(), { highwatermark: 1 } as object)).toThrow('highwatermark');
  expect(() => framed(stream, lines(), { closeTimeout: -1 })).toThrow('closeTimeout');
});
