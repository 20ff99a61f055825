"""What the pages say must be there: links, commands, make targets, shell blocks, rooms and their public names."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from grandmodel.cli import app

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
PICTURE_BYTES_MAX = 300_000

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROOM = re.compile(r"^\| `(\w+)/` \|[^|]*\|([^|]*)\|", re.MULTILINE)


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def shell_blocks(page: Path) -> list[str]:
    """Return the blocks fenced as ``sh``: those that a reader may paste."""
    return blocks(page, "sh")


PYTHON_BLOCKS = [(page, block) for page in PAGES for block in blocks(page, "python")]


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the words of every command of ``program`` that the page names, without comments."""
    lines = [*INLINE.findall(prose(page)), *INDENTED.findall(prose(page))]
    lines += [line for block in shell_blocks(page) for line in block.splitlines()]
    named = [line for line in lines if line.startswith(f"{program} ")]
    return [shlex.split(line.replace("\\|", "|"), comments=True)[1:] for line in named]


def wrong_words(words: list[str]) -> str:
    """Return what of ``grandmodel <words>`` the command line does not know; empty when it knows all."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and hasattr(command, "commands") and not rest[0].startswith("--"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"command {name}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in known]
    return f"option {unknown[0]}" if unknown else ""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, spelt as GitHub spells them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in HEADING.findall(prose(page))}


def broken_links(page: Path, text: str) -> list[str]:
    """Return the links of ``text``, as it stands on ``page``, whose file or heading is not there."""
    found = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


@cache
def names_of(room: str) -> set[str]:
    """Return the modules of a room and the names at the top of them."""
    found = set()
    for path in (PROJECT / "grandmodel" / room).rglob("*.py"):
        found.add(path.stem)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def rooms_of_the_page() -> dict[str, list[str]]:
    """Return the rooms that architecture.md lists, each with the public names it gives."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Rooms of the library")[1].split("\n## ")[0]
    return {room: re.findall(r"`([A-Za-z_]\w*)`", names) for room, names in ROOM.findall(section)}


def test_the_pages_are_there() -> None:
    names = {page.relative_to(PROJECT).as_posix() for page in PAGES}
    wanted = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/gates.md"}
    assert wanted <= names
    assert len(list((DOCS / "adr").glob("*.md"))) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert not broken_links(page, prose(page))


def test_links_are_looked_at() -> None:
    assert sum(len(LINK.findall(prose(page))) for page in PAGES) > 15
    assert broken_links(DOCS / "gates.md", "[a](nowhere.md) [b](../README.md#no-such-heading)") == [
        "nowhere.md",
        "../README.md#no-such-heading",
    ]


@pytest.mark.parametrize(("page", "block"), PYTHON_BLOCKS)
def test_python_on_a_page_runs(page: Path, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, str(page), "exec"), {"__name__": page.stem})
    assert "nan" not in capsys.readouterr().out


def test_commands_on_the_pages_exist() -> None:
    named = [(page.name, words) for page in PAGES for words in commands(page, "grandmodel")]
    assert len(named) > 15
    assert not [(page, " ".join(words), wrong) for page, words in named if (wrong := wrong_words(words))]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("serve --stage production", "command serve"),
        ("run --depth full", "option --depth"),
        ("ledger verify --json", ""),
    ],
)
def test_commands_that_do_not_exist_are_found(line: str, wrong: str) -> None:
    assert wrong_words(line.split()) == wrong


def test_make_targets_on_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = [(page.name, words) for page in PAGES for words in commands(page, "make")]
    assert len(named) > 10
    words_of = [(page, word) for page, words in named for word in words if "=" not in word]
    assert not [(page, word) for page, word in words_of if word not in targets]


def test_shell_blocks_parse() -> None:
    blocks = [(page.name, block) for page in PAGES for block in shell_blocks(page)]
    assert len(blocks) >= 4
    for page, block in blocks:
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {done.stderr}"


def test_room_table_names_exactly_the_rooms() -> None:
    rooms = {path.parent.name for path in (PROJECT / "grandmodel").glob("*/__init__.py")}
    assert len(rooms) > 8
    assert set(rooms_of_the_page()) == rooms


def test_public_names_of_the_room_table_exist() -> None:
    listed = rooms_of_the_page()
    assert sum(map(len, listed.values())) > 40
    assert not [f"{room}: {name}" for room, names in listed.items() for name in names if name not in names_of(room)]


def test_the_picture_is_small() -> None:
    pictures = list((DOCS / "images").glob("*.png"))
    assert pictures
    assert not [picture.name for picture in pictures if picture.stat().st_size > PICTURE_BYTES_MAX]
