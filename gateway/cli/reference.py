"""docs/configuration.md, written from the settings themselves (`scripts/docs`)."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

from gateway.settings import Settings, env_name, flag_name

_HEAD = """\
# Configuration

Written by `scripts/docs` from `gateway/settings.py`: change it there.

Every setting can be given in a TOML file (`--config gateway.toml`, or `GATEWAY_CONFIG`), in the environment and as a
flag of `gateway serve` and `gateway demo`. A flag counts more than the environment, and that more than the file. An
unknown name or a bad value ends the gateway with one line that names it, and exit code 2; so does an unknown variable
that begins with `GATEWAY_` (on Kubernetes: `enableServiceLinks: false`, for a service called `gateway` makes such
variables). `gateway check-config` prints what would be run with, and where each value came from.

Durations are seconds, or `500ms`, `15m`, `2h`, `7d`; sizes are bytes, or `64KiB`, `100MiB`, `1GiB`. Lists are arrays in
the file, words with spaces or commas between them in the environment, and in flags one item each, given as often as
needed.

```toml
workers = ["http://10.0.0.7:8188", "gpu-1=http://10.0.0.8:8188"]
state = "redis://10.0.0.2/0"
worker_grace = "15m"
max_upload = "100MiB"
```

| key | environment | flag | default | meaning |
|---|---|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    return _HEAD + "".join(f"{_row(name)}\n" for name in Settings.model_fields)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    default = "" if field.default_factory else Settings().shown()[name]
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    meaning = (field.description or "") + (f" One of {', '.join(f'`{c}`' for c in choices)}." if choices else "")
    cells = (f"`{name}`", f"`{env_name(name)}`", f"`{flag_name(name)}`", default and f"`{default}`", meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(markdown(), end="")
