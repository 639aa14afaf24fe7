"""Where the gateway answers otherwise than one ComfyUI, on purpose. Whatever is not listed here must be the same."""

from __future__ import annotations

from typing import Literal, get_args

Difference = Literal[
    "reused-id",
    "one-disk",
    "farm-names",
    "nosniff",
    "get-interrupt",
    "any-id",
    "poison",
    "jobs",
    "delete-one",
    "history-query",
    "post-view-metadata",
    "own-frames",
    "own-count",
    "all-sockets",
    "mask-original",
]

DIFFERENCES: dict[Difference, str] = {
    "reused-id": "a prompt_id sent again with another prompt is 409; with the same prompt it runs once",
    "one-disk": "names of outputs count per worker",
    "farm-names": "outputs are `stem~worker.ext`, and paths of the worker are taken out",
    "nosniff": "/view says nosniff, and gives out what a browser would run as an attachment, whatever the version",
    "get-interrupt": "GET /interrupt works like the POST, as some documents show it",
    "any-id": "an id that is no UUID is taken whatever the workers' version, because attempts have ids of their own",
    "poison": "a body that would crash or wedge a worker is 400",
    "jobs": "/api/jobs is served whatever version the workers have",
    "delete-one": 'POST /queue {"delete": "<id>"} deletes that one, as some documents show it',
    "history-query": "GET /history?prompt_id=<id> gives that one record, as some documents show it",
    "post-view-metadata": "POST /view_metadata/{folder} works like the GET, as some documents show it",
    "own-frames": "a socket is told of its own prompts only, also what a node says to all",
    "own-count": "`queue_remaining` counts the prompts of the client; all only for one that never posted any",
    "mask-original": "a mask over what is not there is a 400 that says so, and not a 200 with a name of no file",
    "all-sockets": "all sockets of one clientId are told everything, and closing one does not make another deaf",
}

assert set(DIFFERENCES) == set(get_args(Difference))
