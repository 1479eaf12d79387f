"""The settings that the documentation shows are read as they are meant: no unknown option, no invalid value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from barman.config.loader import load_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```ini\n(.*?)^```", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^\[([^]]+)\]$", re.MULTILINE)


def problems_of(block: str, directory: Path) -> list[str]:
    """What loading says about a block; one without a section is read as part of a server's."""
    text = block if SECTION.search(block) else f"[pg]\n{block}"
    if "barman" not in SECTION.findall(text):
        text = f"[barman]\nbarman_home = {directory}\n{text}"
    text = re.sub(
        r"^configuration_files_directory = .*$", f"configuration_files_directory = {directory}", text, flags=re.M
    )
    file = directory / "barman.conf"
    file.write_text(text, encoding="utf-8")
    settings = load_settings(str(file), {})
    # A block of one topic need not say how PostgreSQL is reached, nor how WAL comes.
    known = ("conninfo", "No archiver enabled", "archiver = on")
    found = [problem.text for problem in settings.problems]
    return [text for text in found if not any(word in text for word in known)]


def blocks() -> list[tuple[str, int, str]]:
    found = ((page, BLOCK.findall(page.read_text(encoding="utf-8"))) for page in PAGES)
    return [(str(page.relative_to(ROOT)), number, block) for page, texts in found for number, block in enumerate(texts)]


@pytest.mark.parametrize(("page", "number", "block"), blocks(), ids=lambda value: "" if "\n" in str(value) else value)
def test_settings_that_a_page_shows_are_understood(page: str, number: int, block: str, tmp_path: Path) -> None:
    assert problems_of(block, tmp_path) == [], f"block {number} of {page}"


@pytest.mark.parametrize(
    ("block", "why"),
    [("primary_ssh_comand = ssh x\n", "primary_ssh_comand"), ("parallel_jobs = many\n", "parallel_jobs")],
)
def test_a_mistake_is_noticed(block: str, why: str, tmp_path: Path) -> None:
    assert why in "".join(problems_of(block, tmp_path))
