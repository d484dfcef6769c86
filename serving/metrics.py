"""What `/metrics` shows: counters and durations of one worker, in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The instruments of one service, in a registry of its own (two services in a process do not mix)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered", "method", "route", "status")
        self.seconds = Histogram(
            "kairos_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.scores = self._counter("scores", "Scores served", "problem", "rung")
        self.items = self._counter("items", "Events and outcomes received", "kind", "status")
        self.decisions = self._counter("decisions", "Decisions taken", "point", "group", "action", "rung")
        self.unlogged = self._counter("scores_unlogged", "Served scores that the log could not take")
        self.failures = self._counter("failures", "Failures of background work", "work")
        self.models = Gauge("kairos_model", "1 for each served model", ["problem", "version"], registry=self.registry)
        self.waiting = Gauge(
            "kairos_ingest_waiting", "Customers whose features are older than their last event", registry=self.registry
        )
        self.faults = Gauge("kairos_model_faults", "Models whose newest bundle is not served", registry=self.registry)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"kairos_{name}", what, labels, registry=self.registry)
