from __future__ import annotations

import io

import pytest
from PIL import Image, UnidentifiedImageError

from gateway.flows.pictures import converted, is_asked_for


def picture(mode: str = "RGBA", color: tuple[int, ...] = (1, 2, 3, 128)) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), color).save(buffer, format="PNG")
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ({"preview": "webp;50"}, "image/webp"),
        ({"preview": "jpeg;90"}, "image/jpeg"),
        ({"preview": "tiff;x"}, "image/webp"),
        ({"preview": "jpeg", "channel": "a"}, "image/webp"),
        ({"channel": "rgb"}, "image/png"),
        ({"channel": "a"}, "image/png"),
    ],
)
def test_the_form_that_is_asked_for(query: dict[str, str], kind: str) -> None:
    assert is_asked_for(query)
    told, data = converted(picture(), query)
    assert told == kind
    assert Image.open(io.BytesIO(data)).format == kind.removeprefix("image/").upper()


def test_channels() -> None:
    assert Image.open(io.BytesIO(converted(picture(), {"channel": "rgb"})[1])).getpixel((0, 0)) == (1, 2, 3)
    assert Image.open(io.BytesIO(converted(picture(), {"channel": "a"})[1])).getpixel((0, 0)) == (0, 0, 0, 128)
    opaque = converted(picture("RGB", (1, 2, 3)), {"channel": "a"})[1]
    assert Image.open(io.BytesIO(opaque)).getpixel((0, 0)) == (0, 0, 0, 255)


def test_what_is_no_picture_raises() -> None:
    with pytest.raises(UnidentifiedImageError):
        converted(io.BytesIO(b"text"), {"preview": "webp"})
    assert not is_asked_for({"channel": "rgba"})
