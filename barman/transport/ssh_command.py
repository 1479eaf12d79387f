"""Read `ssh_command`, and what `ssh -G` makes of it and of the user's configuration; no effects.

The aim is to know for certain what ssh would do, so that another implementation may do the same faster. Whatever is not
known for certain raises NotUnderstood, and OpenSSH runs instead. See ssh(1), ssh_config(5).
"""

from __future__ import annotations

import posixpath
import shlex

from barman.errors import TransportError
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_CONNECT_SECONDS = 30.0

# Options of the command line that `ssh -G` takes into account, or that have no bearing on a command without a terminal.
_FLAGS = frozenset("46CTaqx")
_WITH_VALUE = frozenset("Fiolp")

_NO = ("no", "false", "none")
_YES = ("yes", "true")
# Options that must have one of these values; one that is not set is printed with its default or not at all.
_REQUIRED: Mapping[str, Sequence[str]] = {
    "addressfamily": ("any",),
    "bindaddress": ("none",),
    "bindinterface": ("none",),
    "canonicalizehostname": _NO,
    "certificatefile": ("none",),
    "controlmaster": _NO,
    "controlpath": ("none",),
    "forkafterauthentication": _NO,
    "forwardagent": _NO,
    "forwardx11": _NO,
    "hostbasedauthentication": _NO,
    "knownhostscommand": ("none",),
    "localcommand": ("none",),
    "nohostauthenticationforlocalhost": _NO,
    "permitlocalcommand": _NO,
    "pkcs11provider": ("none",),
    "proxycommand": ("none",),
    "proxyjump": ("none",),
    "pubkeyauthentication": (*_YES, "unbound", "host-bound"),
    "refuseconnection": ("none",),
    "remotecommand": ("none",),
    "requesttty": ("auto", *_NO),
    "revokedhostkeys": ("none",),
    "sessiontype": ("default",),
    "stdinnull": _NO,
    "stricthostkeychecking": ("ask", *_YES),
    "tunnel": _NO,
    "verifyhostkeydns": _NO,
}
_USED_NAMES = """
    ciphers compression connecttimeout globalknownhostsfile hostkeyalgorithms hostkeyalias hostname identitiesonly
    identityagent identityfile kexalgorithms macs port preferredauthentications pubkeyacceptedalgorithms
    pubkeyacceptedkeytypes serveraliveinterval setenv user userknownhostsfile
    """
_USED = frozenset(_USED_NAMES.split())
# No bearing on what a command without terminal and forwardings does, or on whom it talks to.
_IGNORED_NAMES = """
    addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots canonicalizepermittedcnames
    casignaturealgorithms challengeresponseauthentication channeltimeout checkhostip clearallforwardings
    connectionattempts controlpersist enableescapecommandline enablesshkeysign escapechar exitonforwardfailure
    fingerprinthash forwardx11timeout forwardx11trusted gatewayports gssapiauthentication gssapiclientidentity
    gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity
    gssapitrustdns hashknownhosts host hostbasedacceptedalgorithms hostbasedkeytypes ignoreunknown ipqos
    kbdinteractiveauthentication kbdinteractivedevices loglevel logverbose numberofpasswordprompts
    obscurekeystroketiming passwordauthentication permitremoteopen proxyusefdpass rekeylimit requiredrsasize rsaminsize
    securitykeyprovider sendenv serveralivecountmax streamlocalbindmask streamlocalbindunlink syslogfacility tag
    tcpkeepalive tunneldevice updatehostkeys useroaming usekeychain versionaddendum visualhostkey warnweakcrypto
    xauthlocation
    """
_IGNORED = frozenset(_IGNORED_NAMES.split())
_MANY = ("identityfile", "sendenv", "setenv")

# What ssh offers when nobody has chosen: OpenSSH 6.7 and later; 10.0 has another order.
_DEFAULT_CIPHERS = frozenset(
    (
        "chacha20-poly1305@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
    )
)


class NotUnderstood(TransportError):
    """Only OpenSSH itself knows for certain what this ssh command does; the message says why."""


@dataclass(frozen=True, slots=True)
class SshCommand:
    """An `ssh_command` that consists of ssh, plain options and a destination."""

    program: str
    options: tuple[str, ...]
    destination: str

    @property
    def resolve_argv(self) -> tuple[str, ...]:
        """Return the command that prints the configuration ssh would use."""
        return (self.program, "-G", *self.options, self.destination)


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where ssh would connect, as whom, with which keys and algorithms, and whom it would trust."""

    user: str
    hostname: str
    port: int
    host_key_names: tuple[str, ...]
    """The names under which known_hosts files may list the host."""
    known_hosts_files: tuple[str, ...]
    identity_files: tuple[str, ...]
    identities_only: bool
    use_agent: bool
    connect_seconds: float
    keepalive_seconds: int
    compression: bool
    ciphers: tuple[str, ...]
    macs: tuple[str, ...]
    kex_algorithms: tuple[str, ...]
    host_key_algorithms: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that are offered to the other host, which takes those that it accepts."""

    def __str__(self) -> str:
        return f"{self.user}@{self.hostname}" + ("" if self.port == 22 else f":{self.port}")


def split_ssh_command(text: str) -> tuple[str, ...]:
    """Return the words of an ssh command. Raises TransportError when its quotes do not pair or nothing is there."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise TransportError(f"cannot read ssh command '{text}': {error}") from error
    if not words:
        raise TransportError("the ssh command is empty")
    return words


def parse_ssh_command(text: str) -> SshCommand:
    """Return the parts of an ssh command. Raises NotUnderstood for anything but ssh, plain options and one host."""
    program, *words = split_ssh_command(text)
    if posixpath.basename(program) != "ssh":
        raise NotUnderstood(f"'{program}' is not ssh")
    options: list[str] = []
    destination = ""
    while words:
        word = words.pop(0)
        if word == "--" or not word:
            raise NotUnderstood(f"word '{word}' in ssh command")
        if word.startswith("-"):
            options += _option(word, words)
        elif destination:
            raise NotUnderstood(f"ssh command has a remote command: '{word}'")
        else:
            destination = word
    if not destination:
        raise NotUnderstood("the ssh command names no host")
    return SshCommand(program, tuple(options), destination)


def _option(word: str, rest: list[str]) -> list[str]:
    """Return one word of options as ssh reads it: flags together, the last one may take a value."""
    for position, letter in enumerate(word[1:], 1):
        if letter in _FLAGS:
            continue
        if letter not in _WITH_VALUE:
            raise NotUnderstood(f"option -{letter} in ssh command")
        if position + 1 < len(word):
            return [word]
        if not rest:
            raise NotUnderstood(f"option -{letter} without a value in ssh command")
        return [word, rest.pop(0)]
    return [word]


def read_resolved(output: str, expand_home: Callable[[str], str], agent_socket: str | None) -> SshTarget:
    """Read what `ssh -G` printed. Raises NotUnderstood unless the meaning of every line is known.

    `expand_home` replaces a leading `~`; `agent_socket` is the value of SSH_AUTH_SOCK.
    """
    found = _lines(output)
    for key, values in found.items():
        _judge(key, values)

    def one(key: str, default: str = "") -> str:
        return found.get(key, (default,))[0]

    def names(key: str) -> tuple[str, ...]:
        return tuple(name for name in one(key).split(",") if name)

    def path(text: str) -> str:
        if "%" in text or "$" in text:
            raise NotUnderstood(f"path '{text}' in the configuration of ssh")
        return expand_home(text)

    hostname, port = one("hostname"), _number("port", one("port"), 22)
    if not hostname or not one("user"):
        raise NotUnderstood("ssh -G names no host or no user")
    methods = names("preferredauthentications")
    if methods and "publickey" not in methods:
        raise NotUnderstood("PreferredAuthentications without publickey")
    known_hosts = f"{one('userknownhostsfile')} {one('globalknownhostsfile')}".split()
    return SshTarget(
        user=one("user"),
        hostname=hostname,
        port=port,
        host_key_names=_host_key_names(one("hostkeyalias", "none"), hostname.lower(), port),
        known_hosts_files=tuple(path(name) for name in known_hosts if name not in ("none", "/dev/null")),
        identity_files=tuple(path(name) for name in found.get("identityfile", ()) if name != "none"),
        identities_only=one("identitiesonly") in _YES,
        use_agent=_uses_agent(one("identityagent", "SSH_AUTH_SOCK"), agent_socket),
        connect_seconds=float(_number("connecttimeout", one("connecttimeout", "none"), 0)) or DEFAULT_CONNECT_SECONDS,
        keepalive_seconds=_number("serveraliveinterval", one("serveraliveinterval"), 0),
        compression=one("compression") in _YES,
        ciphers=names("ciphers"),
        macs=names("macs"),
        kex_algorithms=names("kexalgorithms"),
        host_key_algorithms=names("hostkeyalgorithms"),
        environment=tuple(_assignment(text) for text in found.get("setenv", ())),
    )


def read_ciphers(output: str) -> tuple[str, ...]:
    """Return the ciphers that `ssh -G` printed, whatever else it printed."""
    lines = (line.strip().partition(" ") for line in output.splitlines())
    return next((tuple(value.split(",")) for key, _, value in lines if key.lower() == "ciphers"), ())


def prefer_fast_cipher(ciphers: Sequence[str], processor: frozenset[str]) -> tuple[str, ...]:
    """Return options of ssh that move AES-GCM to the front of its default list; () for any list but that one.

    The default begins with ChaCha20, which is right without AES instructions and costs three times as much with
    them. The same ciphers stay allowed, and the server has the last word. Who has chosen ciphers is not overruled.
    """
    if "aes" not in processor or frozenset(ciphers) != _DEFAULT_CIPHERS or not ciphers[0].startswith("chacha20-"):
        return ()
    fast = [cipher for cipher in ciphers if "-gcm@" in cipher]
    return ("-o", f"Ciphers={','.join(sorted(fast) + [cipher for cipher in ciphers if cipher not in fast])}")


def _lines(output: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in output.splitlines():
        key, _, value = line.strip().partition(" ")
        key = key.lower()
        if key in found and key not in _MANY:
            raise NotUnderstood(f"ssh -G prints '{key}' twice")
        found[key] = (*found.get(key, ()), value.strip())
    return found


def _judge(key: str, values: Sequence[str]) -> None:
    if key in _REQUIRED:
        for value in values:
            if value.lower() not in _REQUIRED[key]:
                raise NotUnderstood(f"{key} {value} in the configuration of ssh")
    elif key not in _USED and key not in _IGNORED:
        raise NotUnderstood(f"option {key} in the configuration of ssh")


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()) or any(character in value for character in "\"'\\"):
        raise NotUnderstood(f"SetEnv {text} in the configuration of ssh")
    return name, value


def _number(key: str, text: str, default: int) -> int:
    if not text or text == "none":
        return default
    if not text.isascii() or not text.isdigit():
        raise NotUnderstood(f"{key} {text} in the configuration of ssh")
    return int(text)


def _host_key_names(alias: str, hostname: str, port: int) -> tuple[str, ...]:
    if alias != "none":
        return (alias.lower(),)
    # ssh accepts a key that is listed for the host without its port.
    return (hostname,) if port == 22 else (f"[{hostname}]:{port}", hostname)


def _uses_agent(setting: str, socket: str | None) -> bool:
    if setting == "none":
        return False
    if setting not in ("SSH_AUTH_SOCK", socket):
        raise NotUnderstood(f"IdentityAgent {setting} in the configuration of ssh")
    return True
