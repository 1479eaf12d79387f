"""Kinds of option values: how a text becomes a value, what an empty text means, how a value is shown (config.md §8)."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

T = TypeVar("T")

BLOCK = "block"  # an empty value is a value: nothing is inherited, no default applies
UNSET = "unset"  # an empty value counts as absent
REJECT = "reject"  # an empty value is invalid: warn, then count as absent

_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "1", "on"), True),
    **dict.fromkeys(("false", "f", "no", "0", "off"), False),
}


class Kind(Generic[T]):
    """A grammar of values of type T.

    `parse` raises ValueError with the reason, and is never called with an empty text: `empty` (BLOCK, UNSET or REJECT)
    says what that means, and with BLOCK the value is `empty_value`. A kind with `fallback` never rejects a text: the
    value becomes what `fallback(text)` returns, and only the log hears of it. `show` gives the text form of a value
    in JSON documents; without it the value is shown as it is.
    """

    __slots__ = ("choices", "empty", "empty_value", "fallback", "grammar", "parse", "show")

    def __init__(
        self,
        parse: Callable[[str], T],
        grammar: str,
        *,
        empty: str = REJECT,
        empty_value: Any = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.parse = parse
        self.grammar = grammar
        self.empty = empty
        self.empty_value = empty_value
        self.choices = choices
        self.fallback: Callable[[str], Any] | None = None
        self.show: Callable[[T], object] | None = None


class Words(frozenset[str]):
    """The words of a list option; `str()` prints as `BackupOptions({'concurrent_backup'})`, which clients parse."""

    __slots__ = ()

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        inner = ", ".join(repr(word) for word in sorted(self))
        return f"{type(self).__name__}({{{inner}}})" if self else f"{type(self).__name__}()"


class BackupOptions(Words):
    """Value of `backup_options`."""

    __slots__ = ()


class RecoveryOptions(Words):
    """Value of `recovery_options`."""

    __slots__ = ()


W = TypeVar("W", bound=Words)


def parse_boolean(text: str) -> bool:
    """True or False, or ValueError."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("Invalid boolean representation (must be one in: true|t|yes|1|on | false|f|no|0|off)")
    return value


def integer_kind(minimum: int | None = None, unit: str = "") -> Kind[int]:
    """Whole numbers, with a smallest allowed value: below it programs that we start would only fail later."""

    def parse(text: str) -> int:
        number = int(text)
        if minimum is not None and number < minimum:
            raise ValueError(f"must not be less than {minimum}")
        return number

    grammar = "integer" + (f" ({unit})" if unit else "") + (f", at least {minimum}" if minimum is not None else "")
    return Kind(parse, grammar)


def late_integer_kind(fallback: int | None, minimum: int, unit: str = "") -> Kind[int]:
    """Whole numbers whose bad texts are replaced by `fallback`, which only the log tells (config.md §7)."""
    kind = integer_kind(minimum, unit)
    kind.fallback = lambda _text: fallback
    return kind


def choice_kind(*choices: str, exact: bool = False, none: str | None = None) -> Kind[str]:
    """One word out of `choices`, in any case unless `exact`. The word `none`, if named, means None, and is set."""

    def parse(text: str) -> Any:
        word = text if exact else text.lower()
        if word not in choices:
            raise ValueError(f"Invalid value: '{text}' (must be one in: {', '.join(choices)})")
        return None if word == none else word

    return Kind(parse, "one of " + ", ".join(f"`{choice}`" for choice in choices), choices=choices)


def fixed_kind(word: str) -> Kind[str]:
    """A kind with one value: any other text is replaced by it, which only the log tells (config.md §7)."""
    kind = choice_kind(word)
    kind.fallback = lambda _text: word
    return kind


def words_kind(into: type[W], *choices: str, conflicts: tuple[str, ...] = ()) -> Kind[W]:
    """Comma separated words out of `choices`, of which at most one may be in `conflicts`."""

    def parse(text: str) -> W:
        words = into(part.strip().lower() for part in text.split(","))
        for word in sorted(words):
            if word not in choices:
                raise ValueError(f"Unknown option '{word}' (must be in: {', '.join(choices)})")
        if len(words.intersection(conflicts)) > 1:
            raise ValueError("cannot contain both " + " and ".join(f"'{word}'" for word in conflicts))
        return words

    kind = Kind(
        parse,
        "comma separated list of " + ", ".join(f"`{choice}`" for choice in choices),
        empty=BLOCK,
        empty_value=into(),
        choices=choices,
    )
    kind.show = lambda value: ",".join(sorted(value))
    return kind


def _parse_path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path cannot contain a NUL character")
    return text


def _parse_absolute_path(text: str) -> str:
    _parse_path(text)
    if not text.startswith("/"):
        raise ValueError(f"Invalid value : '{text}' (must be an absolute path)")
    return text


def is_url(path: str | None) -> bool:
    """Whether a directory option names a bucket in the cloud instead of a local path."""
    return path is not None and "://" in path


def cloud_provider(url: str) -> str | None:
    """The provider that a bucket URL belongs to (config.md §11), None if nobody we know."""
    if url.startswith("s3://") and len(url) > 5:
        return "aws-s3"
    if url.startswith(("gs://", "https://console.cloud.google.com/storage/browser/")):
        return "google-cloud-storage"
    host = url[8:].partition("/")[0] if url.startswith("https://") else ""
    return "azure-blob-storage" if host.endswith(".blob.core.windows.net") else None


def _parse_directory_or_url(text: str) -> str:
    if is_url(text) and cloud_provider(text) is None:
        raise ValueError("The URL is not compatible with any of the supported cloud providers")
    return _parse_path(text)


def _parse_slot(text: str) -> str:
    name = text.lower()
    if not all(letter in "abcdefghijklmnopqrstuvwxyz0123456789_" for letter in name):
        raise ValueError(
            "Replication slot names may only contain lower case letters, numbers, and the underscore character."
        )
    return name


def _parse_level(text: str) -> int | str:
    word = text.lower()
    if word in ("low", "medium", "high"):
        return word
    if text.removeprefix("-").isdecimal() and len(text) < 10:
        return int(text)
    raise ValueError(f"Invalid value: '{text}' (must be one in [low, medium, high] or an acceptable integer)")


def _parse_disks(text: str) -> list[str]:
    names = text.split(",")
    if not all(names):
        raise ValueError(f"{names}")
    return names


def _parse_size(text: str) -> int:
    from barman.errors import BarmanError
    from barman.units import parse_size

    try:
        return parse_size(text)
    except (ValueError, BarmanError):
        raise ValueError(f"Invalid value for a number {text}") from None


def _parse_interval(text: str) -> datetime.timedelta:
    from barman.errors import BarmanError
    from barman.units import parse_interval

    try:
        return parse_interval(text)
    except (ValueError, OverflowError, BarmanError):
        raise ValueError(f"Invalid value for a time interval {text}") from None


def _show_interval(value: datetime.timedelta) -> str:
    from barman.units import format_interval

    return format_interval(value)


def tablespace_rules(text: str) -> tuple[dict[str, int], list[str]]:
    """The `NAME:KBPS` rules of a text, and the rules that are none."""
    rules: dict[str, int] = {}
    rejected: list[str] = []
    for rule in text.split():
        name, colon, limit = rule.partition(":")
        try:
            if not (name and colon):
                raise ValueError
            rules[name] = int(limit)
        except ValueError:
            rejected.append(rule)
    return rules, rejected


def canonical_retention(text: str) -> str | None:
    """`REDUNDANCY N` or `RECOVERY WINDOW OF N DAYS|WEEKS|MONTHS` as it is displayed; None if the text is no policy.

    The same grammar as `retention.policy.parse` (a test holds them together), which costs more to import than
    `list-servers` may take.
    """
    words = text.upper().split()
    if len(words) == 2 and words[0] == "REDUNDANCY" and _is_number(words[1]):
        return f"REDUNDANCY {int(words[1])}"
    if len(words) == 5 and words[:3] == ["RECOVERY", "WINDOW", "OF"] and _is_number(words[3]):
        unit = words[4] if words[4].endswith("S") else words[4] + "S"
        if unit in ("DAYS", "WEEKS", "MONTHS"):
            return f"RECOVERY WINDOW OF {int(words[3])} {unit}"
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _parse_retention(text: str) -> str:
    canonical = canonical_retention(text)
    if canonical is None:
        raise ValueError("not a retention policy")
    return canonical


def _parse_tiers(text: str) -> str:
    from barman.errors import ConfigError
    from barman.retention.tiers import parse_tiers

    try:
        return ", ".join(str(tier) for tier in parse_tiers(text))
    except ConfigError as error:
        raise ValueError(error.message) from None


def _parse_magic(text: str) -> str:
    try:
        bytes.fromhex(text[2:] if text.startswith("0x") else "?")
    except ValueError:
        raise ValueError(f"Invalid value: '{text}' (must be 0x and an even number of hexadecimal digits)") from None
    return text


def _parse_lock_date(text: str) -> str:
    import datetime

    try:
        datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        raise ValueError(f"Invalid value: '{text}' (must be YYYY-MM-DDTHH:MM:SS.sssZ)") from None
    return text


def _same(text: str) -> str:
    return text


def _compression_kind() -> Kind[str]:
    kind = choice_kind("gzip", "bzip2", "pygzip", "pybzip2", "pigz", "xz", "zstd", "lz4", "snappy", "custom")
    kind.empty = BLOCK
    return kind


STRING = Kind(_same, "string", empty=BLOCK)
NAME = Kind(_same, "string")
CONNECTION = Kind(_same, "libpq connection string or URI", empty=BLOCK)
SHELL = Kind(_same, "shell command", empty=BLOCK)
PATH = Kind(_parse_path, "path")
PATH_LIST = Kind(_same, "colon separated list of directories", empty=BLOCK)
DIRECTORY_OR_URL = Kind(_parse_directory_or_url, "path, or URL of a bucket")
ABSOLUTE_PATH = Kind(_parse_absolute_path, "absolute path")
BOOLEAN = Kind(parse_boolean, "boolean")
SLOT = Kind(_parse_slot, "replication slot name")
COMPRESSION = _compression_kind()
MAGIC = Kind(_parse_magic, "`0x` and hexadecimal digits", empty=BLOCK)
LOCK_DATE = Kind(_parse_lock_date, "`YYYY-MM-DDTHH:MM:SS.sssZ`")
LEVEL = Kind(_parse_level, "`low`, `medium`, `high` or an integer", choices=("low", "medium", "high"))
DISKS = Kind(_parse_disks, "comma separated list of disk names")
SIZE = Kind(_parse_size, "size: an integer and one of k, Ki, M, Mi, G, Gi, T, Ti, or bytes", empty=UNSET)
INTERVAL = Kind(_parse_interval, "interval: `N hours`, `N days`, `N weeks` or `N months`", empty=UNSET)
INTERVAL.show = _show_interval
TABLESPACE_LIMITS = Kind(lambda text: tablespace_rules(text)[0] or None, "list of `TABLESPACE:KBPS`", empty=BLOCK)
# A text that is no policy is kept: `check` shows it, and nothing is deleted because of it.
RETENTION = Kind(_parse_retention, "`REDUNDANCY N` or `RECOVERY WINDOW OF N {DAYS|WEEKS|MONTHS}`", empty=BLOCK)
RETENTION.fallback = _same
TIERS = Kind(_parse_tiers, "list of `N DAILY`, `N WEEKLY`, `N MONTHLY`, `N YEARLY`", empty=BLOCK)
TIERS.fallback = _same
