from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

from gateway.domain.errors import BrokenBody
from gateway.domain.ports.blobs import Blob
from gateway.edge.forms import MAX_FIELD, MAX_PARTS, read_form
from gateway.flows.uploads import Form, Received

pytestmark = pytest.mark.anyio
HEADERS = [(b"content-type", b'multipart/form-data; boundary="b ound"')]


class Keeper:
    """Keeps bytes under their number."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.longest = 0

    async def keep(self, chunks: AsyncIterator[bytes]) -> Blob:
        data = b""
        async for chunk in chunks:
            self.longest = max(self.longest, len(chunk))
            data += chunk
        self.kept[key := str(len(self.kept))] = data
        return Blob(key, "", len(data))

    async def drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            del self.kept[key]


def part(disposition: str, data: bytes) -> bytes:
    return f"--b ound\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"


async def read(keeper: Keeper, body: bytes, size: int = 7, headers: list[tuple[bytes, bytes]] = HEADERS) -> Form:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    return await read_form(headers, chunks(), keeper.keep, keeper.drop)


END = b"--b ound--\r\n"
FILE = part('name="image"; filename="x.png"', b"\r\n--b oun not yet\0")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
async def test_fields_may_come_before_and_after_the_file_in_pieces_of_any_size(size: int) -> None:
    keeper = Keeper()
    body = (
        part('name="type"', b"temp") + FILE + part('name="subfolder"', "ü".encode()) + part('name="type"', b"x") + END
    )
    form = await read(keeper, body, size)
    assert form == Form({"type": "temp", "subfolder": "ü"}, Received("x.png", Blob("0", "", 18)))
    assert keeper.kept == {"0": b"\r\n--b oun not yet\0"}
    assert keeper.longest <= max(size, 16)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="image"; filename="a \\"b\\" c.png"', 'a "b" c.png'),
        ('name="image"; filename="ü.png"', "ü.png"),
        ("name=\"image\"; filename*=utf-8''%C3%BC.png", "ü.png"),
        ('name="image"; filename="a%22b.png"', "a%22b.png"),
        ('name="image"; filename="sub/x.png"', "sub/x.png"),
    ],
)
async def test_names_are_what_comfyui_takes_them_for(disposition: str, name: str) -> None:
    form = await read(Keeper(), part(disposition, b"x") + END)
    assert isinstance(form.image, Received)
    assert form.image.filename == name


async def test_only_the_first_image_is_kept_and_no_other_file() -> None:
    keeper = Keeper()
    other = part('name="other"; filename="o.png"', b"other")
    await read(keeper, other + FILE + part('name="image"; filename="y.png"', b"second") + END)
    assert list(keeper.kept.values()) == [b"\r\n--b oun not yet\0"]


async def test_an_image_without_a_name_is_a_text() -> None:
    assert (await read(Keeper(), part('name="image"', b"text") + END)).image == "text"
    assert (await read(Keeper(), part('name="image"; filename=""', b"") + END)).image == ""
    assert (await read(Keeper(), part('nonsense="', b"x") + END)) == Form({}, None)


@pytest.mark.parametrize(
    "headers", [[], [(b"content-type", b"text/plain")], [(b"content-type", b"multipart/form-data")]]
)
async def test_what_is_no_form_is_empty(headers: list[tuple[bytes, bytes]]) -> None:
    assert await read(Keeper(), FILE + END, headers=headers) == Form({}, None)
    assert await read_form(HEADERS, None, Keeper().keep, Keeper().drop) == Form({}, None)


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        FILE,
        FILE[:-20],
        FILE + part('name="x"', b"") * MAX_PARTS + END,
        FILE + part('name="type"', bytes(MAX_FIELD + 1)) + END,
    ],
    ids=["nonsense", "no end", "cut off", "many parts", "long field"],
)
async def test_what_is_broken_keeps_nothing(body: bytes) -> None:
    keeper = Keeper()
    with pytest.raises(BrokenBody):
        await read(keeper, body, 50_000)
    assert keeper.kept == {} or body in (FILE[:-20], b"nonsense")


@pytest.mark.parametrize("boundary", [b"", b"b" * 5000])
async def test_a_boundary_of_no_usable_length_is_a_broken_body(boundary: bytes) -> None:
    with pytest.raises(BrokenBody):
        await read(Keeper(), b"--\r\n", headers=[(b"content-type", b"multipart/form-data; boundary=" + boundary)])


async def test_a_client_that_leaves_leaves_nothing() -> None:
    keeper = Keeper()

    async def chunks() -> AsyncIterator[bytes]:
        yield FILE
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await read_form(HEADERS, chunks(), keeper.keep, keeper.drop)
    assert keeper.kept == {}
