"""The pictures of the documentation are those of their sources, and readable."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRAWINGS = ROOT / "docs/explanation/drawings"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawings", ROOT / "scripts/drawings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/drawings.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_picture_has_a_source_and_a_page_that_shows_it() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    shown = set(re.findall(r"drawings/([\w-]+)\.svg\)", pages))
    assert {path.stem for path in DRAWINGS.glob("*.svg")} == {path.stem for path in DRAWINGS.glob("*.drawing")} == shown


@pytest.mark.parametrize("path", sorted(DRAWINGS.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_has_a_ground_of_its_own_and_a_title(path: Path) -> None:
    tree = ElementTree.parse(path).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert tree.findtext(f"{name}title")
    ground = tree.find(f"{name}rect")
    assert ground is not None
    assert (ground.get("fill"), float(ground.get("width", 0)) + 1) == ("#ffffff", float(tree.get("width", 0)))


START = "title T\nsize 60 30\nzone barman 2 6 50 18 Host\nbox a 5 10 12 7 one\nbox b 34 10 12 7 two\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("box c 20 10 6 7 'a long name'", "does not fit"),
        ("box c 10 12 12 7 three", "c covers a"),
        ("box c 48 10 8 7 three", "c crosses an edge of Host"),
        ("box c 20 10 6 7 mid\narrow wal a.e b.w", "the arrow a.e b.w crosses c"),
        ("arrow wal a.e b.w put=above shift=0,1 label", "'label' lies on the arrow a.e b.w"),
        ("arrow wal a.e b.w\narrow wal b.w+1 a.e+1 bend=25\narrow wal a.e-2 b.w+2 bend=25", "meets"),
        ("note 44 9.8 text", "'text' crosses an edge of b"),
        ("note 57 15 'too far'", "leaves the picture"),
        ("arrow wal a.e nobody.w", "line 6: arrow wal a.e nobody.w"),
        ("circle 1 2 3", "line 6: circle"),
    ],
)
def test_a_drawing_that_would_look_wrong_is_refused(tool: ModuleType, line: str, why: str) -> None:
    tool.Drawing(START + "arrow wal a.e b.w label").picture()
    with pytest.raises(tool.Wrong, match=re.escape(why)):
        tool.Drawing(START + line).picture()
