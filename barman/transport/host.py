"""A host as services see it: commands, files, and how rsync gets there."""

from __future__ import annotations

import os
import threading

from barman import process
from barman.clock import Deadline
from barman.errors import CommandFailed, TransportError
from barman.logs import Log
from barman.transport.files import Files, LocalFiles, RemoteFiles
from barman.transport.local import LocalRunner
from barman.transport.openssh import NO_QUESTIONS, OpenSshRunner
from barman.transport.rsync import remote_shell
from barman.transport.ssh_command import (
    NotUnderstood,
    parse_ssh_command,
    prefer_fast_cipher,
    read_ciphers,
    read_resolved,
    split_ssh_command,
)
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barman.transport.runner import CommandRunner
    from barman.transport.ssh_command import SshTarget

_log = Log(__name__)
_ASK_SECONDS = 10.0
_FLAG_KEYS = ("flags", "Features")  # x86, ARM


@dataclass(frozen=True, slots=True)
class Host:
    """Where commands run and files are. `close()` ends its connections; they are opened again when needed."""

    runner: CommandRunner
    files: Files
    shell: Callable[[], str] | None
    """Makes the value of rsync's `-e`; None for this host."""
    link: CommandRunner
    """What rsync itself uses: OpenSSH verbatim, or this host. For probes of the way that data will take."""

    @property
    def is_local(self) -> bool:
        """Tell whether this is the host we run on."""
        return self.shell is None

    @property
    def rsync_shell(self) -> str | None:
        """Return the value of rsync's `-e`; None for this host. The first call may ask ssh what it would do."""
        return None if self.shell is None else self.shell()

    @property
    def description(self) -> str:
        """Name the host for messages."""
        return self.runner.description

    def rsync_path(self, path: str) -> str:
        """Return a path as an argument of rsync: `:path` on another host, which the remote shell command names."""
        return path if self.is_local else f":{path}"

    def close(self) -> None:
        """End the connections."""
        self.runner.close()
        self.link.close()


def local_host(environment: Mapping[str, str] | None = None) -> Host:
    """Return this host; `environment` is that of its child programs."""
    runner = LocalRunner(environment)
    return Host(runner=runner, files=LocalFiles(), shell=None, link=runner)


def ssh_host(command: str, environment: Mapping[str, str] | None = None) -> Host:
    """Return the host that an ssh command leads to; nothing is connected yet. Raises TransportError for no command."""
    words = split_ssh_command(command)
    resolution = Resolution(command, environment)
    runner = SshRunner(command, environment, resolution)

    def shell() -> str:
        return remote_shell([*words, *NO_QUESTIONS, *resolution.preferences()])

    return Host(runner=runner, files=RemoteFiles(runner), shell=shell, link=OpenSshRunner(command, environment))


class Resolution:
    """What ssh would do for a command, asked once and remembered."""

    def __init__(self, command: str, environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._environment = environment
        self._answer: str | None = None
        self._reason: NotUnderstood | None = None
        self._lock = threading.Lock()

    def target(self, deadline: Deadline | None = None) -> SshTarget:
        """Return where ssh would connect, and how. Raises NotUnderstood, DeadlineExceeded."""
        agent = (os.environ if self._environment is None else self._environment).get("SSH_AUTH_SOCK")
        return read_resolved(self._ask(deadline), _expand_home, agent)

    def preferences(self) -> tuple[str, ...]:
        """Return options for connections that carry much: none where ciphers were chosen by somebody."""
        try:
            return prefer_fast_cipher(read_ciphers(self._ask(Deadline(_ASK_SECONDS))), _processor_flags())
        except TransportError:
            return ()

    def _ask(self, deadline: Deadline | None) -> str:
        with self._lock:
            if self._reason is not None:
                raise self._reason
            if self._answer is None:
                try:
                    argv = parse_ssh_command(self._command).resolve_argv
                    self._answer = process.run(argv, env=self._environment, deadline=deadline).text
                except NotUnderstood as error:
                    self._reason = error
                    raise
                except CommandFailed as error:
                    self._reason = NotUnderstood(error.message)
                    raise self._reason from error
            return self._answer


def _processor_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lines = (line.partition(":") for line in file)
            return next((frozenset(words.split()) for key, _, words in lines if key.strip() in _FLAG_KEYS), frozenset())
    except OSError:
        return frozenset()


class SshRunner:
    """Runs commands over one connection when it is certain what ssh would do, else through ssh itself.

    The choice is made by the first command and kept. `chosen` and `reason` tell what it was and why.
    """

    def __init__(
        self, command: str, environment: Mapping[str, str] | None = None, resolution: Resolution | None = None
    ) -> None:
        self.command = command
        self.reason = ""
        self._resolution = resolution or Resolution(command, environment)
        self._openssh = OpenSshRunner(command, environment)
        self._chosen: CommandRunner | None = None
        self._connected: CommandRunner | None = None
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Return the ssh command."""
        return self.command

    def chosen(self, deadline: Deadline | None = None) -> CommandRunner:
        """Return the runner that is used, after connecting. Raises Unreachable, DeadlineExceeded."""
        with self._lock:
            if self._chosen is None:
                try:
                    self._chosen = self._connect(deadline)
                except NotUnderstood as error:
                    self._use_openssh(error)
            assert self._chosen is not None
            return self._chosen

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        deadline: Deadline | None = None,
        check: bool = True,
        doing: str = "",
    ) -> process.Completed:
        """Run a command; see CommandRunner.run."""
        runner = self.chosen(deadline)
        try:
            return runner.run(argv, stdin=stdin, deadline=deadline, check=check, doing=doing)
        except NotUnderstood as error:
            # The connection had to be opened again, or sshd allows no second command on it: nothing has run yet.
            with self._lock:
                self._use_openssh(error)
            return self._openssh.run(argv, stdin=stdin, deadline=deadline, check=check, doing=doing)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._connected is not None:
                self._connected.close()

    def _use_openssh(self, error: NotUnderstood) -> None:
        _log.debug("control commands of '%s' go through OpenSSH: %s", self.command, error.message)
        self.reason = error.message
        self._chosen = self._openssh

    def _connect(self, deadline: Deadline | None) -> CommandRunner:
        target = self._resolution.target(deadline)
        try:
            from barman.transport.paramiko_ssh import ParamikoRunner
        except ImportError as error:
            raise NotUnderstood(f"paramiko cannot be used: {error}") from error
        runner = ParamikoRunner(target, self.command)
        runner.connect(deadline)
        self._connected = runner
        return runner


def _expand_home(path: str) -> str:
    """Replace a leading `~` as ssh does: by the home directory of the account, whatever HOME says."""
    if not path.startswith("~"):
        return path
    import pwd

    name, _, rest = path[1:].partition("/")
    try:
        home = (pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())).pw_dir
    except KeyError as error:
        raise NotUnderstood(f"path '{path}' in the configuration of ssh") from error
    return os.path.join(home, rest)
