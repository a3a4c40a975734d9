"""One Unix datagram or packet client: peer.py TYPE SERVER [OWN-NAME], hex messages on stdin, hex answers on stdout.
A leading @ is an abstract name. '=N' waits a while, then reads N more and prints how many came."""
import os, socket, sys, time

def name(text):
    return '\0' + text[1:] if text.startswith('@') else text

kind, server = sys.argv[1], name(sys.argv[2])
s = socket.socket(socket.AF_UNIX, {'datagram': socket.SOCK_DGRAM, 'seqpacket': socket.SOCK_SEQPACKET}[kind])
s.settimeout(float(os.environ.get('PEER_TIMEOUT', '5')))
if len(sys.argv) > 3:
    s.bind(name(sys.argv[3]))
s.connect(server)
for line in sys.stdin:
    line = line.strip()
    if line.startswith('='):
        time.sleep(0.2)
        print(sum(1 for _ in range(int(line[1:])) if s.recv(1 << 20)), flush=True)
        continue
    try:
        s.send(bytes.fromhex(line))
        if len(sys.argv) > 3 or kind == 'seqpacket':
            print(s.recv(1 << 20).hex(), flush=True)
        else:
            print('sent', flush=True)
    except OSError as error:
        print('error', error.errno, flush=True)
s.close()
if len(sys.argv) > 3 and not sys.argv[3].startswith('@'):
    os.unlink(sys.argv[3])
