import hashlib

import pytest

from barman.errors import CorruptRecord
from barman.postgres.backup_manifest import ManifestFile, parse, read
from barman.postgres.lsn import Lsn


def manifest(*entries, head='{ "PostgreSQL-Backup-Manifest-Version": 1,\n', ranges=""):
    body = head + '"Files": [\n' + ",\n".join(entries) + "\n],\n" + ranges
    return (body + f'"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n').encode()


FILE = (
    '{ "Path": "base/1/112", "Size": 8192, "Last-Modified": "2026-11-22 08:00:00 GMT", '
    '"Checksum-Algorithm": "CRC32C", "Checksum": "5bd3be2e" }'
)
ENCODED = '{ "Encoded-Path": "ff2f61", "Size": 1, "Last-Modified": "2026-11-22 08:00:00 GMT" }'
RANGES = '"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }\n],\n'


def lines(data):
    return data.splitlines(keepends=True)


def test_a_manifest_of_the_server_is_read():
    found = parse(lines(manifest(FILE, ENCODED, ranges=RANGES)))
    assert found.version == 1
    assert found.files[0] == ManifestFile("base/1/112", 8192, "CRC32C", "5bd3be2e")
    assert found.files[1].path == "\udcff/a"
    assert (found.wal_ranges[0].timeline, found.wal_ranges[0].end) == (1, Lsn.parse("0/2000100"))


def test_version_2_has_a_system_identifier():
    head = '{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": 7575757575,\n'
    found = parse(lines(manifest(FILE, head=head)))
    assert (found.version, found.system_identifier) == (2, "7575757575")


def test_a_generated_manifest_is_read():
    head = '{"PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n'
    entry = '{"Checksum": "00", "Checksum-Algorithm": "SHA256", "Last-Modified": "x", "Path": "a", "Size": 3}'
    body = head + entry + ",\n" + entry + "],\n"
    text = body + f'"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n'
    assert len(parse(lines(text.encode())).files) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        manifest(FILE)[:-40],
        manifest(FILE).replace(b"8192", b"8193"),
        manifest('{ "Path": "../x", "Size": 1 }'),
        manifest('{ "Path": "/etc/x", "Size": 1 }'),
        manifest('{ "Path": "x", "Size": -1 }'),
        manifest('{ "Path": "x" }'),
        manifest('{ "Path": "x", '),
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_manifest_is_refused(data):
    with pytest.raises(CorruptRecord):
        parse(lines(data))


def test_an_endless_line_is_refused(tmp_path):
    path = tmp_path / "backup_manifest"
    path.write_bytes(b"{" * 1_000_000)
    with pytest.raises(CorruptRecord, match="longer than"):
        read(str(path))
