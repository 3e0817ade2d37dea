"""The docs are true: links have targets, commands and fields exist."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from sagemaker_operator.cli import cli
from sagemaker_operator.logs import MESSAGES, Event
from tests.docs.configuration import document
from tests.docs.words import occurrences

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_have_targets(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:manifests|docker|docs|sagemaker_operator|tests)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_commands_and_flags_in_the_docs_exist() -> None:
    runner = CliRunner()
    text = "\n".join(page.read_text() for page in PAGES)
    for command in set(re.findall(r"sagemaker-operator (run|sandbox|demo|crds|kinds|version)\b", text)):
        assert runner.invoke(cli, [command, "--help"]).exit_code == 0
    flags = "".join(
        runner.invoke(cli, [command, "--help"]).output for command in ("run", "sandbox", "demo", "crds", "kinds")
    )
    for line in re.findall(r"^.*sagemaker-operator (?:run|demo|sandbox).*$", text, re.MULTILINE):
        for flag in re.findall(r"(?<= )--[a-z-]+", line.split(" | ")[0]):
            assert flag in flags, line


def test_every_log_event_is_documented_and_in_the_schema() -> None:
    page = (ROOT / "docs/logs.md").read_text()
    schema = json.loads((resources.files("sagemaker_operator") / "log_schema_v1.json").read_text())
    assert set(schema["properties"]["event"]["enum"]) == set(Event)
    assert set(MESSAGES) == set(Event)
    for event in Event:
        assert f"`{event}`" in page, event


def test_every_documented_log_field_is_in_the_schema() -> None:
    schema = json.loads((resources.files("sagemaker_operator") / "log_schema_v1.json").read_text())
    rows = [line for line in (ROOT / "docs/logs.md").read_text().splitlines() if line.startswith("| `")]
    for row in rows:
        for field in re.findall(r"`(\w+)`", row.split("|")[3]):
            assert field in schema["properties"], field


def test_ci_runs_the_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- tests -->")[1].split("```sh\n")[1].split("```")[0]
    script = (ROOT / ".ci/run").read_text()
    extraction = re.search(r"^command=\$\((.*)\)$", script, re.MULTILINE)
    assert extraction is not None
    found = subprocess.run(["bash", "-c", extraction.group(1)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == block.strip()


def test_the_page_of_flags_is_generated_from_their_table() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == document(), (
        "run: python -m tests.docs.configuration > docs/configuration.md"
    )


def test_standard_terms_are_used() -> None:
    found = list(occurrences())
    assert len(found) <= 20, "\n".join(f"{one.path}:{one.line}: {one.words}" for one in found)
