"""Client programs of PostgreSQL: where they are, which version they have, and their argument vectors."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence

from barman.clock import Deadline
from barman.errors import NotSupportedByServer, TransportError
from barman.postgres.version import PgVersion
from barman.process import find_programs, run
from barman.values import dataclass
from barman.workers import Task

PG_BASEBACKUP = ("pg_basebackup",)
PG_RECEIVEWAL = ("pg_receivewal", "pg_receivexlog")
PG_COMBINEBACKUP = ("pg_combinebackup",)
PG_VERIFYBACKUP = ("pg_verifybackup",)

# Packages install several major versions side by side, where PATH does not look (Debian, PGDG for Red Hat).
_PACKAGE_DIRECTORIES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
_VERSION_SECONDS = 10.0
_PARENTHESES = re.compile(r"\([^)]*\)")

# (path, mtime, size) -> version: one `--version` run per program and process, however many servers ask.
_versions: dict[tuple[str, int, int], Task[PgVersion | None]] = {}
# (path, compression) -> whether a pg_basebackup was built without it.
_missing: dict[tuple[str, str], bool] = {}


@dataclass(frozen=True, slots=True)
class Program:
    """A client program that was found and said its version."""

    path: str
    version: PgVersion

    def serves(self, server: PgVersion) -> bool:
        """Whether it may be used with a server of that version: the client's major must not be older."""
        return _major(server) <= _major(self.version)


def find(names: Sequence[str], search_path: str, *, at_least: PgVersion | None = None) -> Program | None:
    """The program to use: the first working one on the search path, as upstream.

    If that one is missing, or its major version is older than `at_least`, the package directories are searched, and
    the oldest program there that is new enough is taken. Without a fitting one, what the path has is returned, so that
    the caller can tell the user its version; None if there is none at all.
    """
    on_path = _first_working(names, search_path)
    if on_path is not None and (at_least is None or on_path.serves(at_least)):
        return on_path
    packaged = _packaged(names)
    fitting = [program for program in packaged if at_least is None or program.serves(at_least)]
    if fitting:
        return min(fitting, key=lambda program: program.version) if at_least else fitting[-1]
    return on_path or (packaged[-1] if packaged else None)


def find_exact(names: Sequence[str], search_path: str, major: PgVersion) -> Program | None:
    """The program of exactly this major version (pg_combinebackup accepts no other); else what `find` returns."""
    for path in [*find_programs(names, search_path), *_packaged_paths(names)]:
        version = read_version(path)
        if version is not None and _major(version) == _major(major):
            return Program(path, version)
    return find(names, search_path)


def find_pg_basebackup(search_path: str, server: PgVersion | None = None) -> Program | None:
    """pg_basebackup, if possible one that serves `server`."""
    return find(PG_BASEBACKUP, search_path, at_least=server)


def find_pg_receivewal(search_path: str, server: PgVersion | None = None) -> Program | None:
    """pg_receivewal, if possible one that serves `server`."""
    return find(PG_RECEIVEWAL, search_path, at_least=server)


def find_pg_verifybackup(search_path: str, server: PgVersion | None = None) -> Program | None:
    """pg_verifybackup, if possible one that knows the manifests of `server`."""
    return find(PG_VERIFYBACKUP, search_path, at_least=server)


def find_pg_combinebackup(search_path: str, backup: PgVersion) -> Program | None:
    """pg_combinebackup, if possible of the backup's own major version."""
    return find_exact(PG_COMBINEBACKUP, search_path, backup)


def require(program: Program | None, names: Sequence[str], server: PgVersion) -> Program:
    """The program, fit for the server.

    Raises:
        NotSupportedByServer: there is none, or it is too old.
    """
    if program is None:
        raise NotSupportedByServer(
            f"{names[0]} not found",
            hint=_install_hint(server),
        )
    if not program.serves(server):
        raise NotSupportedByServer(
            f"{names[0]} {program.version} ('{program.path}') is too old for PostgreSQL {server}",
            hint=_install_hint(server),
        )
    return program


def _install_hint(server: PgVersion) -> str:
    return f"Install the client programs of PostgreSQL {server.major_text}, or set 'path_prefix' to their directory."


def read_version(path: str) -> PgVersion | None:
    """What the program answers to --version; None if it fails or answers something else. Cached for the process."""
    asked = _ask(path)
    return None if asked is None else asked.result()


def ask_ahead(names: Sequence[str], search_path: str) -> None:
    """Start asking the first program on the path for its version, so that `find` need not wait for it later."""
    for path in find_programs(names, search_path)[:1]:
        _ask(path)


def _ask(path: str) -> Task[PgVersion | None] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    key = (path, status.st_mtime_ns, status.st_size)
    if key not in _versions:
        _versions[key] = Task(lambda: _ask_version(path))
    return _versions[key]


def parse_program_version(text: str) -> PgVersion | None:
    """The version in `pg_receivewal (PostgreSQL) 15.18 (Debian 15.18-1)`: the second word without parentheses."""
    words = _PARENTHESES.sub("", text).split()
    if len(words) < 2:
        return None
    try:
        return PgVersion.parse_text(words[1])
    except ValueError:
        return None


def receivewal_argv(
    program: Program, conninfo: str, directory: str, *, slot_name: str | None = None, synchronous: bool = False
) -> list[str]:
    """`pg_receivewal` that ends when the server goes away (--no-loop): cron starts it again."""
    argv = [program.path, f"--dbname={conninfo}", "--verbose", "--no-loop", "--no-password", f"--directory={directory}"]
    if slot_name:
        argv.append(f"--slot={slot_name}")
    if synchronous:
        argv.append("--synchronous")
    return argv


@dataclass(frozen=True, slots=True)
class BasebackupOptions:
    """What a pg_basebackup run is asked for. `max_rate` is in kB/s; `tablespaces` maps location to destination."""

    directory: str
    tablespaces: Mapping[str, str]
    max_rate: int | None = None
    incremental_manifest: str | None = None
    fast_checkpoint: bool = False
    target_gp_dbid: int | None = None
    compression: Sequence[str] = ()


def basebackup_argv(program: Program, conninfo: str, options: BasebackupOptions) -> list[str]:
    """`pg_basebackup` without WAL: what it needs arrives through the archive."""
    argv = [program.path, f"--dbname={conninfo}", "-v", "--no-password", f"--pgdata={options.directory}"]
    if options.target_gp_dbid is not None:
        argv.append(f"--target-gp-dbid={options.target_gp_dbid}")
    if program.version >= PgVersion(100000):
        argv += ["--no-slot", "--wal-method=none"]
    argv += [
        f"--tablespace-mapping={_escape_mapping(location)}={_escape_mapping(destination)}"
        for location, destination in options.tablespaces.items()
    ]
    if options.max_rate:
        argv.append(f"--max-rate={options.max_rate}")
    if options.incremental_manifest:
        argv.append(f"--incremental={options.incremental_manifest}")
    if options.fast_checkpoint:
        argv.append("--checkpoint=fast")
    return [*argv, *options.compression]


def basebackup_compression(
    program: Program, method: str, *, level: int | None, workers: int | None, location: str | None, plain: bool
) -> list[str]:
    """The compression arguments; a client before 15 knows only gzip on its own side.

    Args:
        program: the client.
        method: gzip, lz4, zstd or none.
        level: the level; None for the method's own default.
        workers: threads of zstd.
        location: client or server; None lets pg_basebackup decide.
        plain: unpack on arrival instead of keeping a tar.
    """
    argv = [f"--format={'plain' if plain else 'tar'}"]
    if program.version >= PgVersion(150000):
        detail = [f"level={level}"] if level is not None else []
        detail += [f"workers={workers}"] if workers is not None else []
        where = f"{location}-" if location and method != "none" else ""
        return [*argv, f"--compress={where}{method}" + (f":{','.join(detail)}" if detail else "")]
    if method == "none":
        return [*argv, "--compress=0"]
    return [*argv, *([f"--compress={level}"] if level is not None else []), "--gzip"]


def missing_compression(program: Program, method: str) -> bool:
    """Whether pg_basebackup was built without this compression: it says so before it looks for a server."""
    if program.version < PgVersion(150000):
        return method != "gzip"
    key = (program.path, method)
    if key not in _missing:
        argv = [program.path, "--pgdata=-", "--format=tar", "--wal-method=none", "--no-password"]
        argv += [f"--compress=client-{method}", "--dbname=host=/nonexistent"]
        try:
            done = run(argv, env={**os.environ, "LC_ALL": "C"}, check=False, deadline=Deadline(_VERSION_SECONDS))
        except TransportError:
            return False
        _missing[key] = "this build does not support compression" in done.error_text
    return _missing[key]


def combinebackup_argv(
    program: Program,
    chain: Sequence[str],
    output: str,
    *,
    tablespaces: Mapping[str, str],
    copy_mode: str = "copy",
    sync: bool = True,
) -> list[str]:
    """`pg_combinebackup` of `chain` (root first) into `output`; `tablespaces` maps directories of the leaf.

    Without `sync` the result is not durable when it ends.
    """
    argv = [program.path, f"--output={output}"]
    argv += [
        f"--tablespace-mapping={_escape_mapping(source)}={_escape_mapping(target)}"
        for source, target in tablespaces.items()
    ]
    return [*argv, *([] if sync else ["--no-sync"]), f"--{copy_mode}", *chain]


def verifybackup_argv(program: Program, directory: str) -> list[str]:
    """`pg_verifybackup` of a plain backup, without its WAL."""
    return [program.path, "-n", directory]


def _escape_mapping(path: str) -> str:
    """Inside a mapping only `=` is escaped (pg_basebackup.c, tablespace_list_append)."""
    return path.replace("=", "\\=")


def _major(version: PgVersion) -> int:
    return version.number // 10000 * 100 if version.number >= 100000 else version.number // 100


def _first_working(names: Sequence[str], search_path: str) -> Program | None:
    for path in find_programs(names, search_path):
        version = read_version(path)  # a wrapper without the real program behind it fails here, and is skipped
        if version is not None:
            return Program(path, version)
    return None


def _packaged_paths(names: Sequence[str]) -> list[str]:
    directories = [directory for pattern in _PACKAGE_DIRECTORIES for directory in glob.glob(pattern)]
    return find_programs(names, ":".join(directories)) if directories else []


def _packaged(names: Sequence[str]) -> list[Program]:
    """Working programs in the package directories, oldest first."""
    found = [(read_version(path), path) for path in _packaged_paths(names)]
    return sorted(
        (Program(path, version) for version, path in found if version is not None), key=lambda program: program.version
    )


def _ask_version(path: str) -> PgVersion | None:
    try:
        done = run([path, "--version"], deadline=Deadline(_VERSION_SECONDS))
    except TransportError:
        return None
    return parse_program_version(done.text)
