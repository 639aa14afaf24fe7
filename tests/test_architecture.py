"""Rules about the code itself; who may import whom is import-linter's part (`scripts/check`)."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "gateway").rglob("*.py"))
MODULE_LINES = 300
FUNCTION_LINES = 30
TESTED = ("domain", "flows", "adapters", "edge")
UNTESTED = re.compile(r"gateway/(domain/ports/\w+|flows/worker_reads)\.py")  # Protocols: tested where they are kept


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold more than blanks and comments."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def long_functions(source: str) -> list[str]:
    """Functions with too many lines of code; their docstrings and the functions inside them do not count."""
    counted = code_lines(source)
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            inner = [part for part in ast.walk(node) if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            lines = counted & {line for statement in body for line in spanned(statement)}
            lines -= {line for function in inner if function is not node for line in spanned(function)}
            if len(lines) > FUNCTION_LINES:
                found.append(f"{node.name}: {len(lines)}")
    return found


def spanned(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_the_rule_on_functions_sees_code_and_only_code() -> None:
    body = "    x = 1\n" * FUNCTION_LINES
    assert long_functions(f"def f():\n    '''Doc\n\n    doc.'''\n\n    # why\n{body}") == []
    assert long_functions(f"async def f():\n{body}    y = '''\n'''\n") == [f"f: {FUNCTION_LINES + 2}"]
    inner = body.replace("    ", "        ")
    assert long_functions(f"def f():\n    x = 1\n    def g():\n{inner}") == []
    assert long_functions(f"def f():\n    def g():\n{inner}        y = 1\n") == [f"g: {FUNCTION_LINES + 1}"]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_and_functions_fit_on_a_screen(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= MODULE_LINES
    assert long_functions(source) == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_say_what_they_are_for(path: Path) -> None:
    source = path.read_text()
    assert not source or ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize(
    "path", [path for part in TESTED for path in sorted((ROOT / "gateway" / part).rglob("*.py"))], ids=relative
)
def test_each_module_has_its_tests_where_they_are_looked_for(path: Path) -> None:
    """`gateway/edge/view.py` in `tests/edge/test_view.py`; a package may have one file for all of it."""
    if path.name == "__init__.py" or UNTESTED.fullmatch(relative(path)):
        return
    place = ROOT / "tests" / path.relative_to(ROOT / "gateway")
    own = place.with_name(f"test_{path.stem}.py")
    shared = place.parent.with_name(f"test_{path.parent.name}.py") if path.parent.name not in TESTED else own
    assert own.exists() or shared.exists(), f"{relative(own)} is missing"


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = project["project"]["dependencies"] + project["dependency-groups"]["build"]
    for lock, wanted in (
        ("requirements.lock", needed),
        ("requirements-dev.lock", needed + project["dependency-groups"]["dev"]),
    ):
        text = (ROOT / lock).read_text()
        locked = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE))
        for line in wanted:
            requirement = Requirement(line)
            assert Version(locked[requirement.name]) in requirement.specifier, f"{line} in {lock}: run scripts/lock"


def test_the_locks_name_versions_and_hashes_only() -> None:
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock")]
    for text in locks:
        entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", text).strip())
        assert len(entries) > 20
        for entry in entries:
            assert re.fullmatch(
                r"[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry
            )
    assert {line for line in locks[0].split("\n") if "==" in line} <= set(locks[1].split("\n"))
