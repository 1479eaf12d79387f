"""Run rsync: its argument vector, what its exit status means, what it prints, and when to try again.

The remote end is always reached through OpenSSH (`-e`); the receiving and sending rsync may be as old as 3.1.
See rsync(1), EXIT VALUES and --out-format.
"""

from __future__ import annotations

import os
import re
import threading
from enum import Enum

from barman.errors import CommandFailed, DeadlineExceeded
from barman.process import Child, describe_status, last_line
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barman.clock import Deadline
    from barman.transport.runner import CommandRunner

BACKUP_FLAGS = "-rLKpts"
"""Follow links and copy what they point to, keep permissions and times, not owners; arguments reach the remote rsync
unharmed (`-s`)."""
NAMED_FILES_FLAGS = "-LKpts"
"""The same for exactly the given names: nothing below a named directory goes along."""
TREE_FLAGS = "-rlpts"
"""Keep links as links, permissions and times."""

MINIMUM_VERSION = (3, 1)
"""The oldest rsync with `--ignore-missing-args`."""

_VERSION = re.compile(r"rsync\s+version\s+v?(\d+)\.(\d+)(?:\.(\d+))?", re.IGNORECASE)
_FORMAT = "%i %l %b %n"
_ITEM = re.compile(r"([<>ch.*][a-zA-Z].{9}) (\d+) (\d+) (.*)\Z", re.DOTALL)
_ESCAPE = re.compile(r"\\#([0-7]{3})")
_VANISHED = re.compile(r"(?:file|directory) has vanished: \"(.*?)\"")
# Lines that may stand beside vanished files in an end with status 23: the summary, and an extended attribute or file
# that went away between two system calls (ENODATA).
_HARMLESS = re.compile(r"rsync (?:error|warning): .*\(code 2[34]\)|.*No data available \(61\)")
_STDERR_LIMIT = 200

_NOT_FOUND = re.compile(r"rsync: (?:command )?not found|rsync: No such file or directory|code 127|unexpected.*\(127\)")
_TRANSIENT = frozenset((10, 12, 30, 35, 255))
_MEANINGS = {
    1: "syntax or usage error",
    2: "the two rsyncs do not understand each other",
    3: "errors selecting input or output files",
    5: "error starting the protocol",
    10: "network error",
    11: "file error",
    12: "the connection broke",
    20: "it was interrupted",
    22: "out of memory",
    23: "some files could not be copied",
    25: "too many deletions",
    30: "the other side did not answer in time",
    35: "the other side did not accept the connection in time",
    127: "rsync is not installed",
    255: "ssh failed",
}


def remote_shell(words: Sequence[str]) -> str:
    """Return the value of `-e` that rsync splits into exactly these words: a quote inside quotes is doubled."""
    return " ".join("'" + word.replace("'", "''") + "'" for word in words)


def include(pattern: str) -> str:
    """Return the filter rule that includes what matches."""
    return f"+ {pattern}"


def exclude(pattern: str) -> str:
    """Return the filter rule that leaves out what matches on the source, and (with delete) removes it from the copy."""
    return f"- {pattern}"


def protect(pattern: str) -> str:
    """Return the filter rule that keeps what matches at the destination from being deleted."""
    return f"P {pattern}"


def literal(path: str) -> str:
    """Return the pattern that matches one path only."""
    if not any(letter in path for letter in "*?["):
        return path  # rsync reads backslashes as escapes only in patterns with a wildcard
    return re.sub(r"([\\*?\[])", r"\\\1", path)


@dataclass(frozen=True, slots=True)
class RsyncJob:
    """One run of rsync. Paths are absolute; a remote one begins with `:` (`Host.rsync_path`) and needs `shell`."""

    source: str
    destination: str
    shell: str | None = None
    flags: str = BACKUP_FLAGS
    filters: tuple[str, ...] = ()
    """Rules in rsync's own words and order: `include`, `exclude`, `protect`."""
    names: tuple[str, ...] | None = None
    """Exactly these files are copied, relative to the source; flags are then NAMED_FILES_FLAGS."""
    reuse: str | None = None
    """`link` or `copy`: take unchanged files from `reference`."""
    reference: str | None = None
    checksum: bool = False
    """Compare contents instead of size and time."""
    delete: bool = False
    """Delete from the destination what the source does not have, excluded files too."""
    inplace: bool = True
    ignore_missing: bool = True
    """A named file that does not exist is no error."""
    compress: bool = False
    bandwidth_limit: int | None = None
    """Kilobytes a second, of this process."""
    silence_seconds: int = 0
    """Give up when nothing moves for so long; 0 waits for ever."""
    extra: tuple[str, ...] = ()
    label: str = ""
    """What the job is, for messages."""

    def argv(self, program: str = "rsync") -> list[str]:
        """Return the argument vector."""
        switches = {
            "-z": self.compress,
            "--checksum": self.checksum,
            "--inplace": self.inplace,
            "--ignore-missing-args": self.ignore_missing,
        }
        return [
            program,
            *(("-e", self.shell) if self.shell else ()),
            self.flags,
            *(name for name, wanted in switches.items() if wanted),
            *(("--delete", "--delete-excluded") if self.delete else ()),
            *(f"--filter={rule}" for rule in self.filters),
            *((f"--{self.reuse}-dest={self.reference}",) if self.reuse and self.reference else ()),
            *(("--files-from=-", "--from0", "--no-implied-dirs") if self.names is not None else ()),
            *((f"--bwlimit={self.bandwidth_limit}",) if self.bandwidth_limit else ()),
            *((f"--timeout={self.silence_seconds}",) if self.silence_seconds else ()),
            f"--out-format={_FORMAT}",
            "--no-human-readable",
            *self.extra,
            "--",
            self.source,
            self.destination,
        ]

    @property
    def stdin(self) -> bytes | None:
        """Return what rsync reads: the names."""
        return None if self.names is None else b"".join(os.fsencode(name) + b"\0" for name in self.names)

    @property
    def description(self) -> str:
        """Name the job for messages."""
        return self.label or f"{self.source} to {self.destination}"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of what rsync did: the eleven letters of --itemize-changes, size, bytes that travelled, and name."""

    code: str
    size: int
    travelled: int
    name: str

    @property
    def is_file_copied(self) -> bool:
        """Tell whether content of a file was transferred."""
        return self.code[0] in "<>" and self.code[1] == "f"

    @property
    def is_deleted(self) -> bool:
        """Tell whether the path was removed from the destination."""
        return self.code.startswith("*deleting")


def parse_item(line: str) -> Item | None:
    """Read a line of output; None for anything that is not about one path."""
    match = _ITEM.match(line)
    if match is None:
        return None
    name = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), match[4])
    return Item(match[1].rstrip(), int(match[2]), int(match[3]), name)


class Ending(Enum):
    """What an exit status of rsync means for the copy."""

    GOOD = "good"
    TRANSIENT = "transient"
    """It may go better next time: network, ssh, a peer that went away."""
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of an ending, in words, with the files that vanished while they were copied."""

    ending: Ending
    reason: str = ""
    hint: str = ""
    vanished: tuple[str, ...] = ()


def judge(returncode: int, stderr: str) -> Verdict:
    """Say what an exit status means. Good: 0, 24, and 23 when only files that vanished are complained about."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    vanished = tuple(match[1] for line in lines if (match := _VANISHED.search(line)))
    if returncode in (0, 24):
        return Verdict(Ending.GOOD, vanished=vanished)
    if returncode == 23:
        others = [line for line in lines if not _VANISHED.search(line) and not _HARMLESS.match(line)]
        if not others and vanished:
            return Verdict(Ending.GOOD, vanished=vanished)
        return Verdict(Ending.FATAL, _reason(returncode, others[0] if others else last_line(stderr)))
    cause = _reason(returncode, _cause(lines))
    if returncode == 127 or _NOT_FOUND.search(stderr):
        return Verdict(Ending.FATAL, cause, "Install rsync on both hosts, or put its directory into path_prefix.")
    if "No space left on device" in stderr or "Disk quota exceeded" in stderr:
        return Verdict(Ending.FATAL, cause, "Make room at the destination and run the command again.")
    if "unknown option" in stderr:
        return Verdict(Ending.FATAL, cause, "Install rsync 3.1 or later on both hosts.")
    if "shell clean" in stderr:
        hint = "The start-up files of the remote shell must print nothing when no terminal is there."
        return Verdict(Ending.FATAL, cause, hint)
    return Verdict(Ending.TRANSIENT if returncode in _TRANSIENT else Ending.FATAL, cause)


def _cause(lines: Sequence[str]) -> str:
    """Return the line that says why: what comes before rsync's summary, which only counts bytes and line numbers."""
    telling = [
        line
        for line in lines
        # That the other side went away is what became of its own failure, which it has told.
        if not line.startswith(("rsync error:", "rsync: connection unexpectedly")) and "error: Broken pipe" not in line
    ]
    chosen = telling or list(lines)
    return chosen[-1] if chosen else "no message"


def _reason(returncode: int, cause: str) -> str:
    meaning = _MEANINGS.get(returncode)
    status = describe_status(returncode)
    return f"{status} ({meaning}): {cause}" if meaning else f"{status}: {cause}"


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What one job did: files whose content travelled, their bytes, files that vanished, attempts needed."""

    files: int
    travelled: int
    vanished: tuple[str, ...]
    attempts: int


class RsyncCopy:
    """One job being run; `cancel` may be called by any thread."""

    def __init__(
        self,
        job: RsyncJob,
        *,
        program: str = "rsync",
        launcher: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        on_item: Callable[[Item], None] | None = None,
    ) -> None:
        """Get ready to run a job; `launcher` is a command that becomes the program, whose words follow its own."""
        self.job = job
        self._program = program
        self._launcher = tuple(launcher)
        self._environment = environment
        self._on_item = on_item
        self._cancelled = threading.Event()
        self._child: Child | None = None
        self._files = 0
        self._travelled = 0

    def run(self, *, retries: int = 0, pause: float = 30.0, deadline: Deadline | None = None) -> CopyResult:
        """Copy, again after `pause` seconds when the failure may pass, at most `retries` times.

        Raises CommandFailed with rsync's own reason, DeadlineExceeded after ending rsync.
        """
        for attempt in range(1, retries + 2):
            if self._cancelled.is_set():
                break
            self._files = self._travelled = 0
            returncode, stderr = self._once(deadline)
            if self._cancelled.is_set():
                break
            verdict = judge(returncode, stderr)
            if verdict.ending is Ending.GOOD:
                return CopyResult(self._files, self._travelled, verdict.vanished, attempt)
            if verdict.ending is Ending.FATAL or attempt > retries:
                tries = "" if attempt == 1 else f" (attempt {attempt})"
                raise CommandFailed(
                    f"rsync of {self.job.description} ended with {verdict.reason}{tries}",
                    hint=verdict.hint,
                    returncode=returncode,
                    stderr=stderr,
                )
            left = deadline.remaining() if deadline else None
            if self._cancelled.wait(pause if left is None else min(pause, left)):
                break
        raise CommandFailed(f"rsync of {self.job.description} was cancelled", returncode=20)

    def cancel(self) -> None:
        """End rsync if it runs, and let it not run again."""
        self._cancelled.set()
        child = self._child
        if child is not None:
            child.terminate()

    def _once(self, deadline: Deadline | None) -> tuple[int, str]:
        errors: list[str] = []

        def on_error(line: str) -> None:
            if len(errors) < _STDERR_LIMIT:
                errors.append(line)
            else:
                errors[-1] = line

        with Child(
            [*self._launcher, *self.job.argv(self._program)],
            env=self._environment,
            on_stdout=self._on_line,
            on_stderr=on_error,
            stdin=self.job.stdin,
        ) as child:
            self._child = child
            if self._cancelled.is_set():
                child.terminate()
            try:
                returncode = child.wait(deadline)
            except DeadlineExceeded as error:
                raise DeadlineExceeded(f"rsync of {self.job.description}: {error.message}") from error
            finally:
                self._child = None
        return returncode, "\n".join(errors)

    def _on_line(self, line: str) -> None:
        item = parse_item(line)
        if item is None:
            return
        if item.is_file_copied:
            self._files += 1
            self._travelled += item.travelled
        if self._on_item is not None:
            self._on_item(item)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Read what `rsync --version` prints; None when it is no rsync, or one that only says it is compatible."""
    match = None if "openrsync" in text else _VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def find_rsync_version(
    runner: CommandRunner, deadline: Deadline | None = None, program: str = "rsync"
) -> tuple[int, int, int]:
    """Return the version of rsync on a host. Raises CommandFailed when there is none, or one that is too old."""
    done = runner.run([program, "--version"], deadline=deadline, check=False, doing="looking for rsync")
    version = parse_version(done.text) if done.returncode == 0 else None
    if version is None:
        said = last_line(done.error_text or done.text)
        raise CommandFailed(
            f"no usable rsync on {runner.description}: {said}",
            hint="Install rsync there.",
            returncode=done.returncode,
            stderr=done.error_text,
        )
    if version < MINIMUM_VERSION:
        shown = ".".join(map(str, version))
        raise CommandFailed(f"rsync {shown} on {runner.description} is too old", hint="Install rsync 3.1 or later.")
    return version
