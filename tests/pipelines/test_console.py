"""What a person watches: one line a unit where no terminal is."""

from __future__ import annotations

import pytest

from pipelines import console


def test_without_a_terminal_every_unit_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("train", 3) as advance:
        for name in ("a", "b", "c"):
            advance(f"fold_0/{name}  done")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["train", f"{number}/3", f"fold_0/{name}", "done"] for number, name in enumerate("abc", start=1)
    ]


def test_a_long_note_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("train", 1) as advance:
        advance("word " * 80)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_on_a_terminal_a_bar_counts_the_units(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.progress("train", 2) as advance:
        advance("first")
        advance("second")
    out = capsys.readouterr().out
    assert "2/2" in out
    assert "second" in out


def test_an_error_inside_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with console.progress("train", 2) as advance:
            advance("first")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "1/2" in capsys.readouterr().out
