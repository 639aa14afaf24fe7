"""Every setting, its default, its range and its meaning; read from file < environment < flags.

A `Settings` built directly is just what it says. Only `load` looks at the world, and what it refuses is one
line that names the key and where it came from.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, ValidationError, ValidationInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.domain.addresses import WorkerAddress, blobs_url, masked, worker_addresses, worker_name
from gateway.domain.labels import by_worker

ENV_PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"
REPEATED = {
    "workers": "worker",
    "labels": "label",
    "allowed_origins": "allowed-origin",
    "trusted_proxies": "trusted-proxy",
}
"""Settings that are lists, and the flag that gives one item of each."""

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class SettingsError(Exception):
    """What cannot be run with; the message is one line for people, and the exit code is 2."""


def seconds(value: object) -> object:
    """`15m` → 900.0; numbers, and what is no duration, are left for the type's own check."""
    if not isinstance(value, str):
        return _no_bool(value)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*", value)
    if not found:
        raise ValueError("must be seconds, or a duration like 500ms, 15m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


def _words(value: object) -> object:
    return re.findall(r"[^\s,]+", value) if isinstance(value, str) else value


def _workers(value: object) -> object:
    words = _words(value)
    if not isinstance(words, Iterable) or not all(isinstance(word, (str, WorkerAddress)) for word in words):
        raise ValueError('must be a list of "[NAME=]URL"')
    return worker_addresses(words)


def _labels(value: object, info: ValidationInfo) -> object:
    words = _words(value)
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError('must be a list of "NAME=LABEL"')
    known = {address.name for address in info.data.get("workers", ())}
    for name in by_worker(words):
        if name not in known:
            raise ValueError(f"no worker is named {name!r}")
    return tuple(words)


def _state_url(value: str) -> str:
    if value and (urlsplit(value).scheme not in ("redis", "rediss", "unix") or "://" not in value):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if value != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/")):
        raise ValueError(f"{value!r} is no origin like https://host:port")
    return value.rstrip("/").lower()


def _data_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "comfy-gateway"


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=10 * 365 * 86400, allow_inf_nan=False)]
Workers = Annotated[tuple[WorkerAddress, ...], NoDecode, BeforeValidator(_workers)]
Labels = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_labels)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_words)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_words)]
Number = Annotated[int, BeforeValidator(_no_bool)]
Count = Annotated[Number, Field(ge=1, le=10**9)]
Size = Annotated[ByteSize, BeforeValidator(_no_bool), Field(ge=1024, le=2**50)]


class Settings(BaseSettings):
    """All that can be set. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_ignore_empty=True, validate_default=True
    )

    workers: Workers = Field((), description="The workers, each `[NAME=]URL`; more may come while running.")
    labels: Labels = Field((), description="Labels of those workers, each `NAME=LABEL`, for prompts that require one.")
    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on.")
    port: Number = Field(8188, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    state: Annotated[str, AfterValidator(_state_url)] = Field(
        "", description="`redis://`, `rediss://` or `unix://`; empty starts a private server in `data_dir`."
    )
    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=_data_dir,
        description="Where the gateway keeps its own; else `comfy-gateway` in $XDG_STATE_HOME or ~/.local/state.",
    )
    blobs: Annotated[str, AfterValidator(blobs_url)] = Field(
        "",
        description="Where files are kept: `file:///`, `s3://`, `gs://` or `az://`; empty is a folder in `data_dir`.",
    )
    prefix: str = Field(
        "gw", pattern=r"^[A-Za-z0-9_.:-]{1,64}$", description="What every key in the state begins with."
    )
    client_parallelism: Annotated[Number, Field(ge=0, le=10**6)] = Field(
        0, description="Prompts of one client that may run at a time; 0 is no limit."
    )
    socket_compression: bool = Field(False, description="Compress sockets to clients; costs time and memory for each.")
    policy: Literal["expected-completion", "least-queue", "round-robin", "random"] = Field(
        "expected-completion", description="How it is decided which prompt goes to which worker next."
    )
    decision_log: str = Field(
        "", description="A file to write each decision of placement to, for `gateway replay`; empty is none."
    )
    decision_log_size: Size = Field(ByteSize(64 * 2**20), description="Its size; the one before is kept as `<file>.1`.")
    max_queue: Count = Field(10_000, description="Prompts that may wait in the whole farm.")
    max_queue_bytes: Size = Field(ByteSize(2**30), description="Bytes that waiting prompts may take.")
    max_queue_per_caller: Count = Field(10_000, description="Prompts of one caller that may wait.")
    max_upload: Size = Field(ByteSize(100 * 2**20), description="The largest body that is accepted.")
    outputs: Literal["own", "shared"] = Field(
        "own", description="`shared` when all workers write into one output folder, on one disk."
    )
    keep_outputs: bool = Field(False, description="Copy what prompts write into the blob store when they end.")
    outputs_redirect: bool = Field(
        False, description="Send clients to the blob store for kept outputs, where it gives out signed URLs."
    )
    inputs_ttl: Seconds = Field(30 * 86400.0, description="How long an uploaded file that nobody uses is kept.")
    inputs_max_bytes: Size = Field(
        ByteSize(100 * 2**30), description="Bytes of uploaded files; over that, the least recently used go."
    )
    max_attempts: Number = Field(3, ge=1, le=100, description="Workers that one prompt may bring down.")
    history_max: Count = Field(10_000, description="Ended prompts that are kept.")
    history_ttl: Seconds = Field(7 * 86400.0, description="How long an ended prompt is kept.")
    worker_grace: Seconds = Field(900.0, description="How long a worker that is away is waited for.")
    poll_every: Seconds = Field(5.0, description="How often a worker's queue is read.")
    stats_every: Seconds = Field(15.0, description="How often a worker's memory and devices are read.")
    catalogue_every: Seconds = Field(60.0, description="How often a worker's nodes and models are read.")
    poll_timeout: Seconds = Field(10.0, description="When a reading that is not answered counts as missed.")
    slow_answer: Seconds = Field(2.0, description="From where on an answer makes a worker suspect.")
    post_timeout: Seconds = Field(60.0, description="How long a worker may take to answer a prompt.")
    connect_timeout: Seconds = Field(3.0, description="How long a connection to a worker may take.")
    lease_ttl: Seconds = Field(10.0, ge=1, description="How long a silent gateway keeps its workers.")
    validation_timeout: Seconds = Field(30.0, description="How long a client waits for a worker's verdict.")
    history_cache_bytes: Size = Field(ByteSize(64 * 2**20), description="Memory for answers kept serialised.")
    allowed_origins: Origins = Field((), description="Other web origins to let in; `*` is any.")
    trusted_proxies: Networks = Field((), description="Networks whose X-Forwarded-For is believed.")
    home: Annotated[str, AfterValidator(lambda name: name and worker_name(name))] = Field(
        "", description="The worker that serves everything else; empty is the first."
    )
    shutdown_grace: Seconds = Field(10.0, description="How long requests may go on after the signal to stop.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged at least.")
    log_format: Literal["auto", "text", "json"] = Field("auto", description="`auto` is text on a terminal.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # only `load` reads the environment

    def shown(self) -> dict[str, str]:
        """Every setting as text that may be printed: as in a file, but with the passwords in URLs masked."""
        return {name: masked(_text(getattr(self, name))) for name in type(self).model_fields}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.shown().items())})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and of those that were given where: `gateway.toml: port`, `GATEWAY_PORT` or `--port`."""

    settings: Settings
    origin: Mapping[str, str]


def load(flags: Mapping[str, object] | None = None, *, config: str | None = None) -> Loaded:
    """Read file < environment < flags; the file is `config`, else what GATEWAY_CONFIG names, else none."""
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    path = config or os.environ.get(CONFIG_VARIABLE)
    _refuse_unknown_variables()
    for layer, spelled in (
        (_read_file(path) if path else {}, lambda name: f"{path}: {name}"),
        (EnvSettingsSource(Settings)(), env_name),
        (dict(flags or {}), flag_name),
    ):
        for name, value in layer.items():
            if name not in Settings.model_fields:
                raise SettingsError(f"{spelled(name)}: no such setting{did_you_mean(name, Settings.model_fields)}")
            values[name], origin[name] = value, spelled(name)
    try:
        return Loaded(Settings(**values), origin)
    except ValidationError as exc:
        raise SettingsError(_first(exc, origin)) from None


def env_name(name: str) -> str:
    return ENV_PREFIX + name.upper()


def flag_name(name: str) -> str:
    return "--" + REPEATED.get(name, name.replace("_", "-"))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _read_file(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise SettingsError(f"{path}: no such file")
    try:
        return dict(TomlConfigSettingsSource(Settings, Path(path))())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path}: {exc}") from None


def _refuse_unknown_variables() -> None:
    known = {env_name(name) for name in Settings.model_fields} | {CONFIG_VARIABLE}
    for variable in os.environ:
        if variable.upper().startswith(ENV_PREFIX) and variable.upper() not in known:
            raise SettingsError(f"{variable}: no such setting{did_you_mean(variable.upper(), known)}")


def _first(exc: ValidationError, origin: Mapping[str, str]) -> str:
    error = exc.errors(include_url=False)[0]
    name = str(error["loc"][0])
    reason = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f"{masked(repr(given))} is refused: " if isinstance(given, (str, int, float)) else ""
    return f"{origin.get(name, name)}: {shown}{reason[:1].lower()}{reason[1:]}"


def _text(value: object) -> str:
    """As it could be written in a file: `100MiB` and `15m` rather than many digits."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, ByteSize):
        return _in_units(value, {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1})
    if isinstance(value, float):
        return _in_units(value, {unit: _UNITS[unit] for unit in ("d", "h", "m", "s", "ms")})
    return str(value)


def _in_units(value: float, units: Mapping[str, float]) -> str:
    """In the largest unit that gives a whole number, else in the last but exact."""
    name, size = next(((n, s) for n, s in units.items() if value % s == 0), list(units.items())[-1])
    number = value / size
    return f"{int(number) if number.is_integer() else format(number, '.15g')}{name}"
