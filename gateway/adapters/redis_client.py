"""The connection to the state: bounded, patient with a restart, never for long."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

_CONNECTIONS = 64
_POOL_WAIT = 5.0
_SOCKET_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 2.0
_RETRIES = 4
"""With pauses of up to half a second: a Redis that restarts is back by then, and all steps are safe to repeat."""


def connect(url: str) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`; replies are bytes. Does no I/O yet."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_POOL_WAIT,
        socket_timeout=_SOCKET_TIMEOUT,
        socket_connect_timeout=_CONNECT_TIMEOUT,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), _RETRIES),
        health_check_interval=15,
    )
    return Redis.from_pool(pool)


class Line:
    """One connection that is kept for one question: taking it out of the pool each time costs more than asking.

    Not for two who ask at once.
    """

    def __init__(self, redis: Redis, *command: str) -> None:
        self._pool: Any = redis.connection_pool
        self._command = command
        self._connection: Any = None

    async def ask(self) -> Any:
        """The answer; raises what the client raises, without a second try."""
        if self._connection is None:
            self._connection = await self._pool.get_connection()
        line = self._connection
        try:
            if not line.is_connected:
                await line.connect()
            await line.send_command(*self._command)
            return await line.read_response()
        except BaseException:
            await line.disconnect(nowait=True)  # an answer that nobody waited for would be the next question's
            raise
