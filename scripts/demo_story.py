"""The story of scripts/demo: one server, one backup, one disaster, one recovery. Arguments: bindir, work directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time

BOLD, GREEN, RED, DIM, RESET = (
    ("\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m") if sys.stdout.isatty() else [""] * 5
)


class StoryError(Exception):
    """The demonstration did not go as it should."""


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Story:
    """Everything lives below one directory and ends with it."""

    def __init__(self, bindir: str, root: str) -> None:
        self.bindir = bindir
        self.root = root
        self.data = os.path.join(root, "cluster")
        self.tablespace = os.path.join(root, "tablespace")
        self.restored = os.path.join(root, "recovered")
        self.config = os.path.join(root, "barman.conf")
        self.port = free_port()
        self.step_number = 0
        self.started = time.monotonic()

    def step(self, text: str) -> None:
        """Announce a chapter."""
        self.step_number += 1
        print(f"\n{BOLD}{self.step_number}. {text}{RESET}", flush=True)

    def run(self, argv: list[str], *, show: bool = True, check: bool = True) -> str:
        """Run a program; show its output as the user would see it."""
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
        )
        if show:
            for line in done.stdout.rstrip().splitlines():
                print(f"   {line}", flush=True)
        if check and done.returncode != 0:
            if not show:
                print(done.stdout)
            raise StoryError(f"{' '.join(argv)} ended with status {done.returncode}")
        return done.stdout

    def program(self, name: str, *arguments: str) -> str:
        """Run a PostgreSQL program quietly."""
        return self.run([os.path.join(self.bindir, name), *arguments], show=False)

    def sql(self, statement: str) -> str:
        """Run a statement as the superuser."""
        return self.program(
            "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", statement,
            "postgres",
        ).strip()  # fmt: skip

    def barman(self, *arguments: str, check: bool = True) -> str:
        """Run this program, showing the command line."""
        print(f"   {DIM}$ barman {' '.join(arguments)}{RESET}", flush=True)
        return self.run([sys.executable, "-m", "barman", "-c", self.config, *arguments], check=check)

    def create_cluster(self) -> None:
        """Start a throw-away PostgreSQL."""
        version = self.program("postgres", "--version").strip()
        self.step(f"Start a throw-away {version}")
        self.program("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                "wal_level = replica\nmax_wal_senders = 5\nmax_replication_slots = 5\n"
            )
        self.start(self.data)
        self.sql("CREATE ROLE barman LOGIN SUPERUSER")
        self.sql("CREATE ROLE streaming_barman LOGIN REPLICATION")
        os.mkdir(self.tablespace, 0o700)
        self.sql(f"CREATE TABLESPACE fast LOCATION '{self.tablespace}'")
        self.sql(
            "CREATE TABLE ledger (id serial PRIMARY KEY, written timestamptz DEFAULT clock_timestamp(), note text) TABLESPACE fast"
        )
        print(f"   listening on 127.0.0.1:{self.port}, data in {self.data}, one tablespace")

    def start(self, data: str) -> None:
        """Start a cluster and wait until it answers."""
        self.program("pg_ctl", "-D", data, "-w", "-t", "60", "-l", os.path.join(self.root, "postgresql.log"), "start")

    def configure(self) -> None:
        """Write the configuration a user would write."""
        self.step("Configure it as the server 'pg': streaming only, no SSH")
        text = (
            "[barman]\n"
            f"barman_home = {self.root}/barman\nbarman_user = {pwd.getpwuid(os.getuid()).pw_name}\nlog_file = {self.root}/barman.log\n\n"
            "[pg]\n"
            'description = "Throw-away cluster"\n'
            f"conninfo = host=127.0.0.1 port={self.port} user=barman dbname=postgres\n"
            f"streaming_conninfo = host=127.0.0.1 port={self.port} user=streaming_barman\n"
            "backup_method = postgres\nstreaming_archiver = on\nslot_name = barman\ncreate_slot = auto\n"
            f"immediate_checkpoint = true\ncompression = gzip\npath_prefix = {self.bindir}\n"
        )
        with open(self.config, "w") as file:
            file.write(text)
        os.mkdir(f"{self.root}/barman")
        for line in text.splitlines():
            print(f"   {line}")
        self.barman("list-servers")

    def back_up(self) -> None:
        """Take the first backup and look at it."""
        self.step("Write some rows, take the first backup; it starts the WAL receiver by itself")
        self.sql("INSERT INTO ledger (note) SELECT 'before the backup ' || n FROM generate_series(1, 1000) n")
        self.barman("backup", "pg")
        self.step("Is it healthy?")
        self.barman("check", "pg")
        self.barman("list-backups", "pg")

    def work_on(self) -> tuple[str, str]:
        """Write rows before and after a moment; return the moment and the rows that must come back."""
        self.step("Keep working: rows before a moment, rows after it")
        self.sql("INSERT INTO ledger (note) SELECT 'worth keeping ' || n FROM generate_series(1, 1000) n")
        expected = self.rows()
        time.sleep(1)
        moment = self.sql("SELECT clock_timestamp()")
        time.sleep(1)
        self.sql("INSERT INTO ledger (note) SELECT 'written after the moment ' || n FROM generate_series(1, 500) n")
        self.sql("DELETE FROM ledger WHERE note LIKE 'worth%'")
        print(f"   the moment is {moment}; after it somebody deleted the rows worth keeping")
        self.barman("switch-wal", "--archive", "pg")
        return moment, expected

    def rows(self) -> str:
        """Return a fingerprint of the ledger."""
        return self.sql(
            "SELECT count(*) || ' rows, md5 ' || md5(string_agg(id || written::text || note, ',' ORDER BY id)) FROM ledger"
        )

    def destroy(self) -> None:
        """Lose the cluster."""
        self.step("Disaster: the cluster is killed and its files are gone")
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            pid = int(file.readline())
        self.barman("terminate-process", "pg", "receive-wal", check=False)
        os.kill(pid, signal.SIGQUIT)
        while os.path.exists(os.path.join(self.data, "postmaster.pid")) and os.path.exists(f"/proc/{pid}"):
            time.sleep(0.1)
        shutil.rmtree(self.data)
        shutil.rmtree(self.tablespace)
        print(f"   {self.data} and {self.tablespace} no longer exist")

    def recover(self, moment: str) -> None:
        """Restore to the moment and start."""
        self.step("Recover to the moment, with the tablespace in a new place")
        self.barman(
            "recover", "--target-time", f"'{moment}'".strip("'"), "--target-action", "promote",
            "--tablespace", f"fast:{self.root}/fast", "pg", "latest", self.restored,
        )  # fmt: skip
        self.step("Start the recovered cluster")
        self.start(self.restored)
        for _ in range(300):
            if self.sql("SELECT pg_is_in_recovery()") == "f":
                break
            time.sleep(0.1)

    def compare(self, expected: str) -> None:
        """Prove that the rows are the same."""
        self.step("Compare")
        found = self.rows()
        print(f"   expected: {expected}\n   found:    {found}")
        if found != expected:
            raise StoryError("the recovered rows differ")
        print(
            f"\n{GREEN}{BOLD}The recovered rows are equal.{RESET} {time.monotonic() - self.started:.0f} seconds in all."
        )

    def clean_up(self) -> None:
        """End every server that still runs."""
        subprocess.run(
            [sys.executable, "-m", "barman", "-c", self.config, "-q", "terminate-process", "pg", "receive-wal"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for data in (self.data, self.restored):
            if os.path.exists(os.path.join(data, "postmaster.pid")):
                subprocess.run(
                    [os.path.join(self.bindir, "pg_ctl"), "-D", data, "-m", "immediate", "stop"],
                    stdout=subprocess.DEVNULL,
                )


def main() -> int:
    """Tell the story; the exit status says whether the rows came back."""
    os.umask(0o077)
    os.environ.update(LC_ALL="C.UTF-8", PGAPPNAME="barman-demo")
    story = Story(sys.argv[1], sys.argv[2])
    try:
        story.create_cluster()
        story.configure()
        story.back_up()
        moment, expected = story.work_on()
        story.destroy()
        story.recover(moment)
        story.compare(expected)
    except (StoryError, OSError) as error:
        print(f"{RED}ERROR: {error}{RESET}", file=sys.stderr)
        for name in ("postgresql.log", "barman.log"):
            path = os.path.join(story.root, name)
            if os.path.exists(path):
                with open(path) as file:
                    print(f"--- the end of {name}\n" + "".join(file.readlines()[-25:]), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        story.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
