"""What build.py decides before it builds: the mirror, the name of the program, and whether a build is needed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.apiserver import build

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
# A comment with URIs: https://never.example/debian
Types: deb
URIs: https://tools.example/apt
Suites: stable
Components: main

Types: deb deb-src
URIs: https://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /etc/apt/keyrings/debian.gpg
"""


def sources(etc: Path, name: str, text: str) -> Path:
    file = etc / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return etc


def test_the_mirror_is_the_one_apt_is_configured_with(tmp_path: Path) -> None:
    etc = sources(tmp_path, "sources.list.d/debian.sources", DEB822)
    assert build.mirror(etc) == ("https://mirror.example/debian/", "/etc/apt/keyrings/debian.gpg")


@pytest.mark.parametrize(
    ("line", "signed_by"),
    [
        ("deb http://mirror.example/debian bookworm main", "/usr/share/keyrings/debian-archive-keyring.gpg"),
        ("deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main", "/k.gpg"),
    ],
)
def test_apts_older_format_is_read_too(tmp_path: Path, line: str, signed_by: str) -> None:
    text = f"# deb http://never.example/debian x main\ndeb http://tools.example/apt y main\n{line}\n"
    assert build.mirror(sources(tmp_path, "sources.list", text)) == ("http://mirror.example/debian", signed_by)


def test_a_machine_without_debians_archive_gets_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(build.CannotBuild, match="on Debian only"):
        build.mirror(sources(tmp_path, "sources.list", "deb http://archive.example/ubuntu noble main\n"))


def test_a_built_program_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = build.program()
    program.parent.mkdir(parents=True)
    program.touch()
    # With nothing on PATH it could build nothing.
    reported = subprocess.run(
        [sys.executable, build.__file__],
        env={"XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (reported.returncode, reported.stdout.strip(), reported.stderr) == (0, str(program), "")


def test_a_failed_build_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    reported = subprocess.run(
        [sys.executable, build.__file__],
        env={"XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (reported.returncode, reported.stdout) == (1, "")
    assert reported.stderr == "build.py: apt-get is not here: this builds on Debian only\n"


def test_the_name_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in (*build.SOURCES, "packages.txt", "build.py"):
        (tmp_path / name).write_bytes((build.HERE / name).read_bytes())
    before = build.program()
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert build.program() == before
    (tmp_path / "main.go").write_text("package main\n")
    assert build.program() != before


def test_the_packages_are_named_once_and_sorted() -> None:
    names = (build.HERE / "packages.txt").read_text().split()
    assert names == sorted(set(names))
