"""Everything that can go wrong and be told to somebody.

GatewayError
├── BadRequest            the request cannot be what its sender meant; names the field
│   └── BrokenBody        the body is not what ComfyUI parses; ComfyUI answers 500 without a reason
├── PromptRefused         a prompt that will not be taken, in ComfyUI's error shape
│   ├── PromptConflict    the prompt_id is taken by another prompt
│   ├── CallerQueueFull   this caller has no room left
│   └── FarmQueueFull     nobody has
├── NotFound              no such prompt, worker or file
├── NotShown              what /view does not show; the status is all that ComfyUI answers
├── Forbidden             the door: Host, Origin or Sec-Fetch-Site says no
├── BodyTooLarge          over `max_upload`
├── WorkerError           a worker could not be used
│   ├── WorkerRefused     nothing was sent: the connection was refused; always safe to try elsewhere
│   ├── WorkerSilent      sent and not answered: the outcome is unknown until the worker is asked
│   └── WorkerRejected    it answered with an error status
├── NoWorker              nobody is up to serve this request
├── StoreUnavailable      Redis did not answer, or answered that it cannot
└── BlobsUnavailable      the same of the store that keeps the files
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """Root of all that the gateway raises on purpose."""


class BadRequest(GatewayError):
    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class BrokenBody(BadRequest):
    pass


class PromptRefused(GatewayError):
    """Carries ComfyUI's error object: `{type, message, details, extra_info}` and `node_errors`."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        details: str = "",
        extra_info: Mapping[str, Any] | None = None,
        node_errors: Mapping[str, Any] | None = None,
        retry_after: float = 0,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details
        self.extra_info = dict(extra_info or {})
        self.node_errors = dict(node_errors or {})
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        error = {
            "type": self.kind,
            "message": self.message,
            "details": self.details,
            "extra_info": self.extra_info,
        }
        return {"error": error, "node_errors": self.node_errors}


class PromptConflict(PromptRefused):
    pass


class CallerQueueFull(PromptRefused):
    pass


class FarmQueueFull(PromptRefused):
    pass


class NotFound(GatewayError):
    pass


class NotShown(GatewayError):
    def __init__(self, status: int = 404) -> None:
        super().__init__(f"not shown: {status}")
        self.status = status


class Forbidden(GatewayError):
    pass


class BodyTooLarge(GatewayError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"Maximum request body size {limit} exceeded.")
        self.limit = limit


class WorkerError(GatewayError):
    pass


class WorkerRefused(WorkerError):
    pass


class WorkerSilent(WorkerError):
    pass


class WorkerRejected(WorkerError):
    def __init__(self, status: int, body: bytes, content_type: str = "") -> None:
        super().__init__(f"the worker answered {status}")
        self.status = status
        self.body = body
        self.content_type = content_type


class NoWorker(GatewayError):
    pass


class StoreUnavailable(GatewayError):
    pass


class BlobsUnavailable(GatewayError):
    pass
