"""One contract for every way to a host: here, one connection by paramiko, OpenSSH. Real sshd, real shells."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barman.clock import Deadline
from barman.errors import CommandFailed, DeadlineExceeded, FileFailed, FileMissing, TransportError, Unreachable
from barman.transport.files import Files, LocalFiles, RemoteFiles
from barman.transport.host import Resolution, SshRunner, local_host, ssh_host
from barman.transport.known_hosts import find_host_keys
from barman.transport.local import LocalRunner
from barman.transport.openssh import OpenSshRunner
from barman.transport.paramiko_ssh import ParamikoRunner
from barman.transport.runner import CommandRunner, quote
from barman.transport.ssh_command import NotUnderstood
from tests.support.fix_postgres import wait_until
from tests.support.fix_sshd import Sshd, SshdFactory
from tests.support.needs import need_program

RUNNERS = ["local", "openssh", "paramiko"]
REMOTE = ["openssh", "paramiko"]
MakeRunner = Callable[[Sshd], CommandRunner]


def openssh(sshd: Sshd) -> CommandRunner:
    return OpenSshRunner(sshd.command)


def paramiko(sshd: Sshd) -> CommandRunner:
    return ParamikoRunner(Resolution(sshd.command).target(), sshd.command)


MAKE: dict[str, MakeRunner] = {"openssh": openssh, "paramiko": paramiko}


@pytest.fixture(scope="module")
def shared_sshd() -> Iterator[Sshd]:
    """One server for the tests that do it no harm."""
    factory = SshdFactory()
    yield factory.create()
    factory.close()


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest, shared_sshd: Sshd) -> Iterator[CommandRunner]:
    made = LocalRunner() if request.param == "local" else MAKE[request.param](shared_sshd)
    yield made
    made.close()


@pytest.fixture(params=REMOTE)
def make_remote(request: pytest.FixtureRequest) -> MakeRunner:
    return MAKE[request.param]


@pytest.fixture(params=["local", "paramiko"])
def files(request: pytest.FixtureRequest, shared_sshd: Sshd) -> Iterator[Files]:
    if request.param == "local":
        yield LocalFiles()
        return
    made = paramiko(shared_sshd)
    yield RemoteFiles(made)
    made.close()


@pytest.fixture
def place(shared_sshd: Sshd) -> Path:
    """A directory that both this user and the user of sshd may write into."""
    path = shared_sshd.directory / f"place-{random.randrange(10**9)}"
    path.mkdir()
    path.chmod(0o777)
    return path


# -- commands --------------------------------------------------------------------------------------------------------


def test_output_error_and_status_come_back_unchanged(runner: CommandRunner) -> None:
    done = runner.run(["sh", "-c", "printf 'a\\000b\\n'; printf 'oops\\r\\n' >&2; exit 7"], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"a\0b\n", b"oops\r\n")


def test_a_failure_names_status_and_last_words(runner: CommandRunner) -> None:
    with pytest.raises(CommandFailed, match=r"status 3: no luck") as caught:
        runner.run(["sh", "-c", "echo first >&2; echo no luck >&2; exit 3"])
    assert caught.value.returncode == 3


def test_a_program_that_does_not_exist_is_a_failed_command(runner: CommandRunner) -> None:
    with pytest.raises(CommandFailed) as caught:
        runner.run(["/nowhere/program"])
    assert caught.value.returncode == 127


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_standard_input_of_any_size_arrives_and_ends(runner: CommandRunner, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert runner.run(["cat"], stdin=data).stdout == data


def test_without_input_a_command_reads_nothing(runner: CommandRunner) -> None:
    assert runner.run(["cat"], deadline=Deadline(20)).stdout == b""


def test_input_that_nobody_reads_is_no_failure(runner: CommandRunner) -> None:
    assert runner.run(["true"], stdin=b"x" * 5_000_000).returncode == 0


def test_much_on_both_streams_does_not_block(runner: CommandRunner) -> None:
    script = "head -c 6000000 /dev/zero >&2; head -c 6000000 /dev/zero"
    done = runner.run(["sh", "-c", script], deadline=Deadline(60))
    assert (len(done.stdout), len(done.stderr)) == (6_000_000, 6_000_000)


def test_a_deadline_ends_the_waiting(runner: CommandRunner) -> None:
    runner.run(["true"])
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="within 1 seconds"):
        runner.run(["sleep", "30"], deadline=Deadline(1))
    assert time.monotonic() - began < 10
    assert runner.run(["echo", "alive"]).text == "alive\n"


def test_commands_of_many_threads_do_not_mix(runner: CommandRunner) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = runner.run(["sh", "-c", f"sleep 0.1; echo {number}"]).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(12)}


def awkward_words(seed: int) -> list[str]:
    chance = random.Random(seed)
    letters = "abZ09 \t\n\r'\"\\$`!*?[]{}()<>|&;#~^%=-+,.:/@_\x01\x7fé€😀\udcff"
    return ["".join(chance.choices(letters, k=chance.randrange(0, 12))) for _ in range(30)]


@pytest.mark.parametrize("seed", range(8))
def test_every_word_arrives_as_it_was_given(runner: CommandRunner, seed: int) -> None:
    words = awkward_words(seed)
    done = runner.run(["printf", "%s\\0", *words])
    assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)


@pytest.mark.parametrize("word", ["~", "~root", "-n", "a=b", "if", "", "$HOME", "$(id)", "'", "''", "!!", "\\", "*"])
def test_a_word_means_nothing_to_the_shell(runner: CommandRunner, word: str) -> None:
    assert runner.run(["printf", "%s|", word]).stdout == os.fsencode(word) + b"|"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "/bin/dash"])
def test_quoting_is_right_for_every_posix_shell(shell: str) -> None:
    need_program(shell)
    for seed in range(40):
        words = awkward_words(1000 + seed)
        done = LocalRunner().run([shell, "-c", quote(["printf", "%s\\0", *words])])
        assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)


@pytest.mark.parametrize("name", ["if", "a=b", "x y", "while"])
def test_a_command_is_never_taken_for_grammar_or_an_assignment(runner: CommandRunner, name: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        runner.run([name, "true"])
    assert caught.value.returncode == 127


def test_a_nul_byte_is_refused_before_anything_runs(runner: CommandRunner) -> None:
    with pytest.raises(CommandFailed):
        runner.run(["echo", "a\0b"])


# -- the way there ---------------------------------------------------------------------------------------------------


def test_paramiko_is_chosen_when_all_is_understood_and_keeps_one_connection(sshd: Sshd) -> None:
    runner = SshRunner(sshd.command)
    for number in range(5):
        assert runner.run(["echo", str(number)]).text == f"{number}\n"
    assert isinstance(runner.chosen(), ParamikoRunner)
    assert sshd.connections() == 1
    runner.close()
    assert runner.run(["echo", "again"]).text == "again\n"
    assert sshd.connections() == 2
    runner.close()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"ControlMaster": "auto", "ControlPath": "none"}, "controlmaster auto"),
        ({"StrictHostKeyChecking": "no"}, "stricthostkeychecking false"),
        ({"StrictHostKeyChecking": "accept-new"}, "stricthostkeychecking accept-new"),
        ({"ProxyCommand": "nc %h %p"}, "proxycommand"),
        ({"SetEnv": "A.B=c"}, "SetEnv"),
    ],
)
def test_what_is_not_understood_goes_through_openssh(sshd: Sshd, settings: dict[str, str], reason: str) -> None:
    sshd.write_client_config(**settings)
    runner = SshRunner(sshd.command)
    if "ProxyCommand" not in settings:
        assert runner.run(["echo", "hello"]).text == "hello\n"
    with pytest.raises(NotUnderstood, match=reason):
        Resolution(sshd.command).target()
    assert isinstance(runner.chosen(), OpenSshRunner)
    assert reason in runner.reason


def test_variables_reach_the_other_host_as_far_as_it_accepts_them(sshd_factory: SshdFactory) -> None:
    sshd = sshd_factory.create(AcceptEnv="PG_*")
    sshd.write_client_config(SetEnv="PG_ROLE=standby HIDDEN=x")
    runners = (SshRunner(sshd.command), OpenSshRunner(sshd.command))
    answers = [runner.run(["sh", "-c", 'echo "$PG_ROLE,$HIDDEN"']).text for runner in runners]
    assert answers == ["standby,\n"] * 2
    assert isinstance(runners[0].chosen(), ParamikoRunner)
    runners[0].close()


def test_a_wrapper_around_ssh_goes_through_openssh(sshd: Sshd) -> None:
    runner = SshRunner(f"env LC_ALL=C {sshd.command}")
    assert runner.run(["printf", "%s", "it's me"]).text == "it's me"
    assert isinstance(runner.chosen(), OpenSshRunner)


def test_a_key_with_a_passphrase_is_left_to_openssh(sshd: Sshd) -> None:
    LocalRunner().run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret words", "-f", str(sshd.identity)])
    runner = SshRunner(sshd.command)
    with pytest.raises(Unreachable, match="Permission denied") as caught:
        runner.run(["true"])
    assert "authorized_keys" in caught.value.hint
    assert isinstance(runner.chosen(), OpenSshRunner)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_host_keys_of_every_type_are_verified(sshd: Sshd, kind: str) -> None:
    sshd.new_host_key(kind)
    sshd.trust()
    sshd.restart()
    runner = paramiko(sshd)
    assert runner.run(["echo", "hello"]).text == "hello\n"
    runner.close()


def test_hashed_known_hosts_are_read(sshd: Sshd) -> None:
    LocalRunner().run(["ssh-keygen", "-q", "-H", "-f", str(sshd.known_hosts)])
    text = sshd.known_hosts.read_text()
    assert text.startswith("|1|")
    assert find_host_keys([text], [f"[127.0.0.1]:{sshd.port}"])
    runner = paramiko(sshd)
    assert runner.run(["echo", "hello"]).text == "hello\n"
    runner.close()


@pytest.mark.parametrize("make", [openssh, lambda sshd: SshRunner(sshd.command)])
def test_an_unknown_host_is_refused_with_the_next_command(sshd: Sshd, make: MakeRunner) -> None:
    sshd.trust("")
    with pytest.raises(Unreachable, match="Host key verification failed") as caught:
        make(sshd).run(["true"])
    assert f"{sshd.command} true" in caught.value.hint


def test_a_changed_host_key_is_refused(sshd: Sshd, make_remote: MakeRunner) -> None:
    sshd.new_host_key()
    sshd.restart()
    with pytest.raises(Unreachable) as caught:
        make_remote(sshd).run(["true"])
    assert "ssh-keygen -R" in caught.value.hint
    assert sshd.connections() == 0


def test_a_refused_key_is_said_to_be_refused(sshd: Sshd) -> None:
    sshd.authorize("")
    for runner in (OpenSshRunner(sshd.command), SshRunner(sshd.command)):
        with pytest.raises(Unreachable, match="Permission denied"):
            runner.run(["true"])


def test_a_host_without_sshd_is_unreachable(sshd: Sshd, make_remote: MakeRunner) -> None:
    sshd.stop()
    with pytest.raises(Unreachable, match="Connection refused"):
        make_remote(sshd).run(["true"])


def test_a_host_that_accepts_and_says_nothing_ends_at_the_deadline(sshd: Sshd, make_remote: MakeRunner) -> None:
    sshd.suspend()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        make_remote(sshd).run(["true"], deadline=Deadline(1.5))
    assert time.monotonic() - began < 15


def test_a_host_that_stops_answering_ends_at_the_deadline(sshd: Sshd) -> None:
    runner = paramiko(sshd)
    runner.run(["true"])
    sshd.suspend()
    with pytest.raises(DeadlineExceeded):
        runner.run(["true"], deadline=Deadline(1))
    sshd.resume()
    assert runner.run(["echo", "back"]).text == "back\n"
    runner.close()


def test_a_lost_link_is_reported_at_once_with_what_was_being_done(sshd: Sshd, make_remote: MakeRunner) -> None:
    runner = make_remote(sshd)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            runner.run(["sleep", "60"], doing="copying the crown jewels")
        except TransportError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: "Starting session: command" in sshd.log.read_text(), "the command runs")
    began = time.monotonic()
    assert sshd.cut()
    thread.join(20)
    assert time.monotonic() - began < 5
    assert isinstance(caught[0], Unreachable)
    assert "copying the crown jewels" in caught[0].message
    assert runner.run(["echo", "again"]).text == "again\n"
    runner.close()


def test_a_link_lost_between_commands_is_opened_again(sshd: Sshd) -> None:
    runner = paramiko(sshd)
    runner.run(["true"])
    sshd.cut()
    wait_until(lambda: sshd.sessions() == 0, "the session is gone")
    time.sleep(0.2)
    assert runner.run(["echo", "again"]).text == "again\n"
    runner.close()


def test_status_255_always_means_that_ssh_failed(sshd: Sshd, make_remote: MakeRunner) -> None:
    with pytest.raises(Unreachable):
        make_remote(sshd).run(["sh", "-c", "exit 255"], check=False)


def test_a_slow_host_is_only_slow(sshd: Sshd, make_remote: MakeRunner) -> None:
    sshd.behave("sleep 1")
    sshd.restart()
    assert make_remote(sshd).run(["echo", "hello"], deadline=Deadline(30)).text == "hello\n"


def test_commands_take_turns_when_sshd_allows_one_at_a_time(sshd: Sshd) -> None:
    sshd.settings["MaxSessions"] = "1"
    sshd.restart()
    runner = paramiko(sshd)
    for number in range(5):
        assert runner.run(["echo", str(number)]).text == f"{number}\n"
    runner.close()


def test_commands_at_once_find_another_way_when_sshd_allows_one_at_a_time(sshd: Sshd) -> None:
    sshd.settings["MaxSessions"] = "1"
    sshd.restart()
    runner = SshRunner(sshd.command)
    runner.run(["true"])
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(runner.run(["sh", "-c", "sleep 6; echo slow"]).text))
    thread.start()
    time.sleep(0.5)
    assert runner.run(["echo", "next"], deadline=Deadline(20)).text == "next\n"
    thread.join()
    assert answers == ["slow\n"]
    assert isinstance(runner.chosen(), OpenSshRunner)
    runner.close()


def test_an_agent_holds_the_key(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = str(sshd.directory / "agent")
    started = LocalRunner().run(["ssh-agent", "-s", "-a", socket]).text
    pid = int(started.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        LocalRunner().run(["ssh-add", "-q", str(sshd.identity)])
        sshd.identity.unlink()
        sshd.write_client_config(IdentityAgent="SSH_AUTH_SOCK")
        runner = paramiko(sshd)
        assert runner.run(["echo", "hello"]).text == "hello\n"
        runner.close()
    finally:
        os.kill(pid, 15)


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_written_file_is_read_back(files: Files, place: Path) -> None:
    path = str(place / 'it\'s a "file" \\ $x\n*')
    data = random.Random(1).randbytes(300_000)
    files.write(path, data, 0o640)
    assert files.read(path) == data
    status = files.status(path)
    assert status is not None
    assert (status.is_file, status.size, status.mode & 0o7777) == (True, len(data), 0o640)
    files.write(path, b"")
    assert files.read(path) == b""
    assert files.names(str(place)) == [os.path.basename(path)]


def test_names_are_complete_and_sorted(files: Files, place: Path) -> None:
    wanted = sorted([".hidden", "..odd", "a b", "c\nd", "*", "-n", "é", os.fsdecode(b"\xff\xfe")])
    for name in wanted:
        (place / name).touch()
    assert files.names(str(place)) == wanted
    (place / "empty").mkdir()
    (place / "empty").chmod(0o777)
    assert files.names(str(place / "empty")) == []


def test_directories_are_made_with_their_parents(files: Files, place: Path) -> None:
    path = str(place / "a" / "b c")
    files.make_directory(path, 0o750)
    files.make_directory(path)
    assert files.is_directory(path)
    assert files.is_writable(path)
    assert os.stat(path).st_mode & 0o777 == 0o750
    (place / "file").touch()
    with pytest.raises(FileFailed):
        files.make_directory(str(place / "file"))


def test_what_does_not_exist_is_told_apart(files: Files, place: Path) -> None:
    path = str(place / "nothing")
    assert not files.exists(path)
    assert not files.is_directory(path)
    assert not files.is_writable(path)
    assert files.status(path) is None
    for question in (files.read, files.names, files.read_link, files.free_space, files.remove_content):
        with pytest.raises(FileMissing, match="nothing"):
            question(path)
    files.remove([path])
    files.remove_tree(path)


def test_links_are_never_followed_by_a_removal(files: Files, place: Path) -> None:
    target = place / "kept"
    target.mkdir()
    (target / "file").write_text("x")
    target.chmod(0o777)
    link = str(place / "link")
    files.make_link(str(target), link)
    assert files.read_link(link) == str(target)
    status = files.status(link)
    assert status is not None
    assert status.is_link
    assert files.is_directory(link)
    with pytest.raises(FileFailed, match="File exists"):
        files.make_link("/tmp", link)
    files.remove_tree(link)
    assert not files.exists(link)
    assert (target / "file").exists()


def test_a_dangling_link_exists(files: Files, place: Path) -> None:
    link = str(place / "link")
    files.make_link("/nowhere", link)
    assert files.exists(link)
    assert files.names(str(place)) == ["link"]
    files.remove([link])
    assert not files.exists(link)


def test_a_directory_is_removed_only_when_a_tree_is_meant(files: Files, place: Path) -> None:
    path = str(place / "d")
    files.make_directory(path)
    with pytest.raises(FileFailed, match="directory"):
        files.remove([path])
    with pytest.raises(FileFailed, match="directory"):
        files.write(path, b"x")
    with pytest.raises(FileFailed, match="directory"):
        files.read(path)
    files.write(f"{path}/.f", b"x")
    files.make_directory(f"{path}/e/f")
    files.remove_content(path)
    assert files.names(path) == []
    files.remove_tree(path)
    assert not files.exists(path)


def test_a_move_replaces_a_file_and_never_a_directory(files: Files, place: Path) -> None:
    a, b, c = (str(place / name) for name in "abc")
    files.write(a, b"new")
    files.write(b, b"old")
    files.move(a, b)
    assert files.read(b) == b"new"
    assert not files.exists(a)
    files.make_directory(c)
    with pytest.raises(FileFailed):
        files.move(b, c)
    files.set_mode(b, 0o604)
    status = files.status(b)
    assert status is not None
    assert status.mode & 0o777 == 0o604


def test_a_file_that_is_too_large_is_not_read(files: Files, place: Path) -> None:
    files.write(str(place / "f"), b"x" * 1001)
    assert len(files.read(str(place / "f"), limit=1001)) == 1001
    with pytest.raises(FileFailed, match="larger than 1000"):
        files.read(str(place / "f"), limit=1000)


def test_free_space_is_what_may_be_written(files: Files, place: Path) -> None:
    found = os.statvfs(place)
    assert abs(files.free_space(str(place)) - found.f_bavail * found.f_frsize) < 2**30
    files.sync(str(place))


def test_a_refusal_names_path_and_reason(shared_sshd: Sshd) -> None:
    runner = paramiko(shared_sshd)
    with pytest.raises(FileFailed, match=r"cannot write '/proc/nothing' on ssh .*: "):
        RemoteFiles(runner).write("/proc/nothing", b"x")
    runner.close()


def test_banner_noise_does_not_get_into_answers(sshd: Sshd, make_remote: MakeRunner, tmp_path: Path) -> None:
    sshd.behave("echo Welcome to db1; echo have a nice day >&2")
    sshd.restart()
    files = RemoteFiles(make_remote(sshd))
    assert files.read("/etc/passwd") == Path("/etc/passwd").read_bytes()
    assert files.is_directory("/etc")
    assert files.status("/nowhere") is None
    assert b"Welcome" in make_remote(sshd).run(["true"]).stdout


def test_a_shell_that_runs_nothing_is_an_error(sshd: Sshd, make_remote: MakeRunner) -> None:
    sshd.behave("echo This account is currently not available.; exit 0")
    sshd.restart()
    files = RemoteFiles(make_remote(sshd))
    for question in (files.exists, files.read, files.names, files.status, files.free_space):
        with pytest.raises(FileFailed, match="not available"):
            question("/etc/passwd")


def test_a_file_cut_short_on_its_way_is_never_published(shared_sshd: Sshd, place: Path) -> None:
    class Cutting(LocalRunner):
        """A link that loses the end of what is sent."""

        def run(self, argv, *, stdin=None, deadline=None, check=True, doing=""):  # type: ignore[no-untyped-def]  # same as the contract
            return super().run(argv, stdin=stdin[:-5], deadline=deadline, check=check, doing=doing)

    (place / "f").write_bytes(b"old")
    with pytest.raises(FileFailed, match="did not arrive whole"):
        RemoteFiles(Cutting()).write(str(place / "f"), b"x" * 1000)
    assert [path.name for path in place.iterdir()] == ["f"]
    assert (place / "f").read_bytes() == b"old"


# -- hosts -----------------------------------------------------------------------------------------------------------


FAST_CIPHERS = (
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"
)


def test_a_host_says_how_rsync_gets_there(sshd: Sshd) -> None:
    host = ssh_host(sshd.command)
    assert not host.is_local
    plain = f"'ssh' '-F' '{sshd.client_config}' 'db' '-o' 'BatchMode=yes'"
    assert host.rsync_shell in (plain, f"{plain} '-o' 'Ciphers={FAST_CIPHERS}'")
    assert (
        ssh_host(f"{sshd.command} -o Ciphers=aes256-ctr").rsync_shell
        == f"{plain[:-20]}'-o' 'Ciphers=aes256-ctr' {plain[-20:]}"
    )
    assert host.rsync_path("/a") == ":/a"
    assert host.description == sshd.command
    host.close()
    assert local_host().rsync_path("/a") == "/a"
    assert local_host().is_local
