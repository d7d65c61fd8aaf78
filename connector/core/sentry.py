"""Sentry, without anything that it must not know.

Its own scrubber looks at names; secrets also sit inside texts, and its Dramatiq integration attaches whole commands. So
every event, breadcrumb and log goes through `connector.core.redact` last, and Dramatiq's message data is taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connector.core import redact

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

_COMMAND_PARTS: Final = ("actor_name", "queue_name", "message_id")


def init_sentry(
    dsn: str,
    release: str,
    environment: str,
    *,
    transport: Transport | None = None,
) -> bool:
    """Report errors to Sentry from now on; False (and nothing happens) without a DSN.

    Call it before the Dramatiq broker is made. `transport` replaces the network (tests).
    Raises `sentry_sdk.utils.BadDsn` for a DSN that can't be read.
    """
    if not dsn:
        return False
    import sentry_sdk
    from sentry_sdk.integrations.dramatiq import DramatiqIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration

    redact.register(dsn)
    sentry_sdk.init(
        dsn=dsn,
        release=release,
        environment=environment,
        transport=transport,
        include_local_variables=False,
        max_request_body_size="never",
        traces_sample_rate=0.0,
        before_send=before_send,
        before_breadcrumb=before_breadcrumb,
        integrations=[DramatiqIntegration(), LoggingIntegration()],
    )
    return True


def before_send(event: Any, _hint: dict[str, Any]) -> Any:
    """The event without secrets, command arguments and local variables."""
    _drop_arguments(event)
    return redact.scrub(event)


def before_breadcrumb(crumb: Any, _hint: dict[str, Any]) -> Any:
    """The breadcrumb without secrets."""
    return redact.scrub(crumb)


def _drop_arguments(event: dict[str, Any]) -> None:
    command = event.get("contexts", {}).get("dramatiq")
    if isinstance(command, dict):
        data = command.pop("data", None)
        if isinstance(data, dict):
            command.update({part: data[part] for part in _COMMAND_PARTS if part in data})
    event.pop("request", None)
    if str(event.get("logger", "")).startswith("dramatiq"):
        event.get("logentry", {}).pop("params", None)
    for exception in event.get("exception", {}).get("values", []):
        for frame in (exception.get("stacktrace") or {}).get("frames", []):
            frame.pop("vars", None)
