"""`gateway check-config`: what would be run with, and where each value came from."""

from __future__ import annotations

import argparse

from gateway.cli.parser import Commands, add_settings, loaded


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("check-config", help="check the settings and print them")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    found = loaded(given)
    for name, value in found.settings.shown().items():
        origin = found.origin.get(name, "default")
        print(f"{name} = {value}".rstrip() + f"  # {origin}")
    return 0
