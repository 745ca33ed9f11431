"""The documents keep their promises: links lead somewhere, and the project speaks of itself only."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from models.pack import PROJECT_ROOT


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(PROJECT_ROOT), "ls-files", "-z", *patterns],
        capture_output=True,
        check=True,
        text=True,
    )
    return [
        PROJECT_ROOT / name for name in listed.stdout.split("\0") if name and (PROJECT_ROOT / name).is_file()
    ]


DOCUMENTS = tracked("*.md")


def name(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [
        target
        for target in targets
        if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("required", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE"])
def test_the_documents_a_newcomer_expects_are_there(required: str) -> None:
    assert (PROJECT_ROOT / required).stat().st_size > 500


FOREIGN = re.compile(
    r"pythonhosted\.org|pypi\.org|registry\.npmjs|deb\.debian\.org"  # download addresses
    r"|(?<![\w.])/(?:root|tmp|work|farm)/",  # paths of one machine
)


def test_no_address_of_a_registry_and_no_path_of_one_machine() -> None:
    here = Path(__file__)
    found = []
    for path in tracked():
        if (
            path == here
            or path.suffix in {".csv", ".png", ".gz"}
            or path.is_relative_to(PROJECT_ROOT / "models/trained")
        ):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{name(path)}:{number}")
    assert found == []


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as the usual renderers make them."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_anchor_is_a_heading(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", text):
        page = document.parent / target if target else document
        if page.suffix == ".md" and page.exists() and anchor not in anchors(page):
            missing.append(f"{target}#{anchor}")
    assert missing == []
