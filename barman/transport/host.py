"""A host as services see it: commands, files, and how rsync gets there."""

from __future__ import annotations

import os
import threading

from barman import process
from barman.errors import CommandFailed
from barman.logs import Log
from barman.transport.files import Files, LocalFiles, RemoteFiles
from barman.transport.local import LocalRunner
from barman.transport.openssh import NO_QUESTIONS, OpenSshRunner
from barman.transport.rsync import remote_shell
from barman.transport.ssh_command import NotUnderstood, parse_ssh_command, read_resolved, split_ssh_command
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.clock import Deadline
    from barman.transport.runner import CommandRunner
    from barman.transport.ssh_command import SshTarget

_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Host:
    """Where commands run and files are. `close()` ends its connections; they are opened again when needed."""

    runner: CommandRunner
    files: Files
    rsync_shell: str | None
    """The value of rsync's `-e`; None for this host."""
    link: CommandRunner
    """What rsync itself uses: OpenSSH verbatim, or this host. For probes of the way that data will take."""

    @property
    def is_local(self) -> bool:
        """Tell whether this is the host we run on."""
        return self.rsync_shell is None

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
    return Host(runner=runner, files=LocalFiles(), rsync_shell=None, link=runner)


def ssh_host(command: str, environment: Mapping[str, str] | None = None) -> Host:
    """Return the host that an ssh command leads to; nothing is connected yet. Raises TransportError for no command."""
    runner = SshRunner(command, environment)
    shell = remote_shell([*split_ssh_command(command), *NO_QUESTIONS])
    return Host(runner=runner, files=RemoteFiles(runner), rsync_shell=shell, link=OpenSshRunner(command, environment))


class SshRunner:
    """Runs commands over one connection when it is certain what ssh would do, else through ssh itself.

    The choice is made by the first command and kept. `chosen` and `reason` tell what it was and why.
    """

    def __init__(self, command: str, environment: Mapping[str, str] | None = None) -> None:
        self.command = command
        self.reason = ""
        self._environment = environment
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
        target = resolve_target(self.command, self._environment, deadline)
        try:
            from barman.transport.paramiko_ssh import ParamikoRunner
        except ImportError as error:
            raise NotUnderstood(f"paramiko cannot be used: {error}") from error
        runner = ParamikoRunner(target, self.command)
        runner.connect(deadline)
        self._connected = runner
        return runner


def resolve_target(
    command: str, environment: Mapping[str, str] | None = None, deadline: Deadline | None = None
) -> SshTarget:
    """Ask ssh what it would do for this command. Raises NotUnderstood, DeadlineExceeded."""
    parsed = parse_ssh_command(command)
    try:
        done = process.run(parsed.resolve_argv, env=environment, deadline=deadline)
    except CommandFailed as error:
        raise NotUnderstood(error.message) from error
    agent = (os.environ if environment is None else environment).get("SSH_AUTH_SOCK")
    return read_resolved(done.text, _expand_home, agent)


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
