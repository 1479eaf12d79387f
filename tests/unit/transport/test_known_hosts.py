import base64
import hashlib
import hmac

import pytest

from barman.transport.known_hosts import find_host_keys
from barman.transport.ssh_command import NotUnderstood

ONE = base64.b64encode(b"key one").decode()
TWO = base64.b64encode(b"key two").decode()


def hashed(name, salt=b"s" * 20):
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def find(*lines, names=("db1.example",)):
    return find_host_keys(["\n".join(lines)], names)


@pytest.mark.parametrize(
    "field",
    [
        "db1.example",
        "other,db1.example,10.0.0.1",
        "*.example",
        "db?.example",
        "DB1.Example",
        hashed("db1.example"),
        "*,!db2",
    ],
)
def test_a_line_about_the_host_counts(field):
    keys = find(f"{field} ssh-ed25519 {ONE} comment")
    assert ("ssh-ed25519", b"key one") in keys
    assert keys.types == {"ssh-ed25519"}


@pytest.mark.parametrize(
    "field",
    [
        "db2.example",
        "db1.example.org",
        "xdb1.example",
        "db1xexample",
        "*,!db1.example",
        hashed("db2"),
        "|1|x",
        "|2|a|b",
        "[a]",
        "",
    ],
)
def test_a_line_about_others_does_not(field):
    assert not find(f"{field} ssh-ed25519 {ONE}")


@pytest.mark.parametrize(
    "line", ["", "# db1.example ssh-rsa x", "db1.example", "db1.example ssh-rsa", "db1.example ssh-rsa !!!"]
)
def test_lines_that_cannot_be_read_are_skipped(line):
    keys = find(line, f"db1.example ssh-rsa {ONE}")
    assert keys.pairs == {("ssh-rsa", b"key one")}


def test_all_keys_of_the_host_count():
    assert len(find(f"db1.example ssh-rsa {ONE}", f"db1.example ssh-ed25519 {TWO}").pairs) == 2


def test_a_key_for_the_port_comes_before_one_for_the_host():
    lines = (f"db1.example ssh-rsa {ONE}", f"[db1.example]:2222 ssh-rsa {TWO}")
    assert find(*lines, names=("[db1.example]:2222", "db1.example")).pairs == {("ssh-rsa", b"key two")}
    assert find(lines[0], names=("[db1.example]:2222", "db1.example")).pairs == {("ssh-rsa", b"key one")}


@pytest.mark.parametrize("marker", ["@cert-authority", "@revoked"])
def test_authorities_and_revoked_keys_are_left_to_ssh(marker):
    with pytest.raises(NotUnderstood):
        find(f"db1.example ssh-rsa {ONE}", f"{marker} *.example ssh-rsa {TWO}")
    assert find(f"db1.example ssh-rsa {ONE}", f"{marker} *.org ssh-rsa {TWO}")
