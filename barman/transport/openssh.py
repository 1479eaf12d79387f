"""Commands on another host through the configured ssh command, verbatim: always right, a connection each."""

from __future__ import annotations

from barman import process
from barman.errors import CommandFailed, DeadlineExceeded, Unreachable
from barman.transport.runner import SSH_FAILED, activity, remote_line
from barman.transport.ssh_command import split_ssh_command
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.clock import Deadline

NO_QUESTIONS = ("-o", "BatchMode=yes")
"""Added to every ssh command: ssh fails instead of asking for a password or whether to trust a key."""

# What ssh prints → what an operator can do about it. `{command}` is the ssh command as it is configured.
_HINTS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The host showed another key than known_hosts lists: it was re-installed, or somebody is in between. Compare "
        "fingerprints on the host itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then remove the old key "
        "with 'ssh-keygen -R HOST' and accept the new one with '{command} true'.",
    ),
    (
        "Host key verification failed",
        "The key of the host is not in known_hosts. Run '{command} true' once as this user, compare the fingerprint "
        "with that of the host, and accept it.",
    ),
    (
        "Permission denied (",
        "The host accepts none of this user's keys. Add the public key of this user to authorized_keys there "
        "(ssh-copy-id), and try '{command} -v true'.",
    ),
    ("Connection refused", "No sshd listens there: check host, port, and that sshd runs."),
    ("Could not resolve hostname", "Check the name of the host in the ssh command, or name resolution on this host."),
    ("Connection timed out", "Check the network and the firewalls on the way, then try '{command} true'."),
    ("No route to host", "Check the network and the firewalls on the way, then try '{command} true'."),
)


class OpenSshRunner:
    """Runs commands with an ssh command verbatim, plus BatchMode; see CommandRunner for the contract."""

    def __init__(self, command: str, environment: Mapping[str, str] | None = None) -> None:
        self.command = command
        self._prefix = (*split_ssh_command(command), *NO_QUESTIONS)
        self._environment = environment

    @property
    def description(self) -> str:
        """Return the ssh command."""
        return self.command

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        deadline: Deadline | None = None,
        check: bool = True,
        doing: str = "",
    ) -> process.Completed:
        """Run a command; see CommandRunner.run. Status 255 always means that ssh itself failed."""
        what = activity(argv, doing)
        command = [*self._prefix, remote_line(argv)]
        try:
            done = process.run(command, env=self._environment, stdin=stdin, deadline=deadline, check=False)
        except DeadlineExceeded as error:
            seconds = deadline.seconds if deadline else None
            raise DeadlineExceeded(
                f"'{self.command}' did not answer within {seconds:g} seconds while {what}"
            ) from error
        except CommandFailed as error:
            raise Unreachable(f"{error.message}, while {what}", hint="Check ssh_command and path_prefix.") from error
        if done.returncode == SSH_FAILED or done.returncode < 0:
            raise unreachable(self.command, what, done)
        done = process.Completed(argv, done.returncode, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise failed(self.command, what, done)
        return done

    def close(self) -> None:
        """Nothing is held."""


def unreachable(command: str, what: str, done: process.Completed) -> Unreachable:
    """Return the error for an ssh that failed by itself."""
    text = done.error_text
    hint = next((hint for sign, hint in _HINTS if sign in text), "Try '{command} -v true' as this user.")
    reason = process.last_line(text)
    if done.returncode < 0:
        reason = f"ssh ended with {process.describe_status(done.returncode)}"
    return Unreachable(
        f"'{command}' failed while {what}: {reason}",
        hint=hint.format(command=command),
        reason=reason,
        returncode=done.returncode,
    )


def failed(description: str, what: str, done: process.Completed) -> CommandFailed:
    """Return the error for a remote command that ended with a status of its own."""
    status = process.describe_status(done.returncode)
    return CommandFailed(
        f"'{description}' failed while {what}: {status}: {process.last_line(done.error_text)}",
        returncode=done.returncode,
        stderr=done.error_text,
    )
