import pytest

from barman.errors import TransportError
from barman.transport.ssh_command import (
    NotUnderstood,
    parse_ssh_command,
    prefer_fast_cipher,
    read_resolved,
    split_ssh_command,
)

RESOLVED = """\
host db1
user postgres
hostname db1.example
port 22
stricthostkeychecking ask
identityfile ~/.ssh/id_rsa
identityfile /keys/my key
userknownhostsfile ~/.ssh/known_hosts /home/me/.ssh/known_hosts2
globalknownhostsfile /etc/ssh/ssh_known_hosts
identitiesonly no
compression yes
connecttimeout none
serveraliveinterval 0
ciphers a,b
macs c
kexalgorithms d
hostkeyalgorithms ssh-ed25519,rsa-sha2-512
sendenv LANG
sendenv LC_*
setenv PGROLE=db one
setenv EMPTY=
proxyusefdpass no
"""


def read(text=RESOLVED, socket="/run/agent"):
    return read_resolved(text, lambda path: path.replace("~", "/home/me"), socket)


@pytest.mark.parametrize(
    ("text", "options", "destination"),
    [
        ("ssh postgres@db1", (), "postgres@db1"),
        ("/usr/bin/ssh -q -p 2222 db1", ("-q", "-p", "2222"), "db1"),
        ("ssh db1 -l postgres", ("-l", "postgres"), "db1"),
        ("ssh -Tqp2222 -i '/my key' db1", ("-Tqp2222", "-i", "/my key"), "db1"),
        ("ssh -o 'User=x y' -F cfg ssh://db1:33", ("-o", "User=x y", "-F", "cfg"), "ssh://db1:33"),
    ],
)
def test_a_plain_command_is_understood(text, options, destination):
    command = parse_ssh_command(text)
    assert (command.options, command.destination) == (options, destination)
    assert command.resolve_argv == (text.split()[0], "-G", *options, destination)


@pytest.mark.parametrize(
    "text",
    [
        "sudo ssh db1",
        "ssh",
        "ssh -p 22",
        "ssh db1 -p",
        "ssh db1 sudo",
        "ssh -t db1",
        "ssh -A db1",
        "ssh -J jump db1",
        "ssh -W a:1 db1",
        "ssh -- db1",
        "ssh -L 1:a:2 db1",
        "ssh -S none db1",
        "ssh '' db1",
        "sshpass -p x ssh db1",
    ],
)
def test_anything_else_is_not(text):
    with pytest.raises(NotUnderstood):
        parse_ssh_command(text)


@pytest.mark.parametrize("text", ["ssh 'db1", "", "  "])
def test_what_is_no_command_is_an_error(text):
    with pytest.raises(TransportError):
        split_ssh_command(text)


def test_the_target_is_what_ssh_prints():
    target = read()
    assert str(target) == "postgres@db1.example"
    assert target.host_key_names == ("db1.example",)
    assert target.identity_files == ("/home/me/.ssh/id_rsa", "/keys/my key")
    assert target.known_hosts_files == (
        "/home/me/.ssh/known_hosts",
        "/home/me/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts",
    )
    assert target.use_agent
    assert target.compression
    assert target.connect_seconds == 30
    assert target.host_key_algorithms == ("ssh-ed25519", "rsa-sha2-512")


def test_another_port_changes_the_name_in_known_hosts():
    target = read(RESOLVED.replace("port 22", "port 2222").replace("db1.example", "DB1.example"))
    assert target.host_key_names == ("[db1.example]:2222", "db1.example")
    assert str(target) == "postgres@DB1.example:2222"


def test_an_alias_is_the_name_in_known_hosts():
    assert read(RESOLVED + "hostkeyalias Primary\n").host_key_names == ("primary",)


def test_values_are_read():
    target = read(
        RESOLVED.replace("connecttimeout none", "connecttimeout 7").replace(
            "serveraliveinterval 0", "serveraliveinterval 5"
        )
    )
    assert (target.connect_seconds, target.keepalive_seconds) == (7, 5)


@pytest.mark.parametrize(
    "line",
    [
        "futureoption yes",
        "proxycommand nc %h %p",
        "proxyjump bastion",
        "controlmaster auto",
        "controlpath /tmp/x",
        "certificatefile /x",
        "remotecommand tmux",
        "requesttty force",
        "forwardagent yes",
        "localforward 1 a:2",
        "identityagent /other/socket",
        "knownhostscommand /x",
        "revokedhostkeys /x",
        "verifyhostkeydns yes",
        "canonicalizehostname always",
        "pubkeyauthentication no",
        "preferredauthentications gssapi-with-mic",
        "addressfamily inet6",
        "bindaddress 10.0.0.1",
        "identityfile %d/.ssh/key",
        "user again",
    ],
)
def test_what_only_ssh_can_do_is_not_understood(line):
    with pytest.raises(NotUnderstood):
        read(RESOLVED + line + "\n")


@pytest.mark.parametrize("value", ["no", "false", "off", "accept-new"])
def test_a_host_key_is_always_verified(value):
    with pytest.raises(NotUnderstood):
        read(RESOLVED.replace("stricthostkeychecking ask", f"stricthostkeychecking {value}"))


@pytest.mark.parametrize("text", ["", "Pseudo-terminal", "user x\n", RESOLVED.replace("port 22", "port x")])
def test_what_is_no_configuration_is_not_understood(text):
    with pytest.raises(NotUnderstood):
        read(text)


@pytest.mark.parametrize(
    ("line", "used"),
    [("identityagent none", False), ("identityagent /run/agent", True), ("identityagent SSH_AUTH_SOCK", True)],
)
def test_the_agent_is_used_as_configured(line, used):
    assert read(RESOLVED + line + "\n").use_agent is used


def test_variables_to_set_are_kept_and_those_that_quotes_could_hide_are_not_guessed():
    assert read().environment == (("PGROLE", "db one"), ("EMPTY", ""))
    for line in ('setenv A="b"', "setenv A", "setenv 1A=b", "setenv A=b\\c"):
        with pytest.raises(NotUnderstood, match="SetEnv"):
            read(f"{RESOLVED}{line}\n")


DEFAULT_CIPHERS = (
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
)
AES = frozenset(("fpu", "aes"))


def test_the_default_ciphers_are_only_put_into_another_order():
    flag, option = prefer_fast_cipher(DEFAULT_CIPHERS, AES)
    assert flag == "-o"
    name, _, listed = option.partition("=")
    assert name == "Ciphers"
    assert listed.split(",")[:3] == [
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ]
    assert set(listed.split(",")) == set(DEFAULT_CIPHERS)


@pytest.mark.parametrize(
    ("ciphers", "processor"),
    [
        (DEFAULT_CIPHERS, frozenset(("fpu",))),
        (DEFAULT_CIPHERS[1:], AES),
        ((*DEFAULT_CIPHERS, "aes256-cbc"), AES),
        (DEFAULT_CIPHERS[::-1], AES),
        ((), AES),
    ],
    ids=["no AES instructions", "fewer", "more", "another order", "none"],
)
def test_a_choice_of_ciphers_is_never_overruled(ciphers, processor):
    assert prefer_fast_cipher(ciphers, processor) == ()
