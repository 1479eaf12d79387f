from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.config import values
from barman.config.server_config import GLOBAL_OPTIONS, SERVER_OPTIONS

KINDS = {name: option.kind for name, option in {**SERVER_OPTIONS, **GLOBAL_OPTIONS}.items()}


@pytest.mark.parametrize("text", ["true", "T", "YES", "1", "On"])
def test_words_of_truth(text: str) -> None:
    assert values.BOOLEAN.parse(text) is True


@pytest.mark.parametrize("text", ["false", "F", "no", "0", "oFf"])
def test_words_of_falsehood(text: str) -> None:
    assert values.BOOLEAN.parse(text) is False


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("check_timeout", "+30", 30),
        ("backup_compression_level", "-7", -7),
        ("compression_level", "LOW", "low"),
        ("compression_level", "-22", -22),
        ("compression", "GZip", "gzip"),
        ("reuse_backup", "off", "off"),
        ("slot_name", "Barman_1", "barman_1"),
        ("encryption", "none", None),
        ("encryption", "GPG", "gpg"),
        ("last_wal_maximum_age", "1 Hour", datetime.timedelta(hours=1)),
        ("last_wal_maximum_age", "2   MONTHS", datetime.timedelta(days=62)),
        ("last_backup_minimum_size", "5 Ki", 5120),
        ("last_backup_minimum_size", "3M", 3_000_000),
        ("snapshot_disks", "a, b", ["a", " b"]),
        ("tablespace_bandwidth_limit", "a:1 b:c:2 x d:4", {"a": 1, "d": 4}),
        ("recovery_options", "GET-WAL, get-wal", values.RecoveryOptions({"get-wal"})),
        ("retention_policy", " recovery  window OF 4 week ", "RECOVERY WINDOW OF 4 WEEKS"),
        ("retention_policy", "redundancy 03", "REDUNDANCY 3"),
        ("retention_tiers", "5 yearly 012 MONTHLY", "12 MONTHLY, 5 YEARLY"),
        ("basebackups_directory", "s3://bucket/x", "s3://bucket/x"),
        ("wals_directory", "https://a.blob.core.windows.net/c", "https://a.blob.core.windows.net/c"),
        ("staging_path", "/x", "/x"),
        ("custom_compression_magic", "0x28b5", "0x28b5"),
        ("aws_snapshot_lock_expiration_date", "2030-01-01T00:00:00.000Z", "2030-01-01T00:00:00.000Z"),
    ],
)
def test_values_of_every_kind(option: str, text: str, expected: object) -> None:
    assert KINDS[option].parse(text) == expected


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("archiver", "maybe"),
        ("check_timeout", "1.5"),
        ("check_timeout", "-1"),
        ("parallel_jobs", "0"),
        ("compression", "brotli"),
        ("compression_level", "huge"),
        ("compression_level", "+3"),
        ("staging_location", "LOCAL"),
        ("aws_encryption", "aes256"),
        ("slot_name", "a-b"),
        ("last_wal_maximum_age", "5 years"),
        ("last_wal_maximum_age", "999999999999 months"),
        ("last_backup_minimum_size", "5 kb"),
        ("snapshot_disks", "a,,b"),
        ("recovery_options", "get-wal,put-wal"),
        ("backup_options", "concurrent_backup,exclusive_backup"),
        ("retention_policy", "RECOVERY WINDOW OF 4 YEARS"),
        ("retention_tiers", "5 CENTURIES"),
        ("basebackups_directory", "ftp://x"),
        ("basebackups_directory", "s3://"),
        ("staging_path", "tmp"),
        ("custom_compression_magic", "28b5"),
        ("aws_snapshot_lock_expiration_date", "tomorrow"),
    ],
)
def test_bad_values_are_value_errors(option: str, text: str) -> None:
    with pytest.raises(ValueError, match="."):
        KINDS[option].parse(text)


@given(st.sampled_from(sorted(KINDS)), st.text(min_size=1, max_size=30))
def test_no_kind_raises_anything_but_value_errors(option: str, text: str) -> None:
    kind: values.Kind[Any] = KINDS[option]
    try:
        value = kind.parse(text)
    except ValueError:
        if kind.fallback is not None:
            kind.fallback(text)
    else:
        if kind.show is not None and value is not None:
            kind.show(value)


def test_list_values_print_as_clients_parse_them() -> None:
    assert str(values.BackupOptions({"concurrent_backup"})) == "BackupOptions({'concurrent_backup'})"
    assert str(values.RecoveryOptions()) == "RecoveryOptions()"


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("s3://b", "aws-s3"),
        ("gs://b/x", "google-cloud-storage"),
        ("https://console.cloud.google.com/storage/browser/b", "google-cloud-storage"),
        ("https://acc.blob.core.windows.net/c/p", "azure-blob-storage"),
        ("https://example.com/c", None),
        ("ftp://x", None),
    ],
)
def test_bucket_urls_name_their_provider(url: str, provider: str | None) -> None:
    assert values.cloud_provider(url) == provider


@given(
    st.sampled_from(["redundancy", "recovery window of", "REDUNDANCY ", "Recovery  Window Of"]),
    st.one_of(st.integers(-2, 10**12).map(str), st.sampled_from(["", "x", "1.5", "٣"])),
    st.sampled_from(["", "day", "DAYS", "week", "weeks", "month", "MONTHS", "years", "dayss"]),
)
def test_a_policy_is_canonical_here_exactly_when_retention_understands_it(form: str, number: str, unit: str) -> None:
    from barman.errors import ConfigError
    from barman.retention.policy import parse

    text = f"{form} {number} {unit}".strip()
    canonical = values.canonical_retention(text)
    try:
        understood: str | None = str(parse(text))
    except ConfigError:
        understood = None
    assert canonical == understood
