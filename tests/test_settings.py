from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.cli.reference import markdown
from gateway.domain.addresses import worker_address
from gateway.settings import Settings, SettingsError, env_name, flag_name, load, seconds

ROOT = Path(__file__).parents[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def test_file_then_environment_then_flags(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('host = "file"\nport = 1\nprefix = "file"\n')
    monkeypatch.setenv("GATEWAY_PORT", "2")
    monkeypatch.setenv("GATEWAY_PREFIX", "environment")
    found = load({"prefix": "flag"}, config=str(file))
    assert (found.settings.host, found.settings.port, found.settings.prefix) == ("file", 2, "flag")
    assert found.origin == {"host": f"{file}: host", "port": "GATEWAY_PORT", "prefix": "--prefix"}
    assert found.settings.policy == "expected-completion"


def test_the_environment_may_name_the_file_and_a_flag_another(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("port = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("port = 2\n")
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    assert load().settings.port == 1
    assert load(config=str(other)).settings.port == 2


def test_a_settings_built_directly_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "1")
    assert Settings().port == 8188
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "")
    assert load().settings.port == 8188


@pytest.mark.parametrize("text", ["http://a:1 g=http://b:2", " http://a:1,\n g=http://b:2, "])
def test_workers_in_one_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_WORKERS", text)
    assert load().settings.workers == (worker_address("http://a:1"), worker_address("g=http://b:2"))


def test_lists_in_a_file(file: Path) -> None:
    file.write_text(
        'workers = ["http://a:1"]\ntrusted_proxies = ["10.0.0.0/8", "::1"]\n'
        'allowed_origins = ["https://A.example:8443/"]\n'
    )
    settings = load(config=str(file)).settings
    assert settings.workers == (worker_address("http://a:1"),)
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.allowed_origins == ("https://a.example:8443",)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), (" 1.5 ", 1.5), ("500ms", 0.5), ("15m", 900), ("2h", 7200), ("7 d", 604800)]
)
def test_durations(text: str, expected: float) -> None:
    assert load({"history_ttl": text}).settings.history_ttl == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("5000", 5000), ("64KiB", 65536), ("100 MiB", 104857600), ("1GB", 10**9), (4096, 4096)]
)
def test_sizes(text: object, expected: int) -> None:
    assert load({"max_upload": text}).settings.max_upload == expected


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"port": "abc"}, "--port: 'abc' is refused: input should be a valid integer"),
        ({"port": 65536}, "--port: 65536 is refused: input should be less than or equal to 65535"),
        ({"port": True}, "--port: True is refused: must be a number"),
        ({"max_queue": "0"}, "--max-queue: '0' is refused: input should be greater than or equal to 1"),
        ({"max_upload": "1q"}, "--max-upload: '1q' is refused: could not interpret byte unit: q"),
        ({"history_ttl": "1 fortnight"}, "--history-ttl: '1 fortnight' is refused: must be seconds, or a duration"),
        ({"history_ttl": float("inf")}, "--history-ttl: inf is refused: "),
        ({"poll_every": "-5"}, "--poll-every: '-5' is refused: must be seconds"),
        ({"poll_every": 0}, "--poll-every: 0 is refused: input should be greater than 0"),
        ({"policy": "least"}, "--policy: 'least' is refused: input should be 'expected-completion'"),
        ({"prefix": "a}b"}, "--prefix: 'a}b' is refused: "),
        ({"state": "http://u:pw@h"}, "--state: 'http://***@h' is refused: must begin with redis://"),
        ({"home": "a/b"}, "--home: 'a/b' is refused: a worker's name is"),
        ({"workers": ["a:8188"]}, "--worker: 'a:8188' must begin with http:// or https://"),
        ({"workers": ["a=http://a", "a=http://b"]}, "--worker: two are named 'a'"),
        ({"workers": [5]}, '--worker: must be a list of "[NAME=]URL"'),
        ({"workers": 5}, '--worker: 5 is refused: must be a list of "[NAME=]URL"'),
        ({"labels": ["w=big"]}, "--label: no worker is named 'w'"),
        ({"workers": ["w=http://a"], "labels": "w"}, "--label: 'w' is refused: 'w' is not NAME=LABEL"),
        ({"workers": ["w=http://a"], "labels": ["w=ü"]}, "--label: a label is 1 to 64 of"),
        ({"labels": 5}, '--label: 5 is refused: must be a list of "NAME=LABEL"'),
        ({"trusted_proxies": "10.0.0.0/33"}, "--trusted-proxy: '10.0.0.0/33' is refused: "),
        ({"allowed_origins": ["example.org"]}, "--allowed-origin: 'example.org' is refused: "),
        ({"log_level": "loud"}, "--log-level: 'loud' is refused: "),
    ],
)
def test_a_bad_value_is_one_line_with_its_source(flags: dict[str, object], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_the_source_is_the_one_that_won(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("port = 'x'\n")
    with pytest.raises(SettingsError, match=r"^\S+gateway.toml: port: 'x' is refused"):
        load(config=str(file))
    monkeypatch.setenv("GATEWAY_PORT", "y")
    with pytest.raises(SettingsError, match=r"^GATEWAY_PORT: 'y' is refused"):
        load(config=str(file))


def test_unknown_names_are_told_with_the_one_that_was_meant(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("max_queu = 5\n")
    with pytest.raises(SettingsError, match=r"gateway.toml: max_queu: no such setting \(did you mean max_queue\?\)$"):
        load(config=str(file))
    file.write_text("[gateway]\nport = 5\n")
    with pytest.raises(SettingsError, match=r"gateway.toml: gateway: no such setting$"):
        load(config=str(file))
    monkeypatch.setenv("GATEWAY_WORKER", "http://a:1")
    with pytest.raises(SettingsError, match=r"^GATEWAY_WORKER: no such setting \(did you mean GATEWAY_WORKERS\?\)$"):
        load()


@pytest.mark.parametrize("content", ["port = \n", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_one_line(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SettingsError, match=r"gateway.toml: ") as caught:
        load(config=str(file))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"gateway.toml: no such file$"):
        load(config=str(file))


def test_nothing_printed_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(workers=["g=http://u:hush@a:1"], state="redis://:hush@h/0")
    for text in (repr(settings), str(settings), f"{settings}", *settings.shown().values()):
        assert "hush" not in text
    assert settings.shown()["workers"] == "g=http://***@a:1"
    assert settings.workers[0].url == "http://u:hush@a:1"


def test_the_data_folder_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / "comfy-gateway"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / ".local/state/comfy-gateway"
    assert load({"data_dir": "~/here"}).settings.data_dir == tmp_path / "here"


@given(st.integers(1, 10**9).map(lambda ms: ms / 1000))
def test_durations_are_shown_as_they_can_be_read(duration: float) -> None:
    assert seconds(Settings(history_ttl=duration).shown()["history_ttl"]) == pytest.approx(duration)


@given(st.integers(1024, 2**50))
def test_sizes_are_shown_as_they_can_be_read(size: int) -> None:
    assert load({"max_upload": Settings(max_upload=size).shown()["max_upload"]}).settings.max_upload == size


def test_every_setting_is_documented_and_the_page_is_current() -> None:
    page = markdown()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `{name}` | `{env_name(name)}` | `{flag_name(name)}` |" in page
    assert (ROOT / "docs/configuration.md").read_text() == page, "run scripts/docs"
