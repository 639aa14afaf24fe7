"""Loads the Lua operations beside this file and runs them; Redis' exceptions become StoreUnavailable here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from gateway.domain.errors import StoreUnavailable

Arg = str | bytes | int | float


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


class Scripts:
    """`await scripts("claim", keys, args)` runs lua/claim.lua with the prelude in front of it.

    `observe(name, seconds)` is told how long each took.
    """

    def __init__(self, redis: Redis, observe: Callable[[str, float], None]) -> None:
        self._observe = observe
        folder = resources.files(__package__) / "lua"
        prelude = (folder / "_prelude.lua").read_text()
        self._scripts: dict[str, AsyncScript] = {
            entry.name.removesuffix(".lua"): redis.register_script(prelude + entry.read_text())
            for entry in folder.iterdir()
            if entry.name.endswith(".lua") and not entry.name.startswith("_")
        }

    async def __call__(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        began = time.perf_counter()
        with translated():
            try:
                return await self._scripts[name](keys=list(keys), args=list(args))
            finally:
                self._observe(name, time.perf_counter() - began)
