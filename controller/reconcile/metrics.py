"""What is counted, in the exposition format. One registry per process, passed in; no global state."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from controller.ports.meta import Call


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reconciles = Counter(
            "metacatalog_reconcile_total", "Reconcile runs", ["kind", "result"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            "metacatalog_reconcile_duration_seconds", "Duration of reconcile runs", ["kind"], registry=registry
        )
        self.calls = Counter(
            "metacatalog_graph_requests_total", "Calls to Meta", ["operation", "result"], registry=registry
        )
        self.throttled = Counter("metacatalog_throttled_total", "Throttling answers", ["bucket"], registry=registry)
        self.operations = Counter(
            "metacatalog_operations_total", "Operations that ended", ["method", "phase"], registry=registry
        )
        self.late_effects = Counter(
            "metacatalog_late_effects_total", "Abandoned sends that took effect later", registry=registry
        )
        self.queue_depth = Gauge("metacatalog_queue_depth", "Keys that wait in the work queue", registry=registry)
        self.leader = Gauge("metacatalog_leader", "1 while this process holds the lease", registry=registry)
        self.last_event_age = Gauge(
            "metacatalog_watch_last_event_age_seconds", "Age of the last watch event", ["kind"], registry=registry
        )

    def answered(self, call: Call, throttled: bool) -> None:
        """Count an answer of Meta."""
        self.calls.labels(call.name, "Throttled" if throttled else "Answered").inc()
        if throttled:
            self.throttled.labels(call.bucket).inc()
