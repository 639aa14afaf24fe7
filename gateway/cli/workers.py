"""`gateway workers …`: looks at and changes the workers of a running gateway, by its `/gateway/workers`."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

import httpx

from gateway.cli.parser import Commands
from gateway.domain.addresses import masked, worker_address
from gateway.domain.errors import GatewayError
from gateway.domain.labels import labels
from gateway.settings import SettingsError

_TIMEOUT = 30.0


class NotDone(GatewayError):
    """The gateway was not reached, or said no."""


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("workers", help="list, add, remove, drain or resume workers")
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    gateway = argparse.ArgumentParser(add_help=False)
    gateway.add_argument("--gateway", metavar="URL", default="http://127.0.0.1:8188", help="the running gateway")
    listing = actions.add_parser("list", parents=[gateway], help="show all workers")
    listing.set_defaults(run=_list)
    adding = actions.add_parser("add", parents=[gateway], help="take a worker in")
    adding.add_argument("worker", metavar="[NAME=]URL")
    adding.add_argument(
        "--label", action="append", default=[], help="a label that prompts may require; may be repeated"
    )
    adding.set_defaults(run=_add)
    for action, meaning in (
        ("remove", "forget a worker"),
        ("drain", "give a worker no new prompts"),
        ("resume", "give it new prompts again"),
    ):
        parser = actions.add_parser(action, parents=[gateway], help=meaning)
        parser.add_argument("worker", metavar="NAME")
        parser.set_defaults(run=_change)
    for parser in actions.choices.values():
        parser.set_defaults(known_flags=["--gateway", "--label"] if parser is adding else ["--gateway"])


def table(workers: list[dict[str, Any]]) -> str:
    """The workers as aligned lines: name, URL without its password, state, labels, what runs, the last error."""
    rows = [_row(worker) for worker in workers]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [index for index, width in enumerate(widths) if width]
    lines = ["  ".join(row[index].ljust(widths[index]) for index in shown) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _row(worker: dict[str, Any]) -> list[str]:
    name, url, state, error = (masked(str(worker.get(key, ""))) for key in ("name", "url", "state", "error"))
    return [
        name,
        url,
        f"{state}, draining" if worker.get("draining") else state,
        ",".join(worker.get("labels") or ()),
        ",".join(worker.get("running") or ()),
        error,
    ]


def _list(given: argparse.Namespace) -> int:
    workers = _ask(given, "GET", "").get("workers", [])
    print(table(workers) if workers else "no workers; add one with: gateway workers add [NAME=]URL")
    return 0


def _add(given: argparse.Namespace) -> int:
    try:
        address = worker_address(given.worker)
        marks = sorted(labels(given.label))
    except ValueError as exc:
        raise SettingsError(str(exc)) from None
    _ask(given, "POST", "", {"name": address.name, "url": address.url, "labels": marks})
    print(f"{address} added")
    return 0


def _change(given: argparse.Namespace) -> int:
    name = "/" + quote(given.worker, safe="")
    if given.action == "remove":
        _ask(given, "DELETE", name)
    else:
        _ask(given, "POST", f"{name}/{given.action}")
    print(f"{given.worker}: {given.action} done")
    return 0


def _ask(given: argparse.Namespace, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    base = given.gateway.rstrip("/")
    try:
        reply = httpx.request(method, f"{base}/gateway/workers{path}", json=body, timeout=_TIMEOUT, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise NotDone(f"no gateway at {masked(base)}: {masked(str(exc)) or type(exc).__name__}") from None
    if reply.is_error:
        raise NotDone(f"{masked(base)}: {_reason(reply)}")
    try:
        answer = reply.json() if reply.content else {}
    except ValueError:
        raise NotDone(f"{masked(base)} is no gateway: its answer is not JSON") from None
    return answer if isinstance(answer, dict) else {}


def _reason(reply: httpx.Response) -> str:
    """The message of an error in any of the shapes that the gateway and ComfyUI answer with."""
    try:
        error = reply.json().get("error", "")
    except (ValueError, AttributeError):
        error = ""
    message = error.get("message", "") if isinstance(error, dict) else error
    return str(message) or f"{reply.status_code} {reply.reason_phrase}"
