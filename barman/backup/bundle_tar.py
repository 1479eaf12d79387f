"""Read the tar of an exported backup: files, directories and links below checked paths, in bounded memory."""

from __future__ import annotations

from barman.wal.tar_stream import BLOCK, Member, TarError, TarReader

FILE, DIRECTORY, LINK = "file", "directory", "link"
_LONGEST, _DEEPEST, _LATEST = 1024, 32, 1 << 40
_KINDS = {b"0": FILE, b"\0": FILE, b"5": DIRECTORY, b"2": LINK}


class TreeReader(TarReader):
    """As `TarReader`, with names that have directories; `kind` and `mode` are those of the current member.

    Hard links, devices and everything else are refused. Where a link leads is not even read.
    """

    kind = FILE
    mode = 0

    def _member(self, block: bytes, kind: bytes, size: int, records: dict[str, str]) -> Member:
        name = records.get("path") or _name_in(block)
        if kind not in _KINDS:
            raise TarError(f"Unsupported file type '{kind.decode('latin-1')}' for file '{name:.200}'")
        self.kind, self.mode = _KINDS[kind], _octal(block[100:108]) & 0o777
        name = name.rstrip("/") if self.kind == DIRECTORY else name
        if not is_inside(name):
            raise TarError(f"Unsupported filename '{name:.200}'")
        if "size" in records:
            size = _whole(records["size"])
        if self.kind != FILE and size:
            raise TarError(f"'{name:.200}' is no file, and has content")
        self._left, self._padding = size, -size % BLOCK
        seconds = records["mtime"].partition(".")[0] if "mtime" in records else ""
        moment = _whole(seconds) if seconds else _octal(block[136:148])
        return Member(name, size, float(min(moment, _LATEST)))


def is_inside(name: str) -> bool:
    """Whether the name is a relative path that leads nowhere but down."""
    parts = name.split("/")
    fits = len(name) <= _LONGEST and len(parts) <= _DEEPEST and "\0" not in name
    return fits and all(part not in ("", ".", "..") for part in parts)


def _name_in(block: bytes) -> str:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
        return f"{_text(block[345:500])}/{name}"
    return name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _octal(field: bytes) -> int:
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if len(digits) > 12 or digits.strip(b"01234567"):
        raise TarError("invalid header")
    return int(digits or b"0", 8)


def _whole(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise TarError("invalid header")
    return int(digits)
