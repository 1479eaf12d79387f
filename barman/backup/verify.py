"""verify-backup: is every byte of a backup what its manifest says?

pg_verifybackup judges; of archives `tar_verify` does. It sees the backup through a view: a scratch directory of links
in which every tablespace is where the manifest has it. So what is read is always this backup, whether its own links
are missing (copies of rsync), lead elsewhere (a repository that was moved), or are right.
"""

from __future__ import annotations

import os
import re

from barman.backup.tar_verify import verify_archives
from barman.errors import BackupError, CorruptRecord
from barman.fs.scratch import ScratchDirectory
from barman.postgres.backup_manifest import read
from barman.postgres.data_directory import TABLESPACE_LINKS
from barman.postgres.programs import find_pg_verifybackup, verifybackup_argv
from barman.process import last_line, run
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from barman.catalog.backup_info import BackupInfo, Tablespace
    from barman.catalog.layout import Layout
    from barman.postgres.programs import Program
    from barman.report import Reporter
    from barman.server.server import Server


_VERSION = re.compile(rb'"PostgreSQL-Backup-Manifest-Version":\s*(\d{1,9})')
_HEAD = 4096
_SINCE_17 = 2
"""The version of manifests that PostgreSQL 17 and later write."""


def verify_backup(server: Server, info: BackupInfo, reporter: Reporter) -> None:
    """Have the whole backup read and compared with its manifest; WAL is not looked at.

    Holds the lock of the backup shared: it is not deleted meanwhile. A backup that is not what it was is reported as
    an error; a tablespace that the manifest does not speak of (the original's never does) as a warning.

    Raises BackupError when the backup cannot be verified at all.
    """
    if info.encryption is not None:
        raise BackupError(f"backup {info.backup_id} is encrypted: pg_verifybackup cannot read it")
    layout = server.catalog.layout
    manifest = layout.backup_manifest(info.backup_id)
    if not os.path.exists(manifest) and os.path.isdir(os.path.dirname(manifest)):
        raise BackupError(
            f"backup {info.backup_id} has no manifest to compare it with",
            hint=f"'barman generate-manifest {server.name} {info.backup_id}' writes one of what is there now.",
        )
    if info.compression is not None:
        with server.catalog.locks.backup_id(info.backup_id, shared=True):
            verify_archives(info, layout.data_directory(info.backup_id), reporter)
        return
    reporter.info("Calling pg_verifybackup")
    program = find_pg_verifybackup(server.search_path, info.pg_version)
    if program is None:
        raise BackupError(
            "pg_verifybackup not found",
            hint="Install the server package of PostgreSQL 13 or later, or set 'path_prefix' to its directory.",
        )
    _require_reader_of(manifest, program)
    with server.catalog.locks.backup_id(info.backup_id, shared=True):
        _verify_files(server, info, program, reporter)


def _require_reader_of(manifest: str, program: Program) -> None:
    """Tell a program that is too old for a manifest from a backup that is damaged. Raises BackupError."""
    try:
        with open(manifest, "rb") as file:
            found = _VERSION.search(file.read(_HEAD))
    except OSError:
        found = None
    if found is None or int(found[1]) < _SINCE_17 or program.version.number >= 170000:
        return  # what is no manifest pg_verifybackup calls so
    raise BackupError(
        f"pg_verifybackup {program.version} ('{program.path}') cannot read manifests of version {int(found[1])}",
        hint="Install the server package of PostgreSQL 17 or later, or set 'path_prefix' to its directory.",
    )


def _verify_files(server: Server, info: BackupInfo, program: Program, reporter: Reporter) -> None:
    layout = server.catalog.layout
    covered = _covered_tablespaces(layout, info)
    for space in info.tablespaces:
        directory = layout.tablespace_directory(info.backup_id, space.oid)
        if not os.path.isdir(directory):
            reporter.error(f"tablespace {space.name} of backup {info.backup_id} is missing: no directory '{directory}'")
        elif space.oid not in covered:
            reporter.warning(
                f"the manifest of backup {info.backup_id} does not speak of tablespace {space.name}: its files are not "
                f"verified. Remove '{layout.backup_manifest(info.backup_id)}' and run 'barman generate-manifest "
                f"{server.name} {info.backup_id}' to have one that does"
            )
    directory = layout.data_directory(info.backup_id)
    with ScratchDirectory("verify") as view:
        _fill(view, layout, info, covered)
        argv = verifybackup_argv(program, view.path)
        _call(server, [*argv[:-1], "-m", layout.backup_manifest(info.backup_id), argv[-1]], directory, reporter)


def _covered_tablespaces(layout: Layout, info: BackupInfo) -> frozenset[int]:
    """Return the tablespaces that the manifest speaks of, and the empty ones, of which there is nothing to say."""
    try:
        paths = [file.path for file in read(layout.backup_manifest(info.backup_id)).files]
    except (OSError, CorruptRecord):
        # pg_verifybackup says what is wrong with it.
        return frozenset(space.oid for space in info.tablespaces)
    spoken_of = {path.split("/", 2)[1] for path in paths if path.startswith(TABLESPACE_LINKS + "/")}
    return frozenset(
        space.oid for space in info.tablespaces if str(space.oid) in spoken_of or _is_empty(layout, info, space)
    )


def _is_empty(layout: Layout, info: BackupInfo, space: Tablespace) -> bool:
    found = os.walk(layout.tablespace_directory(info.backup_id, space.oid))
    return not any(names for _, _, names in found)


def _fill(view: ScratchDirectory, layout: Layout, info: BackupInfo, covered: Collection[int]) -> None:
    data = layout.data_directory(info.backup_id)
    for name in os.listdir(data):
        if name != TABLESPACE_LINKS:
            view.link(os.path.join(data, name), name)
    view.directory(TABLESPACE_LINKS)
    links = os.path.join(data, TABLESPACE_LINKS)
    recorded = {str(space.oid) for space in info.tablespaces}
    for name in os.listdir(links) if os.path.isdir(links) else ():
        # What is no link is a tablespace in place, a part of the data directory.
        if name not in recorded or not os.path.islink(os.path.join(links, name)):
            view.link(os.path.join(links, name), f"{TABLESPACE_LINKS}/{name}")
            recorded.discard(name)
    for oid in sorted(int(name) for name in recorded):
        directory = layout.tablespace_directory(info.backup_id, oid)
        if oid in covered and os.path.isdir(directory):
            view.link(directory, f"{TABLESPACE_LINKS}/{oid}")


def _call(server: Server, argv: list[str], directory: str, reporter: Reporter) -> None:
    done = run(argv, env=server.environment, check=False)
    if done.returncode != 0:
        reporter.error(f"verify backup failure on directory '{directory}'")
        reporter.error(done.error_text.strip() or last_line(done.text))
    else:
        reporter.info(done.text.strip() or "backup successfully verified")
