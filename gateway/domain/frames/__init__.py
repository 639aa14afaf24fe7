"""The frames of ComfyUI's socket, sans-I/O: what they say, the same under another id, and the gateway's own.

parse      any text or bytes as a Frame; never raises
renamed    the same frame about the public prompt_id instead of the attempt
public     the same as a Frame
plain      without the metadata that not every client understands
Downgrade  a prompt's frames in the order in which clients without that understanding get them
made       what the gateway says itself, written as ComfyUI writes it
"""

from __future__ import annotations

from gateway.domain.frames import made
from gateway.domain.frames.downgrade import Downgrade
from gateway.domain.frames.frame import Frame, Kind
from gateway.domain.frames.parsing import parse
from gateway.domain.frames.rewriting import plain, public, renamed

__all__ = ["Downgrade", "Frame", "Kind", "made", "parse", "plain", "public", "renamed"]
