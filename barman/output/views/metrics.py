"""View of `metrics`: OpenMetrics text, which textfile collectors of Prometheus read as well."""

from __future__ import annotations

from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barman.status.metrics import Metrics


class MetricsView:
    """One line a value."""

    @staticmethod
    def console(result: Metrics, write: Callable[[str], None]) -> None:
        """Write the lines."""
        for line in exposition(result).splitlines():
            write(line)

    @staticmethod
    def json(result: Metrics) -> dict[str, Any]:
        """The values in a list."""
        return {
            "metrics": [
                {"name": item.name, "labels": dict(item.labels), "value": item.value} for item in result.samples
            ]
        }


def exposition(result: Metrics) -> str:
    """The text. Raises BarmanError when the library is not installed."""
    try:
        from prometheus_client.core import GaugeMetricFamily
        from prometheus_client.openmetrics.exposition import generate_latest
        from prometheus_client.registry import Collector, CollectorRegistry
    except ImportError as error:
        raise BarmanError(
            f"metrics need the library prometheus_client: {error}",
            hint="Install it with the extra: pip install 'barman[metrics]' from the same checkout.",
        ) from None
    from barman.status.metrics import HELP

    families: dict[str, Any] = {}
    for sample in result.samples:
        if sample.name not in families:
            families[sample.name] = GaugeMetricFamily(sample.name, HELP[sample.name], labels=list(sample.labels))
        families[sample.name].add_metric(list(sample.labels.values()), sample.value)

    class Measured(Collector):
        def collect(self) -> Iterator[Any]:
            yield from families.values()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Measured())
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # the library annotates it not
    return text.decode("utf-8")
