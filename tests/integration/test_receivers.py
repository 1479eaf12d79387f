"""Receivers of several servers: each found by the exact name of its server, each following what it connects with."""

from __future__ import annotations

from tests.support.fix_postgres import BarmanHome, Cluster, wait_until

NAMES = ("pg", "pg2", "pg-1")


def test_each_receiver_follows_its_own_files_and_its_own_name(newest_pg: Cluster, barman_home: BarmanHome) -> None:
    pg, home = newest_pg, barman_home
    services, passwords = home.directory / "services", home.directory / "passwords"
    environment = {"PGSERVICEFILE": str(services)}
    passwords.write_text(f"other:*:*:streaming_barman:x\nlocalhost:{pg.port}:*:streaming_barman:first\n")
    passwords.chmod(0o600)
    section = f"[pg2]\nport={pg.port}\nuser=streaming_barman\nhost="
    services.write_text(f"{section}{pg.directory}\n\n[other]\nhost=a\n")
    connections = {
        "pg": f"{pg.streaming_conninfo} passfile={passwords}",
        "pg2": "service=pg2",
        "pg-1": pg.streaming_conninfo,
    }

    def configure(*, inactive: str = "") -> None:
        for name, streaming in connections.items():
            home.add_server(
                name, pg, streaming_archiver="on", slot_name=name.replace("-", "_"), create_slot="auto",
                streaming_conninfo=streaming, active="off" if name == inactive else "on",
            )  # fmt: skip

    def cron() -> str:
        """Run cron, and wait until every receiver that should run is connected."""
        done = home.run("cron", env=environment).ok()
        wanted = sum(section["active"] == "on" for section in home.servers.values())
        wait_until(
            lambda: pg.value("SELECT count(*) FROM pg_replication_slots WHERE active") == wanted, "all are connected"
        )
        return done.out

    def receivers() -> dict[str, int | None]:
        return {name: home.lock_holder(name, "receive-wal") for name in NAMES}

    def stopped(out: str) -> list[str]:
        return [line for line in out.splitlines() if line.startswith("Stopped process")]

    configure()
    cron()
    first = receivers()
    assert len({*first.values()} - {None}) == 3

    # What decides nothing about them: another line, another section.
    passwords.write_text(passwords.read_text().replace("streaming_barman:x", "streaming_barman:y"))
    services.write_text(services.read_text().replace("host=a", "host=b"))
    assert stopped(cron()) == []
    assert receivers() == first

    # A password under an unchanged connection string.
    passwords.write_text(passwords.read_text().replace("first", "second"))
    assert stopped(cron()) == [f"Stopped process receive-wal({first['pg']})"]
    second = receivers()
    assert second == {**first, "pg": second["pg"]}
    assert second["pg"] not in (None, first["pg"])

    # A service that moved.
    services.write_text(f"{section}127.0.0.1\n")
    assert stopped(cron()) == [f"Stopped process receive-wal({first['pg2']})"]
    assert pg.value("SELECT count(*) FROM pg_stat_replication WHERE client_addr = '127.0.0.1'") == 1
    third = receivers()
    assert third == {**second, "pg2": third["pg2"]}

    # Names that begin alike.
    for name in NAMES:
        assert home.run("list-processes", name).ok().out.count("receive-wal") == 1
        assert str(third[name]) in home.run("list-processes", name).out
    home.run("terminate-process", "pg", "receive-wal").ok()
    assert receivers() == {**third, "pg": None}
    assert stopped(cron()) == []
    fourth = receivers()
    configure(inactive="pg")
    assert stopped(cron()) == [f"Stopped process receive-wal({fourth['pg']})"]
    assert receivers() == {**third, "pg": None}
