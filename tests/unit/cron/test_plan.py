"""What a cron run decides to do."""

from __future__ import annotations

from barman.cron.plan import (
    LARGE_QUEUE,
    ApplyRetention,
    ArchiveWal,
    CheckBackup,
    FailDeadRuns,
    LeaveArchiving,
    Observation,
    ReceiverObservation,
    ResumeDeletions,
    StartReceiver,
    StopReceiver,
    SyncStep,
    plan_maintenance,
    plan_receiver,
)


def test_a_receiver_that_is_wanted_and_runs_is_left_alone() -> None:
    assert plan_receiver(ReceiverObservation(True, 42)) == ()


def test_a_receiver_that_is_wanted_and_does_not_run_is_started() -> None:
    assert plan_receiver(ReceiverObservation(True, None)) == (StartReceiver(),)


def test_a_receiver_with_an_outdated_configuration_is_replaced() -> None:
    assert plan_receiver(ReceiverObservation(True, 42, outdated=True)) == (StopReceiver(42), StartReceiver())


def test_a_receiver_that_is_not_wanted_is_stopped() -> None:
    assert plan_receiver(ReceiverObservation(False, 42)) == (StopReceiver(42),)
    assert plan_receiver(ReceiverObservation(False, None)) == ()


def test_an_idle_server_is_told_to_archive_nothing() -> None:
    assert plan_maintenance(Observation()) == (ArchiveWal(0),)


def test_a_short_queue_is_archived_here_and_a_long_one_elsewhere() -> None:
    assert plan_maintenance(Observation(queued=LARGE_QUEUE)) == (ArchiveWal(LARGE_QUEUE),)
    assert plan_maintenance(Observation(queued=LARGE_QUEUE + 1)) == (ArchiveWal(LARGE_QUEUE + 1, detached=True),)


def test_a_busy_archiver_is_left_to_its_work() -> None:
    assert plan_maintenance(Observation(queued=3, archiver_busy=True)) == (LeaveArchiving(),)


def test_a_passive_node_archives_nothing_and_keeps_everything_else() -> None:
    seen = Observation(passive=True, queued=5, waiting=("20261122T000000",), retention=True)
    assert plan_maintenance(seen) == (SyncStep(), CheckBackup("20261122T000000"), ApplyRetention())


def test_every_waiting_backup_is_checked_after_archiving_and_before_retention() -> None:
    seen = Observation(
        waiting=("20261121T000000", "20261122T000000"), unfinished=True, deleting=True, retention=True, queued=1
    )
    assert plan_maintenance(seen) == (
        FailDeadRuns(),
        ResumeDeletions(),
        ArchiveWal(1),
        CheckBackup("20261121T000000"),
        CheckBackup("20261122T000000"),
        ApplyRetention(),
    )


def test_the_records_of_a_running_backup_are_not_touched() -> None:
    seen = Observation(unfinished=True, deleting=True, backup_running=True, passive=True)
    assert plan_maintenance(seen) == (SyncStep(),)
