"""Any bytes are some frame; the recorded ones are the right ones, and come out again as they went in."""

from __future__ import annotations

import json
import struct
import uuid
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.domain.frames import Downgrade, Frame, Kind, made, parse, plain, public, renamed
from gateway.domain.ids import AttemptId, ClientId, PromptId
from tests.domain.socket_frames import EVENTS, JPEG, PNG, frames, pictures, recorded, scalars, with_metadata

OLD = AttemptId("865b7f44-7b0a-4411-b180-4a0dda77b227")
NEW = PromptId("11111111-2222-3333-4444-555555555555")
prompt_ids = st.one_of(st.uuids().map(str), st.text(max_size=50)).map(PromptId)
attempt_ids = st.one_of(st.uuids().map(str), st.text(max_size=50)).map(AttemptId)


def kinds(frames: list[Frame]) -> list[str]:
    return [f"{frame.kind}{'4' if frame.metadata else ''}" for frame in frames]


@settings(deadline=None)
@given(frames, st.booleans())
@example("[" * 100_000, False)
@example('{"type": "progress", "data": 5}', False)
@example('{"type": "progress"}', False)
@example('{"type": "x", "data": {"a": ' + "9" * 5000 + "}}", False)
@example(b"\0\0\0\4\xff\xff\xff\xff{}", False)
@example(b"\0\0\0\3\0\0\0\0", True)
def test_anything_is_a_frame_and_can_be_told_on(raw: str | bytes, text_ids: bool) -> None:
    frame = parse(raw, text_ids=text_ids)
    assert frame.raw == raw
    assert isinstance(frame.kind, Kind)
    assert not (frame.png and frame.jpeg)
    assert type(renamed(frame, NEW)) is type(raw)
    if isinstance(raw, bytes):
        assert parse(plain(frame)).kind is frame.kind
    fed = Downgrade()
    assert [*fed.feed(frame), *fed.flush()][0].kind is frame.kind


@pytest.mark.parametrize(
    "name", ["success", "success_no_flags", "two_listeners", "failing", "interrupting", "sockets", "queueing", "ids"]
)
def test_recorded_frames_are_what_they_say(name: str) -> None:
    for entry, raw in recorded(name):
        frame = parse(raw)
        if "text" not in entry:
            assert (frame.kind, frame.jpeg, frame.png) == (Kind.PREVIEW, True, False)
            assert frame.metadata == (entry["binary_type"] == 4)
            told = entry.get("metadata", {})
        else:
            type, told = entry["text"]["type"], entry["text"]["data"]
            assert frame.kind == ("custom" if type == "probe-event" else type)
            assert (frame.event, frame.data) == (type, told)
            assert frame.idle == (type == "executing" and told["node"] is None)
        assert frame.attempt == told.get("prompt_id")
        assert frame.node == told.get("node_id", told.get("node"))


def test_an_execution_blocker_ends_nothing() -> None:
    data = {"prompt_id": OLD, "node_id": "4", "exception_type": "ExecutionBlocked"}
    blocked = parse(made.event("execution_error", data))
    assert (blocked.kind, blocked.node, blocked.kind.ends) == (Kind.BLOCKED, "4", False)
    failed = parse(made.event("execution_error", data | {"exception_type": "RuntimeError"}))
    assert (failed.kind, failed.node, failed.kind.ends) == (Kind.ERROR, "4", True)


def test_not_a_number_is_read() -> None:
    frame = parse('{"type": "progress", "data": {"value": NaN, "max": Infinity, "prompt_id": "p", "node": "1"}}')
    assert (frame.kind, frame.attempt, frame.node) == (Kind.PROGRESS, "p", "1")


def test_blanks_around_an_event_mean_nothing_and_more_than_blanks_breaks_it() -> None:
    event = '{"type": "progress", "data": {"prompt_id": "p"}}'
    assert parse(f" \n{event} \t").kind is Kind.PROGRESS
    assert parse(f"{event} {event}").kind is Kind.UNKNOWN


def test_executing_without_prompt_id_is_no_end() -> None:
    frame = parse('{"type": "executing", "data": {"node": "2"}}')
    assert (frame.kind, frame.attempt, frame.node, frame.idle) == (Kind.EXECUTING, None, "2", False)
    assert not parse('{"type": "executing", "data": {}}').idle


def test_a_picture_is_a_result_by_its_bytes_or_by_its_word() -> None:
    one = struct.pack(">I", 1)
    assert parse(one + b"\0\0\0\1" + PNG).png  # the format field lies
    assert parse(one + b"\0\0\0\2" + JPEG).png
    assert parse(with_metadata({"image_type": "image/jpeg"}, PNG)).png
    assert parse(with_metadata({"image_type": "image/png"}, JPEG)).png
    other = parse(one + b"\0\0\0\1" + b"RIFF1234WEBP")
    assert (other.kind, other.png, other.jpeg) == (Kind.PREVIEW, False, False)


@pytest.mark.parametrize(
    ("between", "node"),
    [(b"", None), (struct.pack("16p", b"12:3"), "12:3"), (struct.pack("16p", b""), None), (b"\xff" * 16, None)],
)
def test_animated_previews_name_their_node_and_place(between: bytes, node: str | None) -> None:
    """As VideoHelperSuite's latent_preview.py hands them to the server, which puts the type in front."""
    frame = parse(struct.pack(">IIII", 1, 1, 1, 7) + between + JPEG)
    assert (frame.kind, frame.node, frame.index, frame.jpeg) == (Kind.PREVIEW, node, 7, True)
    assert plain(frame) == frame.raw
    assert parse(struct.pack(">III", 1, 1, 7) + struct.pack("16p", b"9") + JPEG).node == "9"


def test_texts_name_their_prompt_only_where_that_was_agreed() -> None:
    short = struct.pack(">II", 3, 2) + b"12" + "schön".encode()
    assert (parse(short).kind, parse(short).node, parse(short).attempt) == (Kind.TEXT, "12", None)
    long = struct.pack(">II", 3, len(OLD)) + OLD.encode() + short[4:]
    frame = parse(long, text_ids=True)
    assert (frame.kind, frame.node, frame.attempt) == (Kind.TEXT, "12", OLD)
    assert plain(frame) == short
    assert parse(renamed(frame, PromptId("ü")), text_ids=True).attempt == "ü"
    assert parse(long).node == OLD  # read as agreed, not as it looks
    assert parse(short[:9], text_ids=True).kind is Kind.UNKNOWN


def test_unknown_binary_types_stay_as_they_are() -> None:
    for raw in (b"", b"\0\0\0", struct.pack(">I", 2) + b"x" * 20, struct.pack(">I", 77)):
        frame = parse(raw)
        assert frame.kind is Kind.UNKNOWN
        assert plain(frame) == raw == renamed(frame, NEW, OLD)


@settings(deadline=None)
@given(attempt_ids, prompt_ids, st.dictionaries(st.text(), scalars, max_size=3), st.sampled_from(EVENTS))
def test_a_renamed_event_differs_in_its_prompt_only(
    attempt: AttemptId, prompt_id: PromptId, data: dict[str, Any], event: str
) -> None:
    def about(id: str) -> str:
        nodes = {"2": {**data, "prompt_id": id}, "3": [{"prompt_id": id}, data]}
        return made.event(event, {**data, "prompt_id": id, "nodes": nodes})

    frame = parse(about(attempt))
    assert renamed(frame, prompt_id) == about(prompt_id)
    assert public(frame, prompt_id).attempt == AttemptId(prompt_id)


@settings(deadline=None)
@given(st.uuids(), st.uuids(), st.dictionaries(st.text(), scalars), pictures)
def test_a_picture_is_renamed_forth_and_back(
    old: uuid.UUID, new: uuid.UUID, told: dict[str, Any], image: bytes
) -> None:
    raw = with_metadata({**told, "prompt_id": str(old)}, image + b"\0\xff" + str(old).encode())
    shown = renamed(parse(raw), PromptId(str(new)))
    assert isinstance(shown, bytes)
    assert shown.endswith(image + b"\0\xff" + str(old).encode())
    assert parse(shown).attempt == str(new)
    assert renamed(parse(shown), PromptId(str(old))) == raw


def test_ids_of_other_lengths_and_with_quotes_fit_everywhere() -> None:
    odd = PromptId('"\\ü\n')
    state = {"prompt_id": OLD, "nodes": {"2": {"prompt_id": OLD}, "3": {"prompt_id": OLD}}}
    shown = renamed(parse(made.event("progress_state", state)), odd)
    assert shown == made.event("progress_state", json.loads(json.dumps(state).replace(OLD, json.dumps(odd)[1:-1])))
    picture = renamed(parse(with_metadata({"prompt_id": OLD, "node_id": "2"}, JPEG)), odd)
    assert picture == with_metadata({"prompt_id": odd, "node_id": "2"}, JPEG)


def test_an_id_is_found_however_it_is_written() -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in OLD)
    shown = parse(renamed(parse(f'{{"type":"progress","data":{{"prompt_id":"{escaped}"}}}}'), NEW))
    assert shown.attempt == AttemptId(NEW)
    plain_text = '{"type":"x","data":{"prompt_id":"ä","id":"ä"}}'
    assert json.loads(renamed(parse(plain_text), NEW)) == {"type": "x", "data": {"prompt_id": NEW, "id": "ä"}}


def test_a_frame_without_prompt_id_may_hold_it_elsewhere() -> None:
    frame = parse(made.event("notification", {"value": "Waiting for a machine", "id": OLD}))
    assert renamed(frame, NEW) == frame.raw
    assert renamed(frame, NEW, OLD) == made.event("notification", {"value": "Waiting for a machine", "id": NEW})
    assert public(frame, NEW, OLD).attempt is None


def test_a_plain_picture_says_what_its_bytes_are() -> None:
    assert plain(parse(with_metadata({"image_type": "image/jpeg"}, JPEG))) == struct.pack(">II", 1, 1) + JPEG
    assert plain(parse(with_metadata({"image_type": "image/png"}, PNG))) == struct.pack(">II", 1, 2) + PNG
    with pytest.raises(TypeError):
        plain(parse("{}"))


def test_the_gateway_writes_as_a_worker_does() -> None:
    texts = [raw for name in ("success", "sockets") for entry, raw in recorded(name) if "text" in entry]
    prompt_id, sid = PromptId(OLD), ClientId("9dda95aa994e40a0afe6f588da1e5446")
    assert made.status(0, sid) in texts
    assert made.status(1) in texts
    assert made.executing("3", prompt_id) in texts
    assert made.executing("2") in texts
    assert made.executing_idle(prompt_id) in texts
    assert made.feature_flags({"supports_preview_metadata": True, "max_upload_size": 104857600}) in texts
    assert made.executing("3", prompt_id, "5") == made.executing("3", prompt_id).replace(
        '"display_node": "3"', '"display_node": "5"'
    )


def test_the_downgrade_turns_one_recorded_order_into_the_other() -> None:
    def first_prompt(name: str) -> list[Frame]:
        frames = [parse(raw) for _, raw in recorded(name)]
        start = next(index for index, frame in enumerate(frames) if frame.kind is Kind.START)
        return frames[start : [frame.kind for frame in frames].index(Kind.SUCCESS) + 1]

    downgrade = Downgrade()
    told = [out for frame in first_prompt("success") for out in downgrade.feed(frame)]
    wanted = first_prompt("success_no_flags")
    assert kinds(first_prompt("success")) != kinds(wanted) == kinds(told)
    assert [frame.raw[:11] for frame in told if frame.kind is Kind.PREVIEW] == [
        frame.raw[:11] for frame in wanted if frame.kind is Kind.PREVIEW
    ]
    assert downgrade.flush() == []


def test_only_its_own_progress_goes_before_a_preview() -> None:
    def picture(node: str, image: bytes = JPEG) -> Frame:
        return parse(with_metadata({"node_id": node, "prompt_id": OLD}, image))

    progress = [parse(made.event("progress", {"node": node, "prompt_id": OLD})) for node in "12"]
    moved = parse(made.executing("2", PromptId(OLD)))
    assert order([picture("1"), progress[0]]) == ["progress", "preview"]
    assert order([picture("1"), progress[1]]) == ["preview", "progress"]
    assert order([picture("1"), moved, progress[0]]) == ["preview", "executing", "progress"]
    assert order([picture("1", PNG), progress[0]]) == ["preview", "progress"]
    assert order([picture("1"), picture("1", PNG), progress[0]]) == ["preview", "preview", "progress"]
    assert order([picture("1")]) == ["preview"]


def order(frames: list[Frame]) -> list[str]:
    downgrade = Downgrade()
    return kinds([out for frame in frames for out in downgrade.feed(frame)] + downgrade.flush())


@settings(deadline=None)
@given(st.lists(frames))
def test_the_downgrade_loses_nothing_and_holds_no_result_back(raws: list[str | bytes]) -> None:
    downgrade, told = Downgrade(), list[Frame]()
    for number, frame in enumerate(parse(raw) for raw in raws):
        told += downgrade.feed(frame)
        assert len(told) >= number
        if not (frame.kind is Kind.PREVIEW and frame.metadata and frame.jpeg):
            assert len(told) == number + 1
    told += downgrade.flush()
    before, after = [frame.raw if isinstance(frame.raw, str) else plain(frame) for frame in map(parse, raws)], told
    assert sorted(map(repr, before)) == sorted(repr(frame.raw) for frame in after)
    fixed = [frame.raw for frame in after if not frame.jpeg]
    assert fixed == [raw for raw in before if not parse(raw).jpeg]
