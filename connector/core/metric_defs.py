"""Every metric of the service, once: name, kind, meaning and labels. mypy rejects a name that is not here.

To add one: a line in `MetricName` and an entry in `DEFINITIONS` (a test keeps the two equal).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min", "farthest"]

MetricName = Literal[
    "account_events_lost_total",
    "auth_cooldowns",
    "auth_rejects_total",
    "broker_up",
    "budget_wait_seconds",
    "candles_subscribed",
    "capacity",
    "commands_total",
    "connects_total",
    "event_loop_lag_seconds",
    "events_conflated_total",
    "events_returned_total",
    "events_revoked_total",
    "clock_off_seconds",
    "events_published_total",
    "frame_errors_total",
    "frames_total",
    "gap_seconds",
    "gaps_total",
    "info",
    "leases",
    "limit_barred_until_seconds",
    "implausible_times_total",
    "metric_errors_total",
    "notes_total",
    "old_keys",
    "outbox_damaged_files_total",
    "positions_unkept_total",
    "proxy_failures_total",
    "publish_lag_seconds",
    "ready",
    "reconnects_total",
    "redis_up",
    "repaired_orders_total",
    "rest_calls_total",
    "scheduler_job_errors_total",
    "sink_connected",
    "sink_queue",
    "streams",
    "streams_unowned",
    "streams_wanted",
    "symbols",
    "unknown_outcomes_total",
    "watchdog_stalls_total",
    "worker_figures_age_seconds",
]

FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds: from one frame through a sink (1.5 ms on loopback) up to a broker that is nearly gone."""
SLOW: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds: waits and gaps that a person would notice."""


class Definition(NamedTuple):
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = "sum"
    """How the values of several processes become one: gauges like `sink_connected` are only as good as the worst.
    `farthest` is the one that is farthest from 0."""


DEFINITIONS: Final[dict[str, Definition]] = {
    "account_events_lost_total": Definition(
        "counter", "Account events that a sink could not take; their streams were ended and repaired", ("sink",)
    ),
    "auth_cooldowns": Definition("gauge", "Streams whose key the venue refuses", ("exchange",)),
    "old_keys": Definition("gauge", "Accounts whose kind of key the venue will refuse one day", ("exchange",)),
    "auth_rejects_total": Definition("counter", "Times that the auth breaker tripped", ("exchange",)),
    "budget_wait_seconds": Definition(
        "histogram", "Time spent waiting for a venue's rate limit", ("venue", "kind"), SLOW
    ),
    "broker_up": Definition(
        "gauge", "1 while the worker processes of this service are logged in at the broker", merge="min"
    ),
    "candles_subscribed": Definition("gauge", "Candle topics that are live", ("exchange",)),
    "capacity": Definition("gauge", "Streams that this process may own"),
    "commands_total": Definition("counter", "Commands by name and outcome", ("command", "result")),
    "connects_total": Definition("counter", "WebSocket connection attempts by outcome", ("venue", "result")),
    "event_loop_lag_seconds": Definition(
        "histogram", "How late an I/O thread serves a due deadline", ("thread",), FAST
    ),
    "events_returned_total": Definition("counter", "Account events that no queue took, and were sent again", ("sink",)),
    "events_revoked_total": Definition("counter", "Account events on Redis left to another process", ("sink",)),
    "events_conflated_total": Definition(
        "counter", "Market-data rows replaced by a newer one of the same symbol before they went out", ("sink",)
    ),
    "events_published_total": Definition("counter", "Events that a sink confirmed", ("sink", "kind")),
    "frame_errors_total": Definition("counter", "Frames that could not be understood", ("venue",)),
    "clock_off_seconds": Definition(
        "gauge", "By how much the host's clock is ahead of the venue's; negative = behind", ("venue",), merge="farthest"
    ),
    "frames_total": Definition("counter", "Frames received", ("venue", "feed")),
    "gap_seconds": Definition("histogram", "Length of the times in which a stream was not live", ("venue",), SLOW),
    "gaps_total": Definition("counter", "Gaps by how their repair ended: complete or partial", ("venue", "result")),
    "info": Definition("gauge", "Constant 1; the labels tell what runs", ("version", "role"), merge="max"),
    "leases": Definition("gauge", "Streams that this process owns"),
    "limit_barred_until_seconds": Definition(
        "gauge",
        "Until when nothing is taken of a venue's limit, because the venue said so (Unix time; in the past = over)",
        ("venue", "kind", "egress"),
        merge="max",
    ),
    "implausible_times_total": Definition(
        "counter",
        "Prices, candles and balances dated far in the future or in another unit; prices and candles are not published",
        ("exchange", "kind"),
    ),
    "notes_total": Definition(
        "counter", "Times that a venue sent what was left out or not expected; the log says what", ("venue", "feed")
    ),
    "outbox_damaged_files_total": Definition("counter", "Files of the outbox that were kept aside as damaged", ()),
    "metric_errors_total": Definition("counter", "Uses of a metric that is not declared like that", ("name",)),
    "positions_unkept_total": Definition(
        "counter", "Positions of account streams that could not be kept on disk; the state has them", ()
    ),
    "proxy_failures_total": Definition(
        "counter", "Times that a proxy was found not to let connections through", ("proxy",)
    ),
    "publish_lag_seconds": Definition("histogram", "From frame read to sink confirmation", ("sink", "kind"), FAST),
    "ready": Definition("gauge", "1 while /ready says so: this service can do its work", merge="min"),
    "redis_up": Definition("gauge", "1 while the health process reaches Redis", merge="min"),
    "reconnects_total": Definition("counter", "Connections that ended and were tried again", ("venue", "reason")),
    "repaired_orders_total": Definition("counter", "Order events that gap repair found over REST", ("venue",)),
    "rest_calls_total": Definition("counter", "REST requests to venues by outcome", ("venue", "result")),
    "scheduler_job_errors_total": Definition("counter", "Scheduler jobs that failed", ("job",)),
    "sink_connected": Definition("gauge", "1 while the sink's connection is up", ("sink",), merge="min"),
    "sink_queue": Definition("gauge", "Messages accepted by a sink and not yet confirmed", ("sink",)),
    "streams": Definition("gauge", "Streams by life-cycle state", ("state", "exchange")),
    "streams_unowned": Definition("gauge", "Account streams that are wanted and that no process owns", merge="max"),
    "streams_wanted": Definition("gauge", "Account streams that are wanted of the whole deployment", merge="max"),
    "symbols": Definition(
        "gauge", "Symbols of a market: expected from its list, and subscribed (bug A61)", ("exchange", "kind")
    ),
    "unknown_outcomes_total": Definition(
        "counter", "Balance updates dropped because a repetition might have counted them twice", ("sink",)
    ),
    "watchdog_stalls_total": Definition("counter", "Feeds that went silent and were restarted", ("exchange", "kind")),
    "worker_figures_age_seconds": Definition(
        "gauge", "Age of the worker processes' figures on this page: large while Redis is away", merge="max"
    ),
}
