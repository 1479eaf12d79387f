"""A receiver works with what config-update and config-switch wrote as soon as they end."""

from __future__ import annotations

import json

from barman.process import is_alive
from tests.support.fix_postgres import BarmanHome, Cluster, wait_until


def _is_receiving(pg: Cluster, slot: str) -> bool:
    return bool(pg.value(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'"))


def test_a_changed_option_and_another_model_reach_the_receiver_at_once(
    newest_pg: Cluster, barman_home: BarmanHome
) -> None:
    barman_home.add_server("main", newest_pg, streaming_archiver="on", slot_name="first", create_slot="auto")
    barman_home.add_server("standby", model="on", cluster="main", slot_name="third", backup_method="postgres")
    barman_home.run("cron").ok()
    wait_until(lambda: _is_receiving(newest_pg, "first"), "the receiver is connected")

    receiver = barman_home.lock_holder("main", "receive-wal")
    assert receiver
    request = json.dumps([{"scope": "server", "server_name": "main", "slot_name": "second"}])
    done = barman_home.run("config-update", request).ok()
    told = f"Stopped process receive-wal({receiver})\nStarting streaming archiver for server main\n"
    assert done.out.endswith(told)
    assert not is_alive(receiver)
    wait_until(lambda: _is_receiving(newest_pg, "second"), "the new slot is used")

    done = barman_home.run("config-switch", "main", "standby").ok()
    assert "Changing value of option 'slot_name' for server 'main' from 'second' to 'third'" in done.out
    wait_until(lambda: _is_receiving(newest_pg, "third"), "the slot of the model is used")

    barman_home.run("config-switch", "main", "--reset").ok()
    wait_until(lambda: _is_receiving(newest_pg, "second"), "the slot of the server is used")

    request = json.dumps([{"scope": "server", "server_name": "main", "streaming_archiver": "off", "archiver": "on"}])
    done = barman_home.run("config-update", request).ok()
    assert "Stopped process receive-wal" in done.out
    assert "Starting" not in done.out
    assert not _is_receiving(newest_pg, "second")
