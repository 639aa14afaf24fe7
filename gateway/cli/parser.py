"""argparse with errors of one line, and the flags that are settings."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, get_args, get_origin

from gateway.settings import (
    CONFIG_VARIABLE,
    REPEATED,
    Loaded,
    Settings,
    SettingsError,
    did_you_mean,
    flag_name,
    load,
)

Commands = Any  # argparse keeps the type of add_subparsers() to itself


class Parser(argparse.ArgumentParser):
    """Raises SettingsError instead of printing the usage and leaving."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)  # a shortened flag could mean another one tomorrow

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message} (try {self.prog} --help)")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        given, unknown = self.parse_known_args(args, namespace)
        if unknown:
            what = "no such flag" if unknown[0].startswith("-") else "not expected here"
            raise SettingsError(f"{unknown[0]}: {what}{_hint(unknown[0], given)}")
        return given


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give the parser a flag for every setting, and --config."""
    parser.add_argument("--config", metavar="FILE", help=f"a TOML file of settings; else ${CONFIG_VARIABLE}")
    for name, field in Settings.model_fields.items():
        parser.add_argument(
            flag_name(name),
            dest=name,
            action="append" if name in REPEATED else "store",
            default=argparse.SUPPRESS,
            metavar=_metavar(name, field.annotation),
            help=(field.description or "").replace("`", "").replace("%", "%%"),
        )
    parser.set_defaults(known_flags=[flag_name(name) for name in Settings.model_fields])


def loaded(given: argparse.Namespace) -> Loaded:
    """The settings of file, environment and these flags; raises SettingsError."""
    flags = {name: value for name, value in vars(given).items() if name in Settings.model_fields}
    return load(flags, config=given.config)


def reason(exc: OSError) -> str:
    """What went wrong, without the address that asyncio and `socket` add in their own words."""
    if exc.errno is not None and exc.errno > 0:
        return os.strerror(exc.errno)
    return (exc.strerror or str(exc)).partition(" (")[0]  # a name that is not found has no errno


def _metavar(name: str, annotation: Any) -> str:
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return "[NAME=]URL" if name == "workers" else "|".join(choices) or "VALUE"


def _hint(unknown: str, given: argparse.Namespace) -> str:
    return did_you_mean(re.sub(r"=.*", "", unknown), getattr(given, "known_flags", ()))
