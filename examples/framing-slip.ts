// A serial-style link: SLIP over a line that loses and damages bytes. The decoder reports and drops a damaged frame;
// the next end byte brings both sides back in step.
import { PassThrough } from 'node:stream';
import { decodeStream, type FramingError, slip } from '@sendall/framing';

const framing = slip({ leadingEnd: true, onMalformed: 'skip', onOversize: 'skip', maxFrameLength: 64 });
const line = new PassThrough();
const problems: string[] = [];
const frames = line.pipe(decodeStream(framing, { onError: (error: FramingError) => problems.push(error.code) }));

const encoder = framing.encoder();
line.write(encoder.encode('temperature 21.5'));
const damaged = encoder.encode(Buffer.from([0xc0, 1, 2]));
damaged[2] = 0x77;
line.write(damaged);
line.write(Buffer.alloc(200, 0x55));
line.write(encoder.encode('temperature 21.6'));
line.end();

for await (const frame of frames) console.log(String(frame));
console.log(problems.join(', '));
