"""Set one option in the text of an INI file, leaving every other line, comments too, as it is.

The edited text is read again before it is handed out: an edit that would mean anything else than the one change is
refused, whatever the values look like.
"""

from __future__ import annotations

from barman.config import ini
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from barman.config.ini import Outline, RawValue

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text of the file, and the value that stood there, None if none did."""

    text: str
    old: str | None


def set_option(text: str, section: str, option: str, value: str) -> Edited:
    """Write `option = value` into a section: over the line that counts, else at the end of the section.

    A section that the file does not have is added at its end. Raises ValueError when that cannot be done without
    changing the meaning of anything else.
    """
    mark = _BOM if text.startswith(_BOM) else ""
    body = text.removeprefix(_BOM)
    before = ini.outline(body)
    known = before.values.get(section, {}).get(option)
    lines = _lines_with_ends(body)
    line = f"{option} = {value}".rstrip()
    if known is not None:
        _replace(lines, known, line)
    elif section in before.headers:
        _insert(lines, before, section, line)
    else:
        _append(lines, [f"[{section}]", line])
    edited = "".join(lines)
    expected = _meaning(before)
    expected.setdefault(section, {})[option] = value.strip()
    if _meaning(ini.outline(edited)) != expected:
        raise ValueError(f"option '{option}' cannot be written into section '{section}' without changing other lines")
    return Edited(mark + edited, None if known is None else known.text)


def _meaning(outline: Outline) -> dict[str, dict[str, str]]:
    return {section: {name: value.text for name, value in values.items()} for section, values in outline.values.items()}


def _lines_with_ends(text: str) -> list[str]:
    """The lines as the reader counts them, with what ends them."""
    if "\r" in text:
        return text.splitlines(keepends=True)
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _end_of_lines(lines: list[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _replace(lines: list[str], value: RawValue, line: str) -> None:
    first = value.numbers[0] - 1
    lines[first] = _indent(lines[first]) + line + _end_of_lines(lines)
    for number in reversed(value.numbers[1:]):
        del lines[number - 1]


def _insert(lines: list[str], outline: Outline, section: str, line: str) -> None:
    """Behind the last option of the section: what follows are comments, which may belong to the next one."""
    values = outline.values[section].values()
    header = outline.headers[section]
    last = max((value for value in values), key=lambda value: value.numbers[-1], default=None)
    if last is None or last.numbers[-1] < header:
        place, indent = header, ""
    else:
        # The same indent: a deeper line that follows must not become a continuation of ours.
        place, indent = last.numbers[-1], _indent(lines[last.line - 1])
    if not lines[place - 1].endswith(("\n", "\r")):
        lines[place - 1] += _end_of_lines(lines)
    lines.insert(place, indent + line + _end_of_lines(lines))


def _append(lines: list[str], added: list[str]) -> None:
    end = _end_of_lines(lines)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end
    if lines and lines[-1].strip():
        lines.append(end)
    lines.extend(line + end for line in added)
