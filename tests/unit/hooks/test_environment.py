"""What scripts around a restore are told; the values of the other points are seen by the scripts of their tests."""

from __future__ import annotations

from barman.hooks.environment import recovery_variables
from barman.restore.request import RestoreRequest
from barman.restore.scripts import recover_options


def told(ssh: str | None = None, places: dict[str, str] | None = None, **arguments: object) -> dict[str, str]:
    request = RestoreRequest("latest", "/srv/pg", **arguments)  # type: ignore[arg-type]  # names of any field
    return recovery_variables(request.destination, places or {}, ssh, recover_options(request))


def test_what_was_not_asked_for_is_empty() -> None:
    assert told() == {
        "BARMAN_DESTINATION_DIRECTORY": "/srv/pg",
        "BARMAN_TABLESPACES": "",
        "BARMAN_REMOTE_COMMAND": "",
        "BARMAN_RECOVER_OPTIONS": "",
        "BARMAN_ERROR": "",
    }


def test_relocations_and_the_way_to_another_host_are_told() -> None:
    variables = told("ssh postgres@pg", {"zwei": "/b", "eins": '/with "quotes"'})
    assert variables["BARMAN_TABLESPACES"] == '{"eins": "/with \\"quotes\\"", "zwei": "/b"}'
    assert variables["BARMAN_REMOTE_COMMAND"] == "ssh postgres@pg"


def test_options_are_told_as_they_were_given() -> None:
    # The texts are what the original wrote for these arguments.
    assert told(target_time="2030-01-01 00:00:00", target_action="pause", exclusive=True)["BARMAN_RECOVER_OPTIONS"] == (
        '{"exclusive": true, "target_action": "pause", "target_time": "2030-01-01 00:00:00"}'
    )
    assert told(standby_mode=True, target_immediate=True, target_tli="latest", get_wal=True)[
        "BARMAN_RECOVER_OPTIONS"
    ] == ('{"standby_mode": true, "target_immediate": true, "target_tli": "latest"}')
    assert told(partial_wal=True, target_xid="800", target_tli="1")["BARMAN_RECOVER_OPTIONS"] == (
        '{"copy_partial": true, "target_tli": 1, "target_xid": "800"}'
    )
    assert told(restore_command="false", recovery_conf_filename="x.conf", target_lsn="0/6000000")[
        "BARMAN_RECOVER_OPTIONS"
    ] == ('{"custom_restore_command": "false", "recovery_conf_filename": "x.conf", "target_lsn": "0/6000000"}')
    assert told(target_name="p", barman_port=2222, jobs=4)["BARMAN_RECOVER_OPTIONS"] == (
        '{"recovery_option_port": 2222, "target_name": "p"}'
    )
