"""What `/metrics` shows: counters and durations of one worker, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.ingest.intake import Intake
from serving.bundles import Models

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

    def show(self, models: Models, intake: Intake) -> None:
        """Add what is read off when the page is asked for: the served models, and how far features are behind."""
        self.registry.register(_Now(models, intake))

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"kairos_{name}", what, labels, registry=self.registry)


class _Now(Collector):
    def __init__(self, models: Models, intake: Intake) -> None:
        self._models, self._intake = models, intake

    def collect(self) -> Iterator[Metric]:
        served = GaugeMetricFamily("kairos_model", "1 for each served model", labels=["problem", "version"])
        for problem in self._models.problems:
            served.add_metric([problem, self._models.get(problem).card.version], 1)
        yield served
        faults = len(self._models.faults)
        yield GaugeMetricFamily("kairos_model_faults", "Models whose newest bundle is not served", faults)
        yield GaugeMetricFamily(
            "kairos_follower_alive", "1 while a follower keeps features fresh", float(self._intake.backlog.alive)
        )
        yield GaugeMetricFamily(
            "kairos_follower_behind_events", "Events whose customers' features are older", self._intake.waiting
        )
        yield GaugeMetricFamily(
            "kairos_follower_behind_seconds", "How long the first of them has waited", self._intake.backlog.seconds
        )
