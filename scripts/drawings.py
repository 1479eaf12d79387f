"""Draw docs/explanation/drawings/NAME.svg from NAME.drawing. `--check` fails when a picture is stale.

One line for each thing; lengths are units of ten pixels, from the upper left corner:

    title TEXT
    size WIDTH HEIGHT
    zone COLOUR X Y W H TITLE              a host: database, barman, other
    box NAME X Y W H TITLE [TEXT...]       a program or a server
    store NAME X Y W H TITLE [TEXT...]     files on disk
    arrow KIND FROM TO [WORD=VALUE...] [LABEL...]
    note X Y TEXT

FROM and TO are NAME.SIDE, with n, e, s or w for the side, and `+N` or `-N` behind it to leave its middle. An arrow runs
straight or with one bend or two; `bend=N` puts the middle part of three there. `put=above|below|left|right` is where the
label stands, `on=N` beside which part of the arrow (else the longest), `shift=X,Y` moves it.

A drawing is refused when a text leaves its box, or when things cover each other.

A tool of our own because a picture is then the same on every host and a change of one line changes one place: programs
that choose the layout move everything with every version.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from html import escape
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).resolve().parent.parent / "docs/explanation/drawings"
UNIT = 10
LINE = 15
ZONES = {"database": ("#eaf2fb", "#7fa6d1"), "barman": ("#ecf6ea", "#83b57c"), "other": ("#fdf3e3", "#d8a95b")}
KINDS = {
    "wal": ("#1d5fa8", "", "WAL"),
    "backup": ("#2c7a33", "", "base backups"),
    "sync": ("#b4570a", "", "copied by a passive node"),
    "restore": ("#7a3a9d", "", "restore"),
    "ask": ("#5b6670", "5 4", "questions, commands"),
    "flow": ("#4a5763", "", ""),
}
OPTIONS = ("bend", "put", "on", "shift")
STYLE = """text{font-family:Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif;fill:#1c2733}
.title{font-size:18px;font-weight:bold}.zone{font-size:13px;font-weight:bold;fill:#465461}
.name{font-size:13px;font-weight:bold}.text{font-size:11px;fill:#465461}
.box{fill:#fff;stroke:#4a5763;stroke-width:1.3}.store{fill:#fffbe8;stroke:#8d7a36;stroke-width:1.3}"""


class Wrong(Exception):
    """A drawing cannot be read, or would not look well."""


class Area(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Area) -> bool:
        """Tell whether the two have more than an edge in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other: Area) -> bool:
        """Tell whether the other lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    @property
    def edges(self) -> list[Area]:
        """Return the four sides."""
        left, top, right, bottom = self
        return [
            Area(left, top, right, top),
            Area(left, bottom, right, bottom),
            Area(left, top, left, bottom),
            Area(right, top, right, bottom),
        ]


class Drawing:
    """One picture: what is drawn, and the areas it takes."""

    def __init__(self, source: str) -> None:
        self.heading = ""
        self.size = (0.0, 0.0)
        self.zones: list[str] = []
        self.lines: list[str] = []
        self.shapes: list[str] = []
        self.kinds: list[str] = []
        self.boxes: dict[str, Area] = {}
        self.hosts: dict[str, Area] = {}
        self.texts: list[tuple[str, Area]] = []
        self.segments: list[tuple[str, str, str, Area]] = []
        for number, line in enumerate(source.splitlines(), 1):
            words = shlex.split(line, comments=True)
            try:
                if words:
                    getattr(self, f"draw_{words[0]}")(*words[1:])
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise Wrong(f"line {number}: {line.strip()}: {error!r}") from error

    def draw_title(self, text: str) -> None:
        """`title TEXT`."""
        self.heading = text

    def draw_size(self, width: str, height: str) -> None:
        """`size WIDTH HEIGHT`."""
        self.size = (float(width) * UNIT, float(height) * UNIT)

    def draw_zone(self, colour: str, *rest: str) -> None:
        """`zone COLOUR X Y W H TITLE`."""
        area, title = _area(rest[:4]), rest[4]
        fill, stroke = ZONES[colour]
        self.zones.append(_rectangle(area, 10, f'fill="{fill}" stroke="{stroke}"'))
        self.hosts[title] = area
        self._text(self.zones, "zone", title, area.left + 12, area.top + 21)

    def draw_box(self, name: str, *rest: str) -> None:
        """`box NAME X Y W H TITLE [TEXT...]`."""
        area = self.boxes[name] = _area(rest[:4])
        self.shapes.append(_rectangle(area, 6, 'class="box"'))
        self._fill(area, 0, rest[4:])

    def draw_store(self, name: str, *rest: str) -> None:
        """`store NAME X Y W H TITLE [TEXT...]`."""
        area = self.boxes[name] = _area(rest[:4])
        left, top, right, bottom = area
        half, lid = (right - left) / 2, 6
        arc = f"a{half:g} {lid} 0 0"
        self.shapes.append(
            f'<path class="store" d="M{left:g} {top + lid:g}{arc} 1 {2 * half:g} 0v{bottom - top - 2 * lid:g}'
            f'{arc} 1 {-2 * half:g} 0z M{left:g} {top + lid:g}{arc} 0 {2 * half:g} 0"/>'
        )
        self._fill(area, lid, rest[4:])

    def draw_note(self, left: str, top: str, text: str) -> None:
        """`note X Y TEXT`."""
        self._text(self.shapes, "text", text, float(left) * UNIT, float(top) * UNIT)

    def draw_arrow(self, kind: str, start: str, end: str, *rest: str) -> None:
        """`arrow KIND FROM TO [WORD=VALUE...] [LABEL...]`."""
        options = dict(word.split("=", 1) for word in rest if word.partition("=")[0] in OPTIONS)
        labels = [word for word in rest if word.partition("=")[0] not in OPTIONS]
        points = self._way(start, end, options.get("bend"))
        colour, dashes, _ = KINDS[kind]
        if kind not in self.kinds:
            self.kinds.append(kind)
        way = " ".join(f"{x:g},{y:g}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.lines.append(
            f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"{dashed} '
            f'marker-end="url(#{kind})"/>'
        )
        pieces = [_between(one, other) for one, other in zip(points, points[1:], strict=False)]
        names = (start.partition(".")[0], end.partition(".")[0])
        self.segments += [(f"{start} {end}", *names, piece) for piece in pieces]
        if labels:
            longest = max(pieces, key=lambda one: one.right - one.left + one.bottom - one.top)
            self._label(labels, pieces[int(options["on"])] if "on" in options else longest, options)

    def _label(self, labels: list[str], piece: Area, options: dict[str, str]) -> None:
        flat = piece.top == piece.bottom
        put = options.get("put", "above" if flat else "right")
        x, y = (piece.left + piece.right) / 2, (piece.top + piece.bottom) / 2
        height = LINE * (len(labels) - 1)
        anchor = {"left": "end", "right": "start"}.get(put, "middle")
        x += {"left": -8, "right": 8}.get(put, 0)
        y += {"above": -7 - height, "below": 16}.get(put, 4 - height / 2)
        dx, _, dy = options.get("shift", "0,0").partition(",")
        for index, label in enumerate(labels):
            self._text(self.shapes, "text", label, x + float(dx) * UNIT, y + float(dy) * UNIT + index * LINE, anchor)

    def _way(self, start: str, end: str, bend: str | None) -> list[tuple[float, float]]:
        (x1, y1, side), (x2, y2, other) = self._end(start), self._end(end)
        flat, other_flat = side in "ew", other in "ew"
        if flat != other_flat:
            return [(x1, y1), (x2, y1) if flat else (x1, y2), (x2, y2)]
        if (flat and y1 == y2) or (not flat and x1 == x2):
            return [(x1, y1), (x2, y2)]
        if flat:
            middle = float(bend) * UNIT if bend else (x1 + x2) / 2
            return [(x1, y1), (middle, y1), (middle, y2), (x2, y2)]
        middle = float(bend) * UNIT if bend else (y1 + y2) / 2
        return [(x1, y1), (x1, middle), (x2, middle), (x2, y2)]

    def _end(self, text: str) -> tuple[float, float, str]:
        name, _, place = text.partition(".")
        left, top, right, bottom = self.boxes[name]
        off = float(place[1:] or 0) * UNIT
        side = place[0]
        if side in "ns":
            return (left + right) / 2 + off, top if side == "n" else bottom, side
        return left if side == "w" else right, (top + bottom) / 2 + off, side

    def _fill(self, area: Area, lid: float, texts: tuple[str, ...]) -> None:
        middle = (area.left + area.right) / 2
        y = (area.top + lid + area.bottom) / 2 - LINE * (len(texts) - 1) / 2 + 4.5
        room = Area(area.left + 3, area.top + 2 * lid, area.right - 3, area.bottom)
        for index, text in enumerate(texts):
            box = self._text(self.shapes, "text" if index else "name", text, middle, y + index * LINE, "middle")
            if not room.holds(box):
                raise ValueError(f"{text!r} does not fit: {box.right - box.left:.0f} of {room.right - room.left:.0f}")

    def _text(self, layer: list[str], style: str, text: str, x: float, y: float, anchor: str = "start") -> Area:
        """Draw a text, and return its area as wide as the widest of the usual fonts makes it."""
        size = {"zone": 13, "name": 13}.get(style, 11)
        width = sum(_width(letter) for letter in text) * size * (1.1 if size == 13 else 1)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        area = Area(left, y - size * 0.8, left + width, y + size * 0.25)
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        layer.append(f'<text class="{style}" x="{x:g}" y="{y:g}"{where}>{escape(text)}</text>')
        self.texts.append((text, area))
        return area

    def judge(self) -> list[str]:
        """Return everything that leaves the picture or covers something else."""
        page = Area(10, 50, self.size[0] - 10, self.size[1] - 40)
        found = [f"{text!r} leaves the picture" for text, area in self.texts if not page.holds(area)]
        found += [f"{name} leaves the picture" for name, area in self.boxes.items() if not page.holds(area)]
        for index, (text, area) in enumerate(self.texts):
            found += [f"{text!r} covers {other!r}" for other, place in self.texts[:index] if area.meets(place)]
            found += [f"{text!r} lies on the arrow {one[0]}" for one in self.segments if area.meets(_thick(one[3]))]
            found += [
                f"{text!r} crosses an edge of {name}"
                for name, place in (*self.boxes.items(), *self.hosts.items())
                if any(area.meets(_thick(edge, 1)) for edge in place.edges)
            ]
        for index, (name, area) in enumerate(self.boxes.items()):
            found += [
                f"{name} covers {other}" for other, place in list(self.boxes.items())[:index] if area.meets(place)
            ]
            found += [
                f"{name} crosses an edge of {host}"
                for host, place in self.hosts.items()
                if any(area.meets(_thick(edge, 1)) for edge in place.edges)
            ]
            found += [
                f"the arrow {one[0]} crosses {name}"
                for one in self.segments
                if name not in one[1:3] and area.meets(_thick(one[3]))
            ]
        for index, one in enumerate(self.segments):
            found += [
                f"the arrow {one[0]} meets {other[0]}"
                for other in self.segments[:index]
                if one[0] != other[0] and _thick(one[3]).meets(_thick(other[3]))
            ]
        return found

    def picture(self) -> str:
        """Return the SVG. Raises Wrong."""
        if found := self.judge():
            raise Wrong("; ".join(found))
        width, height = self.size
        legend: list[str] = []
        x = 20.0
        for kind in (kind for kind in self.kinds if KINDS[kind][2]):
            colour, dashes, text = KINDS[kind]
            dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
            legend.append(f'<path d="M{x:g} {height - 19:g}h26" stroke="{colour}" stroke-width="2"{dashed}/>')
            legend.append(f'<text class="text" x="{x + 33:g}" y="{height - 15:g}">{text}</text>')
            x += 60 + sum(map(_width, text)) * 11
        markers = [
            f'<marker id="{kind}" viewBox="0 0 8 8" refX="7.2" refY="4" markerWidth="5.5" markerHeight="5.5" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{KINDS[kind][0]}"/></marker>'
            for kind in self.kinds
        ]
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
                f'height="{height:g}" role="img">',
                f"<title>{escape(self.heading)}</title>",
                f"<style>{STYLE}</style>",
                f"<defs>{''.join(markers)}</defs>",
                _rectangle(Area(0.5, 0.5, width - 0.5, height - 0.5), 12, 'fill="#ffffff" stroke="#d5dbe1"'),
                f'<text class="title" x="20" y="33">{escape(self.heading)}</text>',
                *self.zones,
                *self.lines,
                *self.shapes,
                *legend,
                "</svg>\n",
            ]
        )


def _area(words: tuple[str, ...]) -> Area:
    x, y, width, height = (float(word) * UNIT for word in words)
    return Area(x, y, x + width, y + height)


def _between(one: tuple[float, float], other: tuple[float, float]) -> Area:
    return Area(min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1]))


def _thick(line: Area, by: float = 2) -> Area:
    return Area(line.left - by, line.top - by, line.right + by, line.bottom + by)


def _rectangle(area: Area, round_by: float, look: str) -> str:
    left, top, right, bottom = area
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="{round_by:g}" {look}/>'
    )


def _width(letter: str) -> float:
    """Return the width of a letter as a share of the size of the font: of DejaVu Sans, the widest that is common."""
    if letter in "ijl.,:;'! |":
        return 0.33
    if letter in "frtI()[]/-":
        return 0.41
    if letter in "mwMW%@→":
        return 0.98
    return 0.7 if letter.isupper() or letter in "_=+<>" else 0.63


def main() -> int:
    """Write every picture, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a picture is stale")
    check = parser.parse_args().check
    failed = False
    for source in sorted(DIRECTORY.glob("*.drawing")):
        try:
            picture = Drawing(source.read_text(encoding="utf-8")).picture()
        except Wrong as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            failed = True
            continue
        target = source.with_suffix(".svg")
        if check and (not target.exists() or target.read_text(encoding="utf-8") != picture):
            print(f"{target.name} is stale: run scripts/drawings.py", file=sys.stderr)
            failed = True
        elif not check:
            target.write_text(picture, encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
