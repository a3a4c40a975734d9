"""The tutorial's second server as it stands: a command is what one recv returns."""
import socket, struct, subprocess, sys

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.1', 0))
server.listen(5)
print('listening', server.getsockname()[1], flush=True)
while True:
    conn, addr = server.accept()
    try:
        while True:
            command = conn.recv(1024)
            if not command:
                break
            child = subprocess.Popen(command.decode('utf-8'), shell=True, stdin=subprocess.PIPE,
                                     stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            said = child.stderr.read()
            if not said:
                said = child.stdout.read()
            conn.sendall(struct.pack('i', len(said)) + said)
    except OSError:
        pass
    conn.close()
