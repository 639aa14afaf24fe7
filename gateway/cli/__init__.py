"""The `gateway` command: one module for each subcommand, which declares its flags and runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gateway.cli import check_config, demo, emulate, replay, serve, workers
from gateway.cli.parser import Parser
from gateway.domain.errors import GatewayError
from gateway.settings import SettingsError

COMMANDS = (serve, demo, emulate, workers, replay, check_config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: it failed; 2: it was not understood. Either is told in one line."""
    try:
        given = _parser().parse_args(arguments)
        code: int = given.run(given)
    except SettingsError as exc:
        return _told(exc, 2)
    except GatewayError as exc:
        return _told(exc, 1)
    except KeyboardInterrupt:
        return 0  # whatever was running has been ended on the way here
    except BrokenPipeError:
        sys.stderr.close()  # else Python complains of the pipe once more as it leaves
        return 0
    return code


def _parser() -> Parser:
    parser = Parser(prog="gateway", description="One ComfyUI out of many.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def _told(exc: Exception, code: int) -> int:
    print(f"gateway: {exc}", file=sys.stderr)
    return code
