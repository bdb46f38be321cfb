"""What Prometheus may ask: requests, tokens, slots and kept states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asnn_goose.infer.server.student import Student

PREFIX = "asnn_goose"
PATHS = frozenset(
    {
        *("/", "/health", "/metrics", "/tokenize", "/openapi.json"),
        *("/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/embeddings"),
    }
)
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Students(Collector):
    """Numbers that the students keep themselves, read when they are asked for."""

    def __init__(self, students: Sequence[Student]) -> None:
        self._students = students

    def collect(self) -> Iterator[Metric]:
        """One family for each number, with a sample for each student."""
        for name, text, kind in (
            ("slots_taken", "Answers being read or written.", GaugeMetricFamily),
            ("requests_waiting", "Requests that wait for a slot.", GaugeMetricFamily),
            ("states_kept", "Prefixes whose state is kept.", GaugeMetricFamily),
            ("states_bytes", "Memory of kept states.", GaugeMetricFamily),
            ("state_hits", "Prompts of which a beginning was known.", CounterMetricFamily),
            ("state_misses", "Prompts that were read from the start.", CounterMetricFamily),
            ("steps", "Steps of the engine.", CounterMetricFamily),
            ("step_seconds", "Time of these steps.", CounterMetricFamily),
        ):
            family = kind(f"{PREFIX}_{name}", text, labels=["model"])
            for student in self._students:
                family.add_metric([student.name], _numbers(student)[name])
            yield family


class Metrics:
    """The metrics of one server; nothing global, so that tests can have several."""

    def __init__(self, students: Sequence[Student]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Students(students))
        self._requests = Counter(
            f"{PREFIX}_requests", "Responses.", ["path", "status"], registry=self._registry
        )
        self.tokens = Counter(
            f"{PREFIX}_tokens", "Tokens by kind.", ["model", "kind"], registry=self._registry
        )
        self.first = Histogram(
            f"{PREFIX}_first_token_seconds",
            "From a request to its first token.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def seen(self, path: str, status: int) -> None:
        """Count a response; paths that do not exist are counted as one."""
        # A label of every path that somebody tries would fill the memory of server and Prometheus.
        known = path if path in PATHS else "other"
        self._requests.labels(known, str(status)).inc()

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self._registry)


def _numbers(student: Student) -> dict[str, float]:
    batcher, store = student.batcher, student.store
    return {
        "slots_taken": batcher.taken,
        "requests_waiting": batcher.waiting,
        "states_kept": len(store),
        "states_bytes": store.nbytes,
        "state_hits": store.hits,
        "state_misses": store.misses,
        "steps": batcher.steps,
        "step_seconds": batcher.seconds,
    }
