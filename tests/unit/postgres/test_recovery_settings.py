from barman.postgres.recovery_settings import RecoverySettings, settings_file
from barman.postgres.version import PgVersion

PG11, PG15 = PgVersion(110022), PgVersion(150018)


def test_lines_have_the_order_of_the_original():
    settings = RecoverySettings(
        restore_command="cp /w/%f %p",
        recovery_end_command="rm -fr /w",
        target="time",
        target_value="2026-11-22 08:57:18+00:00",
        inclusive=False,
        timeline="2",
        action="promote",
    )
    assert settings.lines(PG15) == (
        "restore_command = 'cp /w/%f %p'",
        "recovery_end_command = 'rm -fr /w'",
        "recovery_target_time = '2026-11-22 08:57:18+00:00'",
        "recovery_target_inclusive = 'False'",
        "recovery_target_timeline = 2",
        "recovery_target_action = 'promote'",
    )


def test_names_and_commands_are_quoted():
    settings = RecoverySettings(restore_command="echo 'x'", comment="why", target="name", target_value="it's")
    assert settings.lines(PG15) == (
        "# why",
        "restore_command = 'echo ''x'''",
        "recovery_target_name = 'it''s'",
    )


def test_immediate_has_a_setting_of_its_own():
    assert RecoverySettings(target="immediate").lines(PG15) == ("recovery_target = 'immediate'",)


def test_the_signal_depends_on_the_version_and_on_what_is_restored():
    assert RecoverySettings().signal_file(PG15) == "recovery.signal"
    assert RecoverySettings(standby=True).signal_file(PG15) == "standby.signal"
    assert RecoverySettings(standby=True).signal_file(PG11) is None
    assert RecoverySettings(standby=True).lines(PG11) == ("standby_mode = 'on'",)
    assert RecoverySettings(standby=True).lines(PG15) == ()


def test_settings_go_to_the_file_of_the_version():
    assert settings_file(PG11) == "recovery.conf"
    assert settings_file(PG15) == "postgresql.auto.conf"
