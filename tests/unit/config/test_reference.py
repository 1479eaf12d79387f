from __future__ import annotations

from pathlib import Path

import pytest

from barman.config import reference
from barman.config.loader import load_settings
from barman.config.server_config import GLOBAL_OPTIONS, SERVER_OPTIONS

NAMES = [*GLOBAL_OPTIONS, *SERVER_OPTIONS]


@pytest.mark.parametrize("kind", ["docs", "man", "sample"])
def test_the_generated_file_is_not_stale(kind: str) -> None:
    assert reference.main([kind, "--check"]) == 0


def test_every_option_is_on_the_page_once() -> None:
    page = reference.docs()
    assert [name for name in NAMES if page.count(f"| `{name}` |") != 1] == []


def test_every_option_is_in_the_man_page_and_the_sample() -> None:
    man, sample = reference.man(), reference.sample()
    for name in NAMES:
        assert f".B {name}\n" in man
        assert f"{name} =" in sample


def test_the_sample_loads_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "barman.conf"
    path.write_text(reference.sample())
    loaded = load_settings(str(path), {})
    assert (loaded.problems, loaded.servers, loaded.barman.barman_home) == ([], {}, "/var/lib/barman")


def test_the_server_of_the_sample_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "barman.conf"
    text = reference.sample()
    start = text.index(";[main]")
    path.write_text(text[:start] + text[start : text.index("\n\n", start)].replace(";", ""))
    main = load_settings(str(path), {}).servers["main"]
    assert (main.msg_list, main.notices, main.streaming_archiver) == ([], [], True)


def test_wrong_arguments_are_refused() -> None:
    assert reference.main(["novel"]) == 2
