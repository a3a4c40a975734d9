"""Small programs that follow the tutorial: PROGRAM [PORT] [COMMAND...]. Servers print "listening PORT"."""
import socket
import socketserver
import struct
import subprocess
import sys

SIZE = 1024


def run(command):
    child = subprocess.Popen(command.decode('utf-8'), shell=True, stdin=subprocess.PIPE,
                             stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    said = child.stderr.read()
    return said if said else child.stdout.read()


def listen(kind=socket.SOCK_STREAM):
    server = socket.socket(socket.AF_INET, kind)
    server.bind(('127.0.0.1', 0))
    if kind == socket.SOCK_STREAM:
        server.listen(5)
    print('listening', server.getsockname()[1], flush=True)
    return server


def serve(handle):
    server = listen()
    while True:
        conn, _ = server.accept()
        try:
            handle(conn)
        except OSError:
            pass
        conn.close()


def recv_server():
    def handle(conn):
        while True:
            command = conn.recv(SIZE)
            if not command:
                break
            conn.sendall(run(command) or '执行成功'.encode('gbk'))
    serve(handle)


def length_ready_server():
    def handle(conn):
        while True:
            command = conn.recv(SIZE)
            if not command:
                break
            said = run(command) or '执行成功'.encode('gbk')
            conn.send(str(len(said)).encode('utf-8'))
            if conn.recv(SIZE) == b'ready':
                conn.sendall(said)
    serve(handle)


def struct_i_server():
    def handle(conn):
        while True:
            command = conn.recv(SIZE)
            if not command:
                break
            said = run(command)
            conn.sendall(struct.pack('i', len(said)) + said)
    serve(handle)


def udp_server():
    server = listen(socket.SOCK_DGRAM)
    while True:
        command, address = server.recvfrom(SIZE)
        server.sendto(run(command) or '执行成功'.encode('gbk'), address)


def connect(port):
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(('127.0.0.1', int(port)))
    return client


def show(answer):
    sys.stdout.buffer.write(answer + b'\n--\n')
    sys.stdout.buffer.flush()


def recv_client(port, *commands):
    client = connect(port)
    for command in commands:
        client.send(command.encode('utf-8'))
        show(client.recv(SIZE))


def length_ready_client(port, *commands):
    client = connect(port)
    for command in commands:
        client.send(command.encode('utf-8'))
        length = int(client.recv(SIZE).decode('utf-8'))
        client.send(b'ready')
        answer = b''
        while len(answer) < length:
            answer += client.recv(SIZE)
        show(answer)


def struct_i_client(port, *commands):
    client = connect(port)
    for command in commands:
        client.send(command.encode('utf-8'))
        length = struct.unpack('i', client.recv(4))[0]
        answer = b''
        while len(answer) < length:
            answer += client.recv(SIZE)
        show(answer)


def udp_client(port, *commands):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(300)
    for command in commands:
        client.sendto(command.encode('utf-8'), ('127.0.0.1', int(port)))
        show(client.recvfrom(65536)[0])


def raw_client(port, text):
    """Sends one command and shows everything until the server ends, or "refused" when it resets."""
    try:
        client = connect(port)
        client.sendall(text.encode('utf-8'))
        client.shutdown(socket.SHUT_WR)
        answer = b''
        while True:
            bytes = client.recv(SIZE)
            if not bytes:
                break
            answer += bytes
        show(answer)
    except OSError:
        show(b'refused')


def chat_server(*answers):
    waiting = list(answers)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while True:
                data = self.request.recv(SIZE)
                if not data:
                    break
                print('heard', data.decode('utf-8'), flush=True)
                self.request.sendall(waiting.pop(0).encode('utf-8'))

    server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler)
    print('listening', server.server_address[1], flush=True)
    server.serve_forever()


def chat_client(port, *lines):
    client = connect(port)
    for line in lines:
        client.sendall(bytes(line, encoding='utf-8'))
        show(client.recv(SIZE))


globals()[sys.argv[1]](*sys.argv[2:])
