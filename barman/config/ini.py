"""Read an INI file in the dialect of Python's ConfigParser, remembering the line of every value (config.md §2).

Nothing in a damaged file stops the reader: a line that makes no sense becomes a Flaw of the section it is in, so that
the caller can stop the one server it belongs to instead of all of them.
"""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH = 10  # of references to references, as in ConfigParser
DEFAULT_SECTION = "DEFAULT"
OUTSIDE = ""  # section of flaws that are in no section
_SURROGATES = ("\udc80", "\udcff")


class Entry:
    """One value: `raw` as written, `text` interpolated and without quotes, and where it stands."""

    __slots__ = ("file", "line", "raw", "text")

    def __init__(self, raw: str, text: str, file: str, line: int) -> None:
        self.raw = raw
        self.text = text
        self.file = file
        self.line = line

    @property
    def origin(self) -> str:
        """`FILE:LINE`."""
        return f"{self.file}:{self.line}"


class Flaw:
    """A line that cannot be understood; `section` is OUTSIDE when it stands before every section."""

    __slots__ = ("line", "message", "section")

    def __init__(self, section: str, line: int, message: str) -> None:
        self.section = section
        self.line = line
        self.message = message


class IniFile:
    """A file that was read: entries by section and option, and the flaws."""

    __slots__ = ("flaws", "path", "sections")

    def __init__(self, path: str, sections: dict[str, dict[str, Entry]], flaws: list[Flaw]) -> None:
        self.path = path
        self.sections = sections
        self.flaws = flaws


def read(path: str) -> IniFile:
    """Read and interpolate one file. Raises OSError; never complains about the contents other than by flaws."""
    with open(path, "rb") as file:
        return parse(file.read(), path)


def parse(data: bytes, path: str) -> IniFile:
    """Like `read`, of bytes that came from `path`."""
    return _Parser(path).parse(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))


class RawValue:
    """A value as it stands in one section of a file: `numbers` are those of its lines, the first one has the option."""

    __slots__ = ("lines", "numbers")

    def __init__(self, first: str, line: int) -> None:
        self.lines = [first]
        self.numbers = [line]

    @property
    def line(self) -> int:
        """Where the value begins."""
        return self.numbers[0]

    @property
    def text(self) -> str:
        """The value, its lines joined."""
        return "\n".join(self.lines).rstrip()


class Outline:
    """Where everything stands in a file: values by section and option, and the line of the last header of a section.

    Options of [DEFAULT] are in that section alone.
    """

    __slots__ = ("headers", "values")

    def __init__(self, values: dict[str, dict[str, RawValue]], headers: dict[str, int]) -> None:
        self.values = values
        self.headers = headers


def outline(text: str) -> Outline:
    """Find out where everything stands, for a program that changes the file."""
    parser = _Parser("")
    parser.scan(text)
    return Outline(parser.raw, parser.headers)


def split_lines(text: str) -> list[str]:
    """The lines that the reader sees."""
    return text.splitlines() if "\r" in text else text.split("\n")


class _Parser:
    def __init__(self, path: str) -> None:
        self.path = path
        self.raw: dict[str, dict[str, RawValue]] = {}
        self.headers: dict[str, int] = {}
        self.flaws: list[Flaw] = []
        self.section: str | None = None
        self.current: RawValue | None = None
        self.indent = 0

    def parse(self, text: str) -> IniFile:
        self.scan(text)
        return self._finish()

    def scan(self, text: str) -> None:
        for number, line in enumerate(split_lines(text), 1):
            value = line.strip()
            if not value:
                if self.current is not None:
                    self.current.lines.append("")
            elif value[0] not in "#;":
                self._line(line, value, number)

    def _line(self, line: str, value: str, number: int) -> None:
        if any(_SURROGATES[0] <= letter <= _SURROGATES[1] for letter in value) and not value.isascii():
            self.flaws.append(Flaw(self.section or OUTSIDE, number, "the line is not valid UTF-8"))
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        indent = len(line) - len(line.lstrip())
        if self.current is not None and indent > self.indent:
            self.current.lines.append(value)
            self.current.numbers.append(number)
            return
        self.indent = indent
        end = value.rfind("]")
        if value[0] == "[" and end > 1:
            self.section = value[1:end]
            self.raw.setdefault(self.section, {})
            self.headers[self.section] = number
            self.current = None
        else:
            self._option(value, number)

    def _option(self, value: str, number: int) -> None:
        places = [place for place in (value.find("="), value.find(":")) if place >= 0]
        place = min(places, default=-1)
        name = value[:place].rstrip().lower()
        if self.section is None:
            self.flaws.append(Flaw(OUTSIDE, number, f"text before the first section: {_excerpt(value)}"))
        elif place < 0:
            self.flaws.append(Flaw(self.section, number, f"no '=' in the line: {_excerpt(value)}"))
            self.current = None
        elif not name:
            self.flaws.append(Flaw(self.section, number, "no option name before the '='"))
            self.current = None
        else:
            self.current = RawValue(value[place + 1 :].strip(), number)
            # Popped first, so that the order is that of the lines that count.
            options = self.raw[self.section]
            options.pop(name, None)
            options[name] = self.current

    def _finish(self) -> IniFile:
        raws = {section: {name: raw.text for name, raw in options.items()} for section, options in self.raw.items()}
        defaults = raws.pop(DEFAULT_SECTION, {})
        default_lines = self.raw.pop(DEFAULT_SECTION, {})
        sections: dict[str, dict[str, Entry]] = {}
        for section, own in raws.items():
            merged = {**defaults, **own} if defaults else own
            entries: dict[str, Entry] = {}
            for name, raw in merged.items():
                line = (self.raw[section].get(name) or default_lines[name]).line
                try:
                    text = unquote(interpolate(raw, merged) if "%" in raw else raw)
                except ValueError as error:
                    self.flaws.append(Flaw(section, line, f"option '{name}': {error}"))
                    continue
                entries[name] = Entry(raw, text, self.path, line)
            sections[section] = entries
        for flaw in self.flaws:
            if flaw.section == DEFAULT_SECTION:
                flaw.section = OUTSIDE
        return IniFile(self.path, sections, self.flaws)


def _excerpt(value: str) -> str:
    from barman.logs import redact

    return repr(redact(value[:60]))


def interpolate(raw: str, options: Mapping[str, str], depth: int = 1) -> str:
    """Replace `%(option)s` by that option's value and `%%` (or `%%%%`, as the original needs it) by a percent sign.

    Raises ValueError for an unknown option, a stray percent sign, or references that go round in circles.
    """
    if "%" not in raw:
        return raw
    if depth > MAX_DEPTH:
        raise ValueError("interpolation is nested too deeply")
    parts: list[str] = []
    position = 0
    while (place := raw.find("%", position)) >= 0:
        parts.append(raw[position:place])
        if raw.startswith("%%", place):
            parts.append("%")
            position = place + (4 if raw.startswith("%%%%", place) else 2)
            continue
        end = raw.find(")s", place)
        if not raw.startswith("%(", place) or end < 0:
            raise ValueError("a '%' must be followed by '%' or '(option)s'; write '%%' for a percent sign")
        name = raw[place + 2 : end].lower()
        if name not in options:
            raise ValueError(f"'%({name})s' refers to an option that is not in the same section of the same file")
        parts.append(interpolate(options[name], options, depth + 1))
        position = end + 2
    parts.append(raw[position:])
    return "".join(parts)


def unquote(text: str) -> str:
    """Take off one pair of quotes that encloses the whole value."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
