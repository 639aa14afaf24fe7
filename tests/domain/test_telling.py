"""What a client hears: of one prompt what a worker sends, of several that each frame can be told to its prompt."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.frames import Frame, made, parse
from gateway.domain.ids import ClientId, PromptId
from gateway.domain.outbox import Item, Outbox
from gateway.domain.telling import Told
from tests.domain.socket_frames import JPEG, PNG, frames, with_metadata

P, Q, R = PromptId("p"), PromptId("q"), PromptId("r")
SUCCESS = "execution_success"


def start(prompt_id: PromptId) -> Frame:
    return parse(made.event("execution_start", {"prompt_id": prompt_id, "timestamp": 1}))


def executing(prompt_id: PromptId, node: str = "2") -> Frame:
    return parse(made.executing(node, prompt_id))


def progress(prompt_id: PromptId, node: str = "2") -> Frame:
    return parse(made.event("progress", {"value": 1, "max": 3, "prompt_id": prompt_id, "node": node}))


def state(prompt_id: PromptId, value: int = 1) -> Frame:
    return parse(made.event("progress_state", {"prompt_id": prompt_id, "nodes": {"2": {"value": value}}}))


def picture(prompt_id: PromptId, image: bytes = JPEG, node: str = "2") -> Frame:
    return parse(with_metadata({"node_id": node, "prompt_id": prompt_id}, image))


def bare(image: bytes = JPEG) -> Frame:
    return parse(struct.pack(">II", 1, 1) + image)


def text(said: str = "x") -> Frame:
    return parse(struct.pack(">II", 3, 1) + b"2" + said.encode())


def custom(**data: Any) -> Frame:
    return parse(made.event("probe-event", data))


def sent(items: list[Item]) -> list[str]:
    """The messages, as short as they can be told apart: type, prompt, node; of pictures what they are."""
    return [short(message) for item in items for message in item.messages]


def short(message: str | bytes) -> str:
    frame = parse(message)
    if isinstance(message, bytes):
        return f"{'png' if frame.png else frame.kind}{message[3]}"
    return " ".join(map(str, [frame.event, *([frame.attempt] if frame.attempt else []), frame.node or ""])).strip()


def hear(told: Told, *frames: tuple[PromptId, Frame]) -> list[str]:
    return sent([item for prompt_id, frame in frames for item in told.frame(prompt_id, frame)])


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_socket_is_greeted_with_its_own_id(told: Told) -> None:
    assert told.hello(ClientId("me"), 3) == [Item((made.status(3, ClientId("me")),))]


def test_one_prompt_is_told_as_a_worker_tells_it(told: Told) -> None:
    frames = [start(P), state(P), executing(P), custom(a=1), state(P), progress(P), bare(), text(), bare(PNG)]
    items = [item for frame in frames for item in told.frame(P, frame)]
    assert [item.messages for item in items] == [(frame.raw,) for frame in frames]
    ended = told.ended(P, SUCCESS, {"prompt_id": P, "timestamp": 5}, 0)
    assert [item.messages[0] for item in ended] == [
        '{"type": "execution_success", "data": {"prompt_id": "p", "timestamp": 5}}',
        made.status(0),
        made.executing_idle(P),
    ]
    assert told.running == ()


def test_a_worker_says_no_count_no_flags_and_no_end(told: Told) -> None:
    frames = [made.status(5), made.feature_flags({}), made.executing_idle(P)]
    frames += [made.event(f"execution_{end}", {"prompt_id": P}) for end in ("success", "error", "interrupted")]
    hear(told, (P, executing(P)))
    assert hear(told, *((P, parse(frame)) for frame in frames)) == []
    blocked = made.event("execution_error", {"prompt_id": P, "exception_type": "ExecutionBlocked"})
    assert hear(told, (P, parse(blocked))) == ["execution_error p"]


def test_frames_after_the_end_and_a_second_end_are_not_told(told: Told) -> None:
    hear(told, (P, executing(P)))
    assert told.ended(P, SUCCESS, {"prompt_id": P}, 0)
    assert hear(told, (P, start(P)), (P, executing(P)), (P, bare()), (P, custom(a=1))) == []
    assert told.ended(P, "execution_error", {"prompt_id": P}, 0) == []
    assert told.running == ()


def test_an_end_that_no_frame_came_before_is_told(told: Told) -> None:
    assert sent(told.ended(P, "execution_error", {"prompt_id": P, "node_id": ""}, 0)) == [
        "execution_error p",
        "status",
        "executing p",
    ]


def test_a_prompt_of_an_ended_ones_id_is_told_again(told: Told) -> None:
    told.ended(P, SUCCESS, {"prompt_id": P}, 0)
    told.began(P)
    assert hear(told, (P, start(P))) == ["execution_start p"]
    assert len(told.ended(P, SUCCESS, {"prompt_id": P}, 0)) == 3


def test_what_has_ended_is_forgotten_some_day(told: Told) -> None:
    for number in range(5000):
        told.ended(PromptId(str(number)), SUCCESS, {}, 0)
    assert hear(told, (PromptId("4990"), start(PromptId("4990")))) == []
    assert hear(told, (PromptId("1"), start(PromptId("1")))) == ["execution_start 1"]


def test_a_frame_without_prompt_id_is_told_after_its_own_executing(told: Told) -> None:
    hear(told, (P, executing(P, "1")), (Q, executing(Q, "7")))
    assert hear(told, (Q, text())) == ["text3"]
    assert hear(told, (P, text())) == ["executing p 1", "text3"]
    assert hear(told, (P, custom(a=1)), (P, bare(PNG))) == ["probe-event", "png1"]
    assert hear(told, (Q, custom(prompt_id="q"))) == ["probe-event q"]  # says itself whose it is
    assert hear(told, (Q, bare(PNG))) == ["executing q 7", "png1"]
    assert hear(told, (R, start(R)), (Q, text())) == ["execution_start r", "executing q 7", "text3"]


def test_an_executing_that_may_be_taken_out_is_not_counted_on(told: Told) -> None:
    """Else the text would be left behind it, and be taken for one of the other prompt."""
    hear(told, (P, executing(P)), (Q, executing(Q)))
    first, *rest = [item for frame in (bare(), text(), text()) for item in told.frame(P, frame)]
    assert sent([first]) == ["executing p 2", "preview1"]
    assert first.key is not None
    assert sent(rest) == ["executing p 2", "text3", "text3"]


def test_the_display_node_is_told_again_too(told: Told) -> None:
    hear(told, (P, parse(made.executing("1", P, "9"))), (Q, executing(Q)))
    assert told.frame(P, text())[0].messages[0] == made.executing("1", P, "9")


def test_a_worker_that_came_back_says_executing_without_a_prompt(told: Told) -> None:
    assert told.frame(P, parse(made.executing("4")))[0].messages == (made.executing("4", P),)


def test_after_the_end_of_one_another_that_runs_is_shown(told: Told) -> None:
    hear(told, (P, executing(P)), (Q, executing(Q)), (R, start(R)))
    assert sent(told.ended(Q, SUCCESS, {"prompt_id": "q"}, 2))[-2:] == ["executing q", "executing p 2"]
    assert hear(told, (P, text())) == ["text3"]
    assert sent(told.ended(P, SUCCESS, {"prompt_id": "p"}, 1))[-1] == "executing p"  # r has not come to a node yet


def test_the_one_shown_last_is_shown_again(told: Told) -> None:
    hear(told, (P, executing(P)), (Q, executing(Q)), (R, executing(R)), (P, executing(P, "3")))
    assert sent(told.ended(Q, SUCCESS, {"prompt_id": "q"}, 2))[-1] == "executing p 3"


def test_a_prompt_that_lost_its_worker_is_not_shown(told: Told) -> None:
    hear(told, (P, executing(P)), (Q, executing(Q)))
    told.stopped(P)
    assert told.running == (Q,)
    assert sent(told.ended(Q, SUCCESS, {"prompt_id": "q"}, 1))[-1] == "executing q"
    assert hear(told, (P, start(P)), (P, executing(P, "1"))) == ["execution_start p", "executing p 1"]


def test_previews_are_told_as_the_client_understands_them(told: Told) -> None:
    tick = [(P, executing(P)), (P, state(P)), (P, picture(P)), (P, progress(P))]
    assert hear(told, *tick) == ["executing p 2", "progress_state p", "progress p 2", "preview1"]
    told.announced({"supports_preview_metadata": True})
    assert hear(told, *tick) == ["executing p 2", "progress_state p", "preview4", "progress p 2"]
    for flags in ({"supports_preview_metadata": 1}, {}):
        told.announced(flags)
        assert not told.metadata


def test_a_held_preview_is_told_before_the_end(told: Told) -> None:
    assert hear(told, (P, executing(P)), (P, picture(P))) == ["executing p 2"]
    assert sent(told.ended(P, SUCCESS, {"prompt_id": "p"}, 0))[:2] == ["preview1", "execution_success p"]


def test_a_held_preview_is_told_when_the_client_says_late_what_it_understands(told: Told) -> None:
    hear(told, (P, executing(P)), (P, picture(P)))
    told.announced({"supports_preview_metadata": True})
    assert hear(told, (P, progress(P))) == ["preview1", "progress p 2"]


def test_a_start_makes_a_held_preview_of_the_attempt_before_worthless(told: Told) -> None:
    hear(told, (P, executing(P)), (P, picture(P)))
    assert hear(told, (P, start(P))) == ["execution_start p"]


def test_a_broken_picture_with_metadata_is_only_for_those_who_asked(told: Told) -> None:
    broken = parse(struct.pack(">II", 4, 99) + b"{}")
    assert hear(told, (P, broken)) == []
    told.announced({"supports_preview_metadata": True})
    assert hear(told, (P, broken)) == ["unknown4"]


def test_only_previews_and_progress_may_be_replaced(told: Told) -> None:
    def keys(*frames: Frame) -> list[Any]:
        return [item.key for frame in frames for item in told.frame(P, frame)]

    hear(told, (P, executing(P)))
    lasting = [start(P), executing(P), text(), custom(a=1), bare(PNG), bare(b"RIFF"), picture(P, PNG)]
    assert set(keys(*lasting)) == {None}
    assert [item.key for item in told.ended(Q, SUCCESS, {}, 0)] == [None] * 4
    first, second = keys(progress(P), progress(P, "3"))
    assert first != second
    assert keys(state(P, 1)) == keys(state(P, 2))
    assert keys(bare()) == keys(bare(JPEG + b"newer"))
    told.metadata = True
    assert keys(picture(P)) == keys(picture(P, JPEG + b"newer")) != keys(picture(P, JPEG, "3"))
    animated = [parse(struct.pack(">IIII", 1, 1, 1, place) + JPEG) for place in range(3)]
    assert len(set(keys(*animated))) == 3
    assert told.status(1)[0].key == told.status(2)[0].key is not None


moves = st.tuples(
    st.sampled_from([P, Q, R]), st.sampled_from(["executing", "preview", "png", "text", "progress", "end", "take"])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(moves, max_size=30))
def test_a_client_that_reads_slowly_can_tell_whose_each_frame_is(moves: list[tuple[PromptId, str]]) -> None:
    """A client that believes each frame without an id to be of the prompt that was shown last is never wrong, whatever
    the outbox took out; and texts and results all come, in order."""
    told, outbox, read = Told(), Outbox(1 << 30, 1 << 20), list[str | bytes]()
    wanted = []
    for number, (prompt_id, move) in enumerate(moves):
        mark = f"{prompt_id}{number}"
        frame = {
            "executing": executing(prompt_id, mark),
            "progress": progress(prompt_id, mark),
            "preview": bare(JPEG + mark.encode()),
            "png": bare(PNG + mark.encode()),
            "text": text(mark),
        }.get(move)
        if move == "take":
            item = outbox.take()
            read += item.messages if item else ()
        items = told.frame(prompt_id, frame) if frame else []
        if move == "end":
            items = told.ended(prompt_id, SUCCESS, {"prompt_id": prompt_id}, 0)
            told.began(prompt_id)
        if move in ("png", "text") and prompt_id in told.running:
            wanted.append(mark)
        for item in items:
            assert outbox.put(item) is None
    while item := outbox.take():
        read += item.messages
    assert wanted == [mark for mark, shown in attributed(read) if mark in wanted]
    assert all(shown in (None, mark[0]) for mark, shown in attributed(read))


def attributed(read: list[str | bytes]) -> list[tuple[str, str | None]]:
    """Each frame without an id, with the prompt that a client takes it for; None while it can know of none."""
    shown: str | None = None
    found: list[tuple[str, str | None]] = []
    nodes: dict[str | None, str | None] = {}
    for message in read:
        frame = parse(message)
        if isinstance(message, str):
            if frame.event == "executing":
                shown = frame.attempt if frame.node else None
                nodes[frame.attempt] = frame.node
            continue
        mark = message[9:] if message[3] == 3 else message[8:].removeprefix(JPEG).removeprefix(PNG)
        found.append((mark.decode(), shown if nodes.get(mark.decode()[0]) else None))
    return found


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([P, Q]), frames)), st.booleans())
def test_any_frames_can_be_told(frames: list[tuple[PromptId, str | bytes]], metadata: bool) -> None:
    """Whatever workers send, each prompt ends once, and of state nothing is lost or changes places."""
    told, outbox = Told(metadata=metadata), Outbox(1 << 30, 1 << 20)
    lasting: list[str | bytes] = []
    for prompt_id, raw in frames:
        for item in told.frame(prompt_id, parse(raw)):
            outbox.put(item)
            lasting += item.messages if item.key is None else ()
    for prompt_id in (P, Q):
        for item in [*told.ended(prompt_id, SUCCESS, {}, 0), *told.ended(prompt_id, SUCCESS, {}, 0)]:
            outbox.put(item)
            lasting += item.messages if item.key is None else ()
    read = list(iter(outbox.take, None))
    assert [message for item in read if item.key is None for message in item.messages] == lasting
    assert [item.messages[0] for item in read[-3:]] == [made.event(SUCCESS, {}), made.status(0), made.executing_idle(Q)]
    assert told.running == ()
