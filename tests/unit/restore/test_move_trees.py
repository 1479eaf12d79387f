"""What was combined inside a destination moves up, over what an unfinished restore left, the control file last."""

from __future__ import annotations

import os
from pathlib import Path

from barman.report import MemoryReporter
from barman.restore.facts import SourceTree
from barman.restore.step import CopyTrees, LandControlFile, MoveTrees, TreeCopy
from barman.restore.steps.combine import listed, move_trees
from barman.restore.steps.destination import land_control_file
from barman.restore.workbench import Workbench


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def paths(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_a_combined_cluster_moves_up_and_its_control_file_lands_last(tmp_path: Path) -> None:
    place, space = tmp_path / "pg", tmp_path / "space"
    stage, far = place / ".barman-combine", space / ".barman-combine"
    for name in ("PG_VERSION", "base/1/2", "global/pg_control", "pg_tblspc/7/in_place", "backup_manifest"):
        put(stage / name, "new")
    for name in ("log/postgresql.log", "pg_wal/000000010000000000000001", "postmaster.pid", "tablespace_map"):
        put(stage / name)
    (stage / "pg_notify").mkdir()
    (stage / "pg_tblspc" / "17").symlink_to(far)
    put(far / "PG_17" / "1", "new")
    stage.chmod(0o750)
    # An unfinished restore came that far.
    for path in (place / "base" / "1" / "2", place / ".barman-restore.unfinished", space / "PG_17" / "1"):
        put(path, "old")

    control = place / ".barman-combine-control"
    data = TreeCopy(SourceTree(str(stage)), str(place))
    bench = Workbench(MemoryReporter())
    move_trees(MoveTrees((TreeCopy(SourceTree(str(far)), str(space)), data), str(control)), bench)
    moved = {"PG_VERSION", "base/1/2", "pg_tblspc/7/in_place", "backup_manifest", ".barman-restore.unfinished"}
    assert paths(place) == moved | {control.name}
    assert (place / "base" / "1" / "2").read_text() == (space / "PG_17" / "1").read_text() == "new"
    assert paths(space) == {"PG_17/1"}
    assert (place / "pg_notify").is_dir()
    assert (place / "log").is_dir()
    assert place.stat().st_mode & 0o777 == 0o750

    land_control_file(LandControlFile(str(control), str(place), moves=True), bench)
    assert paths(place) == (moved - {".barman-restore.unfinished"}) | {"global/pg_control"}


def test_what_was_made_is_listed_as_it_is_and_not_as_it_was_planned(tmp_path: Path) -> None:
    put(tmp_path / "data" / "base" / "1", "four")
    put(tmp_path / "data" / "log" / "x")
    os.mkdir(tmp_path / "data" / "pg_notify")
    planned = SourceTree(str(tmp_path / "data"), {"base/gone": 1})
    tree = listed(CopyTrees((TreeCopy(planned, "/dest"),), 1, made=True)).trees[-1].source
    assert dict(tree.files) == {"base/1": 4}
    assert set(tree.directories) == {"base", "log", "pg_notify"}
