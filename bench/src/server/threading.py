"""Python's own ThreadingTCPServer: an echo of u32be frames."""
import socket, socketserver, struct

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read = self.rfile.read
        while header := read(4):
            payload = read(struct.unpack('>I', header)[0])
            self.request.sendall(header + payload)

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 4096

with Server(('127.0.0.1', 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
