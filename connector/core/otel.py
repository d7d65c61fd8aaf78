"""Where the spans of a service go: the SDK of OpenTelemetry, told by its standard variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from connector.core.errors import InvalidSetting
from connector.core.traces import NAME, TRACES

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
NEEDS: Final = "OTEL_TRACES_EXPORTER: needs the extra otel, as in pip install 'websocket-connector[otel]'"


def init_traces(environ: Mapping[str, str]) -> TracerProvider | None:
    """Export spans if `OTEL_TRACES_EXPORTER` (`otlp`, `console`) or an OTLP endpoint is set; None: traces stay off.

    All other standard variables (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…` …) are read by the SDK. To be
    called in the process that makes the spans, after any fork. Raises `InvalidSetting`.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or (
        "otlp" if any(environ.get(name, "").strip() for name in ENDPOINTS) else "none"
    )
    if exporter == "none" or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if exporter not in {"otlp", "console"}:
        raise InvalidSetting("OTEL_TRACES_EXPORTER: takes otlp, console or none")
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as Provider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        made = _exporter(exporter)
    except ImportError:
        raise InvalidSetting(NEEDS) from None
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = Provider(resource=Resource.create({} if named else {"service.name": NAME}))
    provider.add_span_processor(BatchSpanProcessor(made))
    TRACES.begin(provider)
    return provider


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
