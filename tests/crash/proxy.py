"""A TCP proxy in front of a broker that does to connections what networks do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from conftest import running_broker
from openmsi.broker import LocalBroker
from openmsi.broker import state as broker_state

HOST = "127.0.0.1"
TO_BROKER, TO_CLIENT = "to broker", "to client"
_PIECE = 128 * 1024

_T = TypeVar("_T")


class _Connection:
    """One client's connection, and ours to the broker in its name."""

    def __init__(self, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.writers = (client, broker)
        self.lost_bytes = False

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Listens on a free port and passes everything to `broker_port`, in a thread of its own.

    `counts` are the bytes passed on so far, by direction.
    """

    def __init__(self) -> None:
        self.broker_port = 0
        self.counts = {TO_BROKER: 0, TO_CLIENT: 0}
        self.rate = 0.0  # bytes a second in each direction; 0 for any
        self._refusing = False
        self._dropped: set[str] = set()
        self._connections: set[_Connection] = set()
        self._free_at = {TO_BROKER: 0.0, TO_CLIENT: 0.0}
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, HOST, 0), self._loop
        ).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.address = f"{HOST}:{self.port}"

    # -- faults, from any thread -----------------------------------------------------------

    def cut(self, *, stay_away: bool = False) -> None:
        """Reset all connections; with `stay_away`, new ones too until `heal`."""

        def do() -> None:
            self._refusing = stay_away
            for each in list(self._connections):
                each.abort()

        self._do(do)

    def stall(self) -> None:
        """Keep and accept connections, and pass nothing on."""
        self._do(self._passing.clear)

    def drop(self, direction: str) -> None:
        """Lose all bytes of one direction, as a half-open connection does."""
        self._do(lambda: self._dropped.add(direction))

    def heal(self) -> None:
        """Pass everything again, at any rate. What lost bytes is reset: TCP would not go on."""

        def do() -> None:
            self.rate = 0.0
            self._refusing = False
            self._dropped.clear()
            self._passing.set()
            for each in list(self._connections):
                if each.lost_bytes:
                    each.abort()

        self._do(do)

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            for each in list(self._connections):
                each.abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, action: Callable[[], _T]) -> _T:
        async def run() -> _T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    # -- in the loop -----------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            broker_reader, broker_writer = await asyncio.open_connection(HOST, self.broker_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, broker_writer)
        self._connections.add(connection)
        pumps = [
            asyncio.ensure_future(self._pump(connection, reader, broker_writer, TO_BROKER)),
            asyncio.ensure_future(self._pump(connection, broker_reader, writer, TO_CLIENT)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            connection.abort()
            self._connections.discard(connection)

    async def _pump(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: str,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_PIECE):
                await self._passing.wait()
                if direction in self._dropped:
                    connection.lost_bytes = True
                    continue
                await self._pace(len(data), direction)
                self.counts[direction] += len(data)
                writer.write(data)
                await writer.drain()

    async def _pace(self, size: int, direction: str) -> None:
        if self.rate:
            now = self._loop.time()
            begin = max(now, self._free_at[direction])
            self._free_at[direction] = begin + size / self.rate
            await asyncio.sleep(begin - now)


@contextmanager
def proxied_broker(**extra_config: str) -> Iterator[tuple[LocalBroker, Proxy]]:
    """A broker that tells its clients the proxy's address."""
    with running_broker(nodes=1, **extra_config) as broker:
        broker.stop()
        known = broker_state.read(broker.data_dir)
        assert known is not None
        node = known.nodes[0]
        proxy = Proxy()
        try:
            proxy.broker_port = node.port
            broker.extra_config["advertised.listeners"] = (
                f"CLIENT://{proxy.address},INTERNAL://{HOST}:{node.internal_port}"
            )
            broker.start()
            again = broker_state.read(broker.data_dir)
            assert again is not None and again.nodes[0].ports == node.ports, "a port was lost"
            yield broker, proxy
        finally:
            proxy.close()
