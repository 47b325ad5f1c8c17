"""An AMQP client that only opens a connection, consumes from a queue and waits to be sent away.

Usage: client.py PORT QUEUE. Says `ready` once it consumes; ends with what the broker said when it closed.
"""
import socket
import struct
import sys


def short(text):
    return struct.pack(">B", len(text)) + text.encode()


def method(channel, kind, number, arguments=b""):
    payload = struct.pack(">HH", kind, number) + arguments
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def wait_for(self, *wanted):
        """The first of these methods to come, and its arguments."""
        while True:
            kind, _, size = struct.unpack(">BHI", self.file.read(7))
            payload = self.file.read(size)
            self.file.read(1)
            if kind == 1 and struct.unpack(">HH", payload[:4]) in wanted:
                return struct.unpack(">HH", payload[:4]), payload[4:]


def main():
    client = Client(int(sys.argv[1]))
    login = b"\0guest\0guest"
    start_ok = struct.pack(">I", 0) + short("PLAIN") + struct.pack(">I", len(login)) + login + short("en_US")
    client.send(b"AMQP\0\0\x09\x01")
    client.wait_for((10, 10))
    client.send(method(0, 10, 11, start_ok))
    client.wait_for((10, 30))
    client.send(method(0, 10, 31, struct.pack(">HIH", 100, 131072, 0)))
    client.send(method(0, 10, 40, short("/") + short("") + b"\0"))
    client.wait_for((10, 41))
    client.send(method(1, 20, 10, short("")))
    client.wait_for((20, 11))
    consume = struct.pack(">H", 0) + short(sys.argv[2]) + short("worker") + b"\0"
    client.send(method(1, 60, 20, consume + struct.pack(">I", 0)))
    client.wait_for((60, 21))
    print("ready", flush=True)
    _, arguments = client.wait_for((10, 50))
    code, length = struct.unpack(">HB", arguments[:3])
    client.send(method(0, 10, 51))
    print("closed", code, arguments[3 : 3 + length].decode(), flush=True)


main()
