"""No test is skipped where everything must be there, but for a reason that no installation mends."""

import ast
import glob
import os
from pathlib import Path

import pytest

from tests.support.needs import need_program, ordinary_permissions

TESTS = str(Path(__file__).parents[2])
REASONS = {
    "support/needs.py": "the one place that skips: for want of a program (not in CI), or of a privilege",
    "integration/test_backup_postgres.py": "the host has a fitting pg_basebackup where every run looks",
    "integration/test_docs_passive_key.py": "the kernel, or the container, forbids user namespaces",
    "unit/config/test_update.py": "only root can give a file to somebody else",
    "unit/config/test_loader.py": "the host has a configuration of its own in /etc",
}
"""The only files that skip, and why that is right also in CI."""


def test_a_missing_program_skips_a_test_but_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        need_program("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        need_program("no-such-program")
    assert os.access(need_program("sh"), os.X_OK)


def test_no_other_file_skips() -> None:
    found = set()
    for path in glob.glob(f"{TESTS}/**/*.py", recursive=True):
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("skipif", "importorskip", "xfail"):
                found.add(os.path.relpath(path, TESTS))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.skip", "pytest.mark.skip", "skip"):
                found.add(os.path.relpath(path, TESTS))
    assert found == set(REASONS)


def test_permissions_count_for_root_too_while_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0)
    with ordinary_permissions(), pytest.raises(PermissionError):
        (tmp_path / "file").read_text()
    if os.geteuid() == 0:
        assert (tmp_path / "file").read_text() == "x"
