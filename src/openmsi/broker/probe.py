"""Asks a broker two questions in Kafka's own protocol, to know that it really answers.

The local broker is tried without a Kafka client, so that this package stands alone. The layouts
are those of the Kafka protocol guide: request header version 1, ApiVersions version 0, Metadata
version 1; every Kafka since 0.10 understands them.
"""

from __future__ import annotations

import random
import socket
import struct

HOST = "127.0.0.1"

_API_VERSIONS = 18
_METADATA = 3

# Below the ports that systems give to outgoing connections: no client takes one of ours by chance
# while a node is down, nor connects to itself.
_FREE_PORTS = range(20000, 32000)


def answers(port: int, timeout: float = 2.0) -> bool:
    """Whether a Kafka broker answers an ApiVersions request at a port of this machine."""
    try:
        reply = _ask(port, _API_VERSIONS, 0, b"", timeout)
        (error,) = struct.unpack_from(">h", reply)
    except (OSError, struct.error):
        return False
    return bool(error == 0)


def brokers_known(port: int, timeout: float = 2.0) -> int:
    """How many brokers of the cluster are up, as the broker at a port knows; 0 without an answer.

    A cluster without a controller counts as none: it cannot create a topic yet.
    """
    no_topics = struct.pack(">i", 0)
    try:
        reply = _ask(port, _METADATA, 1, no_topics, timeout)
        (count,) = struct.unpack_from(">i", reply)
        at = 4
        for _ in range(count):
            at += 4  # node id
            at = _skip_text(reply, at)  # host
            at += 4  # port
            at = _skip_text(reply, at)  # rack
        (controller,) = struct.unpack_from(">i", reply, at)
    except (OSError, struct.error):
        return 0
    return int(count) if controller >= 0 else 0


def accepts(port: int, timeout: float = 1.0) -> bool:
    """Whether anything at all takes connections at a port of this machine."""
    try:
        socket.create_connection((HOST, port), timeout).close()
    except OSError:
        return False
    return True


def is_free(port: int) -> bool:
    """Whether a server of ours could listen at a port of this machine."""
    with socket.socket() as candidate:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # As Kafka does: connections of an earlier server that still fade out do not matter.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
            candidate.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different free ports of this machine. Another program may still take one before we do.

    Raises:
        OSError: there are not that many.
    """
    found: list[int] = []
    for port in random.sample(_FREE_PORTS, len(_FREE_PORTS)):
        if len(found) == count:
            return found
        if is_free(port):
            found.append(port)
    raise OSError(f"fewer than {count} free ports in {_FREE_PORTS.start}-{_FREE_PORTS.stop}")


def _ask(port: int, api: int, version: int, body: bytes, timeout: float) -> bytes:
    """The body of the answer to one request."""
    client = b"openmsi"
    correlation = random.getrandbits(31)
    header = struct.pack(">hhih", api, version, correlation, len(client)) + client
    request = header + body
    with socket.create_connection((HOST, port), timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _read(connection, 4))
        if not 4 <= size <= 1 << 20:
            raise ConnectionError("what answers does not speak Kafka's protocol")
        reply = _read(connection, size)
    if reply[:4] != struct.pack(">i", correlation):
        raise ConnectionError("what answers does not speak Kafka's protocol")
    return reply[4:]


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the connection was closed")
        data += piece
    return data


def _skip_text(data: bytes, at: int) -> int:
    (length,) = struct.unpack_from(">h", data, at)
    return at + 2 + max(0, int(length))
