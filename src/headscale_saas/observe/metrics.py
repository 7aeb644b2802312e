"""Every metric's name, in one place. Those headscale has under the same meaning keep its name.

No label holds a tailnet, node or user: their number has no bound. `cluster` and `process` are added to
every sample when it is read, so no code has to remember them.
"""

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

FAST = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One set per process; `serve` hands it to the parts that count."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"headscale_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"headscale_{name}", meaning, labels, registry=registry)

        def seconds(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = SLOW) -> Histogram:
            return Histogram(f"headscale_{name}_seconds", meaning, labels, buckets=buckets, registry=registry)

        # The loop
        self.loop_lag = seconds("loop_lag", "How late the event loop was.", buckets=FAST)
        self.queued_work = gauge("queued_work", "Slices of work that wait for their turn.")

        # Clients
        self.connections = gauge("connections", "Open connections.", "door")
        self.connections_waiting = gauge(
            "connections_waiting", "Connections that have asked for something and wait for their turn."
        )
        self.connections_turned_away = counter(
            "connections_turned_away", "Connections closed at once: the process had hardly any files left."
        )
        self.handshakes = counter(
            "noise_handshakes", "Noise handshakes; old_key: by a key that no longer serves.", "result"
        )
        self.registrations = counter("registrations", "Registration requests.", "result")
        self.sessions = gauge("map_sessions", "Open map streams.")
        self.responses_sent = counter("mapresponse_sent", "Map messages written.", "status", "type")
        self.reports = counter("mapresponse_endpoint_updates", "What nodes report of themselves.", "status")

        # Following the database
        self.tailnets_cached = gauge("tailnets_cached", "Tailnets this process holds a state of.")
        self.doorbells = counter("doorbells", "Wake-ups.", "direction")
        self.catch_up_seconds = seconds("catch_up", "One read of the change log.", "kind")

        # The database
        self.lane_waiting = gauge("write_lane_waiting", "Actions that wait in write lanes.")

    def text(self, *, cluster_id: int, process: str) -> bytes:
        """Prometheus' text format, with `cluster` and `process` on every sample."""
        labelled = CollectorRegistry()
        labelled.register(_Labelled(self.registry, {"cluster": str(cluster_id), "process": process}))
        return generate_latest(labelled)


class _Labelled(Collector):
    def __init__(self, inner: CollectorRegistry, labels: dict[str, str]) -> None:
        self._inner = inner
        self._labels = labels

    def collect(self) -> Iterable[Metric]:
        for family in self._inner.collect():
            family.samples = [
                sample._replace(labels={**sample.labels, **self._labels}) for sample in family.samples
            ]
            yield family
