"""Stands in for Docker's daemon: every container it is asked for is the broker that already runs.

The tests of aio-pika and aiormq ask Docker for a RabbitMQ and where its ports are. Usage:
docker.py PORT_FILE CERTIFICATE KEY. Writes to PORT_FILE the port it listens on, and the TLS port of
all containers; what comes to that one is decrypted, and passed on to the broker.
"""

import http.server
import json
import os
import select
import socket
import ssl
import sys
import threading

BROKER = ("127.0.0.1", 5672)
ports = {"5672/tcp": BROKER[1]}


class Docker(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        state = {"Status": "running", "Running": True, "ExitCode": 0}
        bound = {key: [{"HostIp": "127.0.0.1", "HostPort": str(it)}] for key, it in ports.items()}
        network = {"Ports": bound, "IPAddress": "127.0.0.1"}
        container = {"Id": "broker", "State": state, "NetworkSettings": network}
        body = json.dumps(container).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def relay(client, context):
    """Copies both ways until one side ends; on one thread, because TLS sockets need that."""
    try:
        with context.wrap_socket(client, server_side=True) as near:
            with socket.create_connection(BROKER) as far:
                while True:
                    ready = [near] if near.pending() else select.select([near, far], [], [])[0]
                    for it in ready:
                        data = it.recv(65536)
                        if not data:
                            return
                        (far if it is near else near).sendall(data)
    except OSError:
        pass


def accept(listener, context):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=relay, args=(client, context), daemon=True).start()


def main(port_file, *certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    ports["5671/tcp"] = listener.getsockname()[1]
    threading.Thread(target=accept, args=(listener, context), daemon=True).start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Docker)
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(f"{server.server_address[1]} {ports['5671/tcp']}\n")
    os.rename(port_file + ".new", port_file)
    server.serve_forever()


main(*sys.argv[1:])
