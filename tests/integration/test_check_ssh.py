"""What `check` and `diagnose` say of a host behind ssh: the way rsync takes, and its bad days."""

import json

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster
from tests.support.fix_sshd import Sshd


@pytest.fixture
def rsync_home(barman_home: BarmanHome, newest_pg: Cluster, sshd: Sshd) -> BarmanHome:
    barman_home.add_server("main", newest_pg, backup_method="rsync", ssh_command=sshd.command, archiver="on")
    return barman_home


def lines(home: BarmanHome) -> dict[str, str]:
    out = home.run("check", "main").out.splitlines()[1:]
    return {name: rest for line in out for name, _, rest in [line.strip().partition(": ")]}


def test_a_host_that_runs_commands_is_good(rsync_home: BarmanHome) -> None:
    found = lines(rsync_home)
    assert found["ssh"] == "OK (PostgreSQL server)"
    assert "ssh output clean" not in found
    assert "backup_label" not in found


def test_a_refused_key_is_named_with_what_to_do(rsync_home: BarmanHome, sshd: Sshd) -> None:
    sshd.authorize("")
    line = lines(rsync_home)["ssh"]
    assert line.startswith(f"FAILED (Connection failed using '{sshd.command} -o BatchMode=yes' return code 255: ")
    assert "Permission denied (publickey). The host accepts none of this user's keys." in line
    assert "authorized_keys" in line


def test_a_changed_host_key_is_refused(rsync_home: BarmanHome, sshd: Sshd) -> None:
    sshd.new_host_key()
    sshd.restart()
    line = lines(rsync_home)["ssh"]
    assert line.startswith("FAILED")
    assert "ssh-keygen -R" in line


def test_noise_of_the_remote_shell_fails(rsync_home: BarmanHome, sshd: Sshd) -> None:
    sshd.behave("echo Welcome")
    sshd.restart()
    found = lines(rsync_home)
    assert found["ssh"] == "OK (PostgreSQL server)"
    assert found["ssh output clean"] == (
        "FAILED (the configured ssh_command must not add anything to the remote command output; it added 'Welcome')"
    )


def test_an_ssh_that_does_not_exist_fails(rsync_home: BarmanHome, newest_pg: Cluster) -> None:
    rsync_home.add_server("main", newest_pg, backup_method="rsync", ssh_command="/nowhere/ssh db1", archiver="on")
    assert lines(rsync_home)["ssh"].startswith("FAILED (Connection failed using '/nowhere/ssh db1 -o BatchMode=yes'")


def test_diagnose_asks_the_host_over_one_connection(rsync_home: BarmanHome, sshd: Sshd) -> None:
    before = sshd.connections()
    info = json.loads(rsync_home.run("diagnose").ok().out)["servers"]["main"]["system_info"]
    assert info["kernel_ver"].startswith("Linux")
    assert "rsync" in info["rsync_ver"]
    assert "OpenSSH" in info["ssh_ver"]
    assert sshd.connections() == before + 1


def test_diagnose_goes_on_without_the_host(rsync_home: BarmanHome, sshd: Sshd) -> None:
    sshd.stop()
    info = json.loads(rsync_home.run("diagnose").ok().out)["servers"]["main"]["system_info"]
    assert set(info.values()) == {""}
