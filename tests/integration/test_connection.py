"""Connections, facts and control functions against real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from barman.clock import Deadline, monotonic
from barman.errors import CannotConnect, MissingPrivilege, PostgresError
from barman.postgres.connection import PostgresConnection
from barman.postgres.control_functions import checkpoint, create_restore_point, switch_wal
from barman.postgres.facts import fetch_position, fetch_slot, read_facts, remote_status
from barman.postgres.lsn import Lsn
from barman.postgres.replication import NoFreeSlot, SlotExists, SlotInUse, SlotMissing, StreamingConnection
from barman.process import Child
from tests.support.fix_postgres import Cluster, ClusterFactory, wait_until


def test_one_snapshot_says_what_a_primary_is(pg: Cluster) -> None:
    connection = PostgresConnection(pg.conninfo)
    streaming = StreamingConnection(pg.streaming_conninfo)
    pg.sql("SELECT pg_create_physical_replication_slot('one', true)")
    facts = read_facts(connection, streaming, slot_name="one", with_size=True)
    assert facts.version.major == pg.major
    assert facts.server_txt_version.startswith(f"{pg.version}.")
    assert not facts.in_recovery
    assert facts.system_id == pg.system_id
    assert facts.streaming is not None
    assert facts.streaming.identity is not None
    assert facts.streaming.identity.systemid == pg.system_id
    assert facts.timeline == facts.streaming.identity.timeline == 1
    assert facts.segment_size == 16 * 1024 * 1024
    assert facts.data_directory == str(pg.data)
    assert facts.config_file == str(pg.data / "postgresql.conf")
    assert facts.privileges.is_superuser
    assert facts.privileges.backup
    assert facts.slot is not None
    assert facts.slot.restart_lsn is not None
    assert facts.current_wal == pg.current_wal()
    assert facts.current_size is not None
    assert facts.current_size > 1_000_000
    assert facts.settings["wal_level"] == "replica"
    status = remote_status(facts)
    assert status["streaming_systemid"] == pg.system_id
    assert status["archive_timeout"] == 0
    assert status["checkpoint_timeout"] == 300


def test_a_role_without_privileges_gets_a_snapshot_with_gaps(pg: Cluster) -> None:
    pg.sql("CREATE ROLE nobody LOGIN")
    facts = read_facts(PostgresConnection(pg.conninfo.replace("user=barman", "user=nobody")), with_size=True)
    assert facts.privileges.is_superuser is False
    assert facts.privileges.backup is False
    assert facts.privileges.monitoring is False
    assert not facts.privileges.checkpoint
    assert facts.data_directory is None
    assert facts.current_size is None
    assert facts.slot is None


def test_the_documented_grants_are_enough_to_back_up(pg: Cluster) -> None:
    pg.psql(
        """CREATE ROLE minimal LOGIN;
        GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO minimal;
        GRANT EXECUTE ON FUNCTION pg_backup_stop(boolean) TO minimal;
        GRANT EXECUTE ON FUNCTION pg_switch_wal() TO minimal;
        GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO minimal;
        GRANT pg_read_all_settings TO minimal;
        GRANT pg_read_all_stats TO minimal;
        """
    )
    facts = read_facts(PostgresConnection(pg.conninfo.replace("user=barman", "user=minimal")), with_size=True)
    assert facts.privileges.backup
    assert facts.privileges.monitoring
    assert facts.data_directory == str(pg.data)
    assert facts.current_size


def test_a_standby_tells_its_replay_position_and_no_file(newest_pg: Cluster, pg_factory: ClusterFactory) -> None:
    standby = pg_factory.standby_of(newest_pg)
    connection = PostgresConnection(standby.conninfo)
    facts = read_facts(connection)
    assert facts.in_recovery
    assert facts.current_wal is None
    assert facts.current_lsn is not None
    assert facts.timeline == 1
    assert switch_wal(connection).in_recovery


def test_tablespaces_and_included_files_are_listed(newest_pg: Cluster, pg_factory: ClusterFactory) -> None:
    location = pg_factory.scratch()
    newest_pg.sql(f"CREATE TABLESPACE odd LOCATION '{location}'")
    newest_pg.configure(work_mem="8MB")
    newest_pg.reload()
    facts = read_facts(PostgresConnection(newest_pg.conninfo))
    assert [(item.name, item.location) for item in facts.tablespaces] == [("odd", str(location))]
    assert facts.included_files == (str(newest_pg.data / "postgresql.auto.conf"),)


def test_a_switch_names_the_segment_that_it_closed(pg: Cluster) -> None:
    connection = PostgresConnection(pg.conninfo)
    pg.create_ledger()
    for _ in range(3):
        pg.insert()
        open_segment = pg.current_wal()
        outcome = switch_wal(connection)
        assert outcome.closed is not None
        assert outcome.closed.name == open_segment


def test_a_switch_with_nothing_to_switch_says_so(pg: Cluster) -> None:
    connection = PostgresConnection(pg.conninfo)
    checkpoint(connection)
    # Between two switches the background writer may log a snapshot: an idle server needs a few attempts at most.
    outcomes = [switch_wal(connection).closed for _ in range(5)]
    assert None in outcomes


def test_the_position_on_a_boundary_belongs_to_the_segment_that_it_ends(pg_factory: ClusterFactory) -> None:
    cluster = pg_factory.create("15", segment_mb=1)
    connection = PostgresConnection(cluster.conninfo)
    closed = cluster.switch_wal()
    position = fetch_position(connection)
    assert position.lsn is not None
    assert position.segment is not None
    if position.offset == 0:
        assert position.segment.name == closed


def test_a_restore_point_has_a_position(newest_pg: Cluster) -> None:
    connection = PostgresConnection(newest_pg.conninfo)
    assert create_restore_point(connection, "barman_test") > Lsn(0)


def test_a_checkpoint_without_the_right_is_a_missing_privilege(newest_pg: Cluster) -> None:
    newest_pg.sql("CREATE ROLE nobody LOGIN")
    with pytest.raises(MissingPrivilege, match="pg_checkpoint"):
        checkpoint(PostgresConnection(newest_pg.conninfo.replace("user=barman", "user=nobody")))


def test_a_refused_connection_names_the_place_and_never_the_password(newest_pg: Cluster) -> None:
    newest_pg.stop()
    connection = PostgresConnection(f"host=127.0.0.1 port={newest_pg.port} user=barman password=s3cr3t dbname=postgres")
    with pytest.raises(CannotConnect) as caught:
        connection.connect()
    assert "'127.0.0.1'" in caught.value.message
    assert str(newest_pg.port) in caught.value.message
    assert "s3cr3t" not in caught.value.message + caught.value.hint
    assert "listens" in caught.value.hint


def test_an_idle_connection_that_died_is_opened_anew(newest_pg: Cluster) -> None:
    connection = PostgresConnection(newest_pg.conninfo)
    first = connection.value("SELECT pg_backend_pid()")
    newest_pg.restart()
    assert connection.value("SELECT pg_backend_pid()") != first


def test_a_held_session_that_died_is_an_error(newest_pg: Cluster) -> None:
    connection = PostgresConnection(newest_pg.conninfo)
    with connection.hold():
        connection.value("SELECT 1")
        newest_pg.restart()
        with pytest.raises(CannotConnect, match="reconnection not allowed"):
            connection.value("SELECT 1")


def test_a_keepalive_notices_that_its_session_is_gone(newest_pg: Cluster) -> None:
    connection = PostgresConnection(newest_pg.conninfo)
    with connection.hold(), connection.keepalive(0.05) as heartbeat:
        heartbeat.check()
        newest_pg.stop("immediate")
        wait_until(lambda: heartbeat.failure is not None, "the heartbeat failed", 10)
        with pytest.raises(PostgresError):
            heartbeat.check()


def test_a_statement_is_cut_at_its_deadline(newest_pg: Cluster) -> None:
    connection = PostgresConnection(newest_pg.conninfo)
    connection.limit_statements(Deadline(0.2))
    started = monotonic()
    with pytest.raises(PostgresError, match="statement cancelled"):
        connection.query("SELECT pg_sleep(30)")
    assert monotonic() - started < 5


def test_nobody_slips_in_functions_through_the_search_path(newest_pg: Cluster) -> None:
    newest_pg.sql("ALTER ROLE barman SET search_path TO public, pg_catalog")
    newest_pg.sql("CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    assert PostgresConnection(newest_pg.conninfo).value("SELECT pg_is_in_recovery()") is False


def test_the_users_options_and_application_name_are_kept(newest_pg: Cluster) -> None:
    connection = PostgresConnection(f"{newest_pg.conninfo} options='-c work_mem=9MB' application_name=mine")
    assert connection.value("SHOW work_mem") == "9MB"
    assert connection.value("SHOW application_name") == "mine"
    assert PostgresConnection(newest_pg.conninfo).value("SHOW application_name") == "barman"
    streaming = StreamingConnection(f"{newest_pg.streaming_conninfo} options='-c work_mem=9MB'")
    assert "options='-c work_mem=9MB -cdatestyle=iso'" in streaming.libpq_conninfo()
    assert streaming.identify_system().timeline == 1


def test_a_password_goes_to_programs_through_the_environment() -> None:
    streaming = StreamingConnection("host=db user=streaming password='top secret'")
    assert "secret" not in streaming.libpq_conninfo("barman_receive_wal")
    assert streaming.libpq_conninfo("barman_receive_wal").split()[-1] != "password"
    assert streaming.program_environment() == {"PGPASSWORD": "top secret"}


def test_slots_tell_their_troubles_apart(pg: Cluster, pg_factory: ClusterFactory) -> None:
    streaming = StreamingConnection(pg.streaming_conninfo)
    streaming.create_slot("mine")
    assert fetch_slot(PostgresConnection(pg.conninfo), "mine") is not None
    with pytest.raises(SlotExists):
        streaming.create_slot("mine")
    with pytest.raises(SlotMissing):
        streaming.drop_slot("other")
    for number in range(9):
        streaming.create_slot(f"filler{number}")
    with pytest.raises(NoFreeSlot):
        streaming.create_slot("one_too_many")
    directory = pg_factory.scratch()
    argv = [pg.program("pg_receivewal"), "-D", str(directory), "-S", "mine", "-d", streaming.libpq_conninfo()]
    with Child(argv):
        wait_until(lambda: pg.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'mine'"), "in use")
        with pytest.raises(SlotInUse):
            streaming.drop_slot("mine")
    wait_until(lambda: not pg.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'mine'"), "free")
    streaming.drop_slot("mine")
    assert fetch_slot(PostgresConnection(pg.conninfo), "mine") is None


def test_tls_connections_stand_without_the_ssl_module_of_python(pg_factory: ClusterFactory) -> None:
    """In a process of its own, as this one has the module loaded already."""
    pg = pg_factory.create("15")
    _self_signed(pg.data / "server.crt", pg.data / "server.key")
    pg.configure(ssl="on")
    pg.reload()
    code = (
        "import sys\n"
        "from barman.postgres.connection import PostgresConnection\n"
        "from barman.postgres.replication import StreamingConnection\n"
        "assert 'ssl' not in sys.modules\n"
        "connections = [PostgresConnection(sys.argv[1]) for _ in range(2)]\n"
        "sql = 'SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()'\n"
        "assert [connection.value(sql) for connection in connections] == [True, True]\n"
        "assert StreamingConnection(sys.argv[2]).identify_system().systemid == sys.argv[3]\n"
        "import ssl, hashlib\n"
        "assert ssl.create_default_context().verify_mode and hashlib.sha256(b'').hexdigest()\n"
        "assert PostgresConnection(sys.argv[1]).value(sql)\n"
    )
    wait_until(lambda: pg.value("SHOW ssl") == "on", "the server speaks TLS")
    tcp = [f"{text} host=127.0.0.1 sslmode=require" for text in (pg.conninfo, pg.streaming_conninfo)]
    done = subprocess.run([sys.executable, "-c", code, *tcp, pg.system_id], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _self_signed(certificate: Path, key: Path) -> None:
    """A certificate of this host, owned as the data directory is."""
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    certificate.write_bytes(signed.public_bytes(encoding))
    key.write_bytes(private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    owner = os.stat(certificate.parent)
    for path in (certificate, key):
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
