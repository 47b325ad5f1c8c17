"""Stands in for Docker's daemon: every container it is asked for is a broker that already runs.

The tests of aio-pika ask Docker for a RabbitMQ and where its port is. Usage:
docker.py PORT_FILE BROKER_PORT... Writes to PORT_FILE the port it listens on. The brokers are handed
out in turn. Nothing listens at the TLS port of a container.
"""

import http.server
import itertools
import json
import os
import re
import sys

brokers = []
turn = itertools.count()


class Docker(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        found = re.search(r"/containers/broker-(\d+)", self.path)
        creates = self.path.endswith("/containers/create")
        number = next(turn) if creates else int(found[1]) if found else 0
        ports = {"5672/tcp": brokers[number % len(brokers)], "5671/tcp": 1}
        bound = {key: [{"HostIp": "127.0.0.1", "HostPort": str(it)}] for key, it in ports.items()}
        network = {"Ports": bound, "IPAddress": "127.0.0.1"}
        state = {"Status": "running", "Running": True, "ExitCode": 0}
        container = {"Id": f"broker-{number}", "State": state, "NetworkSettings": network}
        body = json.dumps(container).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def main(port_file, *ports):
    brokers.extend(map(int, ports))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Docker)
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(f"{server.server_address[1]}\n")
    os.rename(port_file + ".new", port_file)
    server.serve_forever()


main(*sys.argv[1:])
