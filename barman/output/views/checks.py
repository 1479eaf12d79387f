"""View of `check` (cli reference, section 4)."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.check.check import CheckReport


class CheckReportView:
    """One line a check."""

    @staticmethod
    def console(result: CheckReport, write: Callable[[str], None]) -> None:
        """Write the lines, and below a line what explains it."""
        write(f"Server {server_title(result.server_name, active=result.active, disabled=result.disabled)}:")
        for line in result.results:
            word = "OK" if line.ok else "FAILED"
            write(f"\t{line.name}: {word}" + (f" ({line.hint})" if line.hint else ""))
            for detail in line.details:
                write(f"\t\t{detail}")

    @staticmethod
    def json(result: CheckReport) -> dict[str, Any]:
        """Status and hint of every check under its key; explanations are messages."""
        found: dict[str, Any] = {
            result.server_name: {
                check_key(line.name): {"status": "OK" if line.ok else "FAILED", "hint": line.hint}
                for line in result.results
            }
        }
        details = [f"\t\t{detail}" for line in result.results for detail in line.details]
        if details:
            found["_INFO"] = details
        return found


def server_title(name: str, *, active: bool, disabled: bool) -> str:
    """The name with what is special about the server."""
    if not active:
        return f"{name} (inactive)"
    return f"{name} (WARNING: disabled)" if disabled else name


def check_key(name: str) -> str:
    """The key of a check in JSON."""
    return name.lower().replace(" ", "_").replace("-", "_").replace(".", "")
