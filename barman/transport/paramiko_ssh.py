"""Commands on another host over one connection, a channel each: the only module that knows paramiko.

It is a faster way to do what OpenSSH would do, never a second opinion: whatever only OpenSSH can judge (keys with
passphrases, certificates, algorithms, hosts that are not in known_hosts) raises NotUnderstood. Only a host key that
differs from the listed ones is refused here, because OpenSSH would refuse it too.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import warnings

from barman import process
from barman.clock import Deadline, sleep
from barman.errors import DeadlineExceeded, Unreachable
from barman.transport.known_hosts import HostKeys, find_host_keys
from barman.transport.openssh import failed
from barman.transport.runner import SSH_FAILED, activity, remote_line
from barman.transport.ssh_command import NotUnderstood
from barman.typing import TYPE_CHECKING, Any

# What paramiko and cryptography have to say about old algorithms is nothing that an operator could act on.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from barman.transport.ssh_command import SshTarget

_KEEPALIVE_SECONDS = 15
_DEAD_AFTER_KEEPALIVES = 3
_CHANNELS = 8  # sshd's MaxSessions is 10 unless configured
_CHANNEL_PATIENCE = 3.0
_PIECE = 256 * 1024
_SMALL_INPUT = 64 * 1024  # fits the window that any sshd grants at once
_RSA_SIGNATURES = frozenset(("rsa-sha2-256", "rsa-sha2-512"))
_KEY_CLASSES: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class ParamikoRunner:
    """Runs commands over one connection that is opened by the first command; see CommandRunner for the contract.

    Besides the contract's errors, `connect` and `run` raise NotUnderstood as long as nothing has run.
    """

    def __init__(self, target: SshTarget, description: str) -> None:
        self.target = target
        self._description = description
        self._lock = threading.Lock()
        self._channels = threading.BoundedSemaphore(_CHANNELS)
        self._transport: paramiko.Transport | None = None

    @property
    def description(self) -> str:
        """Return the ssh command."""
        return self._description

    def connect(self, deadline: Deadline | None = None) -> None:
        """Open the connection unless it is open. Raises NotUnderstood, Unreachable, DeadlineExceeded."""
        self._connected(deadline or Deadline(None))

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
        what = activity(argv, doing)
        line = remote_line(argv)
        limit = deadline or Deadline(None)
        transport = self._connected(limit)
        with self._channels:
            returncode, stdout, stderr = _Command(
                transport, self._description, what, limit, self.target.environment
            ).run(line, stdin)
        done = process.Completed(argv, returncode, stdout, stderr)
        if returncode == SSH_FAILED:
            # The same meaning as with OpenSSH, where nobody can tell.
            raise Unreachable(f"'{self._description}' failed while {what}: {process.last_line(done.error_text)}")
        if check and returncode != 0:
            raise failed(self._description, what, done)
        return done

    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def _connected(self, deadline: Deadline) -> paramiko.Transport:
        with self._lock:
            if self._transport is None or not self._transport.is_active():
                if self._transport is not None:
                    self._transport.close()
                    self._transport = None
                self._transport = _open(self.target, self._description, deadline)
            return self._transport


# -- connecting ------------------------------------------------------------------------------------------------------


def _open(target: SshTarget, description: str, deadline: Deadline) -> paramiko.Transport:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # every error of it is raised here as ours
    left = deadline.remaining()
    seconds = target.connect_seconds if left is None else min(left, target.connect_seconds)
    limit = Deadline(seconds)
    host_keys = find_host_keys(_texts(target.known_hosts_files), target.host_key_names)
    if not host_keys:
        raise NotUnderstood(f"no key of {target.host_key_names[0]} in known_hosts")
    transport = None
    try:
        transport = paramiko.Transport(_socket(target, limit))
        _limit_algorithms(transport, target, host_keys)
        transport.use_compression(target.compression)
        transport.start_client(timeout=limit.remaining())
        if limit.expired:
            raise TimeoutError
        _judge_host_key(transport, target, host_keys)
        transport.auth_timeout = transport.channel_timeout = limit.remaining() or seconds
        _authenticate(transport, target)
        transport.set_keepalive(target.keepalive_seconds or _KEEPALIVE_SECONDS)
        transport.channel_timeout = target.connect_seconds
    except BaseException as error:
        if transport is not None:
            transport.close()
        raise _connect_failure(error, description, deadline, seconds) from error
    return transport


def _connect_failure(error: BaseException, description: str, deadline: Deadline, seconds: float) -> BaseException:
    if isinstance(error, TimeoutError):
        text = f"'{description}' did not connect within {seconds:g} seconds"
        return DeadlineExceeded(text) if deadline.expired else Unreachable(text, hint="Check the network and the host.")
    if isinstance(error, OSError):
        return Unreachable(
            f"'{description}' cannot connect: {error.strerror or error}",
            hint=f"Check that the host is up and sshd runs, then try '{description} true'.",
        )
    if isinstance(error, paramiko.SSHException | EOFError | ValueError):
        return NotUnderstood(f"paramiko: {error or type(error).__name__}")
    return error


def _socket(target: SshTarget, limit: Deadline) -> socket.socket:
    connection = socket.create_connection((target.hostname, target.port), timeout=limit.remaining())
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Keepalives that nobody acknowledges end the connection, instead of the half hour that TCP would wait.
        patience = (target.keepalive_seconds or _KEEPALIVE_SECONDS) * _DEAD_AFTER_KEEPALIVES
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience * 1000)
    return connection


def _texts(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NotUnderstood(f"cannot read '{path}': {error.strerror}") from error


def _limit_algorithms(transport: paramiko.Transport, target: SshTarget, host_keys: HostKeys) -> None:
    """Offer what ssh would offer, in its order, as far as paramiko knows it; host keys only of the listed types."""
    options = transport.get_security_options()
    listed = host_keys.types | (_RSA_SIGNATURES if "ssh-rsa" in host_keys.types else frozenset())
    key_types = [name for name in target.host_key_algorithms if name in listed]
    options.key_types = _known("host key algorithm", key_types, options.key_types)
    options.ciphers = _known("cipher", target.ciphers, options.ciphers)
    options.digests = _known("mac", target.macs, options.digests)
    options.kex = _known("key exchange", target.kex_algorithms, options.kex)


def _known(what: str, wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    common = tuple(name for name in wanted if name in known)
    if not common:
        raise NotUnderstood(f"no common {what}")
    return common


def _judge_host_key(transport: paramiko.Transport, target: SshTarget, host_keys: HostKeys) -> None:
    shown = transport.get_remote_server_key()
    if (shown.get_name(), shown.asbytes()) not in host_keys:
        name = target.host_key_names[0]
        raise Unreachable(
            f"the host key of {name} is not the one in known_hosts ({shown.get_name()} {_fingerprint(shown)})",
            hint="The host was re-installed, or somebody is in between. Compare the fingerprint on the host itself "
            f"(ssh-keygen -lf), then remove the old key with 'ssh-keygen -R {name}' and accept the new one.",
        )


def _fingerprint(key: paramiko.PKey) -> str:
    import base64
    import hashlib

    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _authenticate(transport: paramiko.Transport, target: SshTarget) -> None:
    for path in target.identity_files:
        if os.path.exists(f"{path}-cert.pub"):
            raise NotUnderstood(f"certificate {path}-cert.pub")
    agent = paramiko.Agent() if target.use_agent else None
    try:
        for key in _keys(target, agent):
            try:
                if not transport.auth_publickey(target.user, key):
                    return
            except paramiko.BadAuthenticationType:
                raise
            except paramiko.AuthenticationException:
                continue
            raise NotUnderstood("the host asks for more than a key")
    finally:
        if agent is not None:
            agent.close()
    raise NotUnderstood(f"no usable key is accepted for {target}")


def _keys(target: SshTarget, agent: paramiko.Agent | None) -> Iterator[paramiko.PKey]:
    """Yield keys in the order of ssh: the agent's that are also configured, its others, then files."""
    wanted = {blob for path in target.identity_files if (blob := _public_blob(path))}
    held = list(agent.get_keys()) if agent is not None else []
    yield from (key for key in held if key.asbytes() in wanted)
    if not target.identities_only:
        yield from (key for key in held if key.asbytes() not in wanted)
    tried = {key.asbytes() for key in held}
    for path in target.identity_files:
        key = _load(path)
        if key is not None and key.asbytes() not in tried:
            yield key


def _public_blob(path: str) -> bytes | None:
    import base64
    import binascii

    for name in (f"{path}.pub", path):
        try:
            with open(name, "rb") as file:
                words = file.read(65536).split()
            return base64.b64decode(words[1], validate=True)
        except (OSError, IndexError, binascii.Error):
            continue
    return None


def _load(path: str) -> paramiko.PKey | None:
    if not os.access(path, os.R_OK) or os.stat(path).st_mode & 0o077:
        return None  # ssh does not use a private key that others may read
    for kind in _KEY_CLASSES:
        try:
            return kind.from_private_key_file(path)
        except (paramiko.SSHException, OSError, ValueError, IndexError):
            continue
    return None


# -- one command -----------------------------------------------------------------------------------------------------


class _Command:
    """One command on its channel; at the deadline the channel is closed, which ends every wait."""

    def __init__(
        self,
        transport: paramiko.Transport,
        description: str,
        what: str,
        deadline: Deadline,
        environment: Sequence[tuple[str, str]],
    ) -> None:
        self._transport = transport
        self._environment = environment
        self._description = description
        self._what = what
        self._deadline = deadline
        self._expired = False
        self._channel: Any = None

    def run(self, line: str, stdin: bytes | None) -> tuple[int, bytes, bytes]:
        """Return status, standard output and standard error."""
        left = self._deadline.remaining()
        timer = None if left is None else threading.Timer(left, self._expire)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            return self._run(line, stdin)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._failure(str(error)) from error
        finally:
            if timer is not None:
                timer.cancel()
            if self._channel is not None:
                self._channel.close()

    def _run(self, line: str, stdin: bytes | None) -> tuple[int, bytes, bytes]:
        self._channel = channel = self._open_channel()
        if self._expired:
            raise self._failure("")
        for name, value in self._environment:
            channel.set_environment_variable(name, value)
        channel.exec_command(os.fsencode(line))
        errors = bytearray()
        reader = _thread(lambda: _drain(channel.recv_stderr, errors))
        writer = self._send(stdin)
        output = bytearray()
        _drain(channel.recv, output)
        reader.join()
        status = channel.recv_exit_status()
        if writer is not None:
            writer.join()
        if self._expired or status < 0:
            raise self._failure("the command was killed" if self._transport.is_active() else "")
        return status, bytes(output), bytes(errors)

    def _open_channel(self) -> paramiko.Channel:
        """Open a channel. sshd refuses one above MaxSessions, also while it still tidies up after the last one."""
        patience = Deadline(_CHANNEL_PATIENCE)
        while True:
            try:
                return self._transport.open_session(timeout=self._deadline.remaining())
            except paramiko.ChannelException as error:
                if patience.expired:
                    raise NotUnderstood(f"sshd opens no further session on one connection: {error}") from error
                sleep(0.05)
                if self._expired:
                    raise

    def _send(self, stdin: bytes | None) -> threading.Thread | None:
        if not stdin or len(stdin) <= _SMALL_INPUT:
            self._feed(stdin or b"")
            return None
        return _thread(lambda: self._feed(stdin))

    def _feed(self, stdin: bytes) -> None:
        try:
            self._channel.sendall(stdin)
            self._channel.shutdown_write()
        except (OSError, EOFError):
            pass  # the command ended without reading everything: its status says what that means

    def _expire(self) -> None:
        self._expired = True
        if self._channel is not None:
            self._channel.close()

    def _failure(self, reason: str) -> Exception:
        if self._expired or self._deadline.expired:
            return DeadlineExceeded(
                f"'{self._description}' did not answer within {self._deadline.seconds:g} seconds while {self._what}"
            )
        if not self._transport.is_active():
            return Unreachable(
                f"lost the connection of '{self._description}' while {self._what}",
                hint="Check the host and the network; nothing is known about how far the command came.",
            )
        return Unreachable(f"'{self._description}' failed while {self._what}: {reason}")


def _drain(receive: Any, target: bytearray) -> None:
    while piece := receive(_PIECE):
        target += piece


def _thread(function: Any) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread
