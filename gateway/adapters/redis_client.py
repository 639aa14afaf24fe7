"""The connection to the state: bounded, patient with a restart, never for long."""

from __future__ import annotations

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
