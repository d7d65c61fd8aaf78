"""Sentry events carry no secret: values, names, local variables, command arguments."""

from __future__ import annotations

import json

import dramatiq
import pytest
import sentry_sdk
from dramatiq.brokers.stub import StubBroker
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from connector.core.log import get_logger
from connector.core.sentry import init_sentry
from exchanges.credentials import credentials

KEY = "AKsentrycanary012345"
SECRET = "SKsentrycanary987654"
ARGUMENT = "unregistered" + "-argument"  # in two parts, because Sentry shows the source lines around a call


@pytest.fixture
def sent():
    """The text of everything that would have gone to Sentry."""
    credentials(KEY, SECRET)
    envelopes: list[bytes] = []

    class Collect(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            envelopes.append(envelope.serialize())

    assert init_sentry("https://public@sentry.invalid/1", "1.0", "test", transport=Collect())
    yield envelopes
    sentry_sdk.init()


def _events(sent: list[bytes]) -> list[dict[str, object]]:
    found = []
    for envelope in sent:
        for line in envelope.splitlines():
            data = json.loads(line)
            if "exception" in data or "logentry" in data:
                found.append(data)
    return found


def test_nothing_happens_without_a_dsn():
    assert init_sentry("", "1.0", "test") is False


def test_an_exception_is_reported_without_secrets_and_locals(sent):
    hidden_local = SECRET + "-in-a-local"
    try:
        raise ValueError(f"refused {KEY} at https://venue/api?signature=unknownSignature")
    except ValueError as error:
        get_logger("x").info("before", key=KEY, note=f"uses {SECRET}")
        sentry_sdk.capture_exception(error)
    text = b"".join(sent).decode()
    (event,) = _events(sent)
    assert "refused [redacted]" in json.dumps(event)
    assert event["release"] == "1.0"
    for secret in (KEY, SECRET, "unknownSignature", hidden_local):
        assert secret not in text
    assert '"vars"' not in text


def test_an_error_line_becomes_an_event_with_scrubbed_fields(sent):
    get_logger("x").error("it broke", apiKey="unknownKey1", frame=f'{{"op":"login","args":["{KEY}"]}}')
    (event,) = _events(sent)
    text = json.dumps(event)
    assert "it broke" in text
    assert "unknownKey1" not in text
    assert KEY not in text


def test_a_failing_actor_is_reported_without_its_arguments(sent):
    broker = StubBroker()
    broker.emit_after("process_boot")

    @dramatiq.actor(broker=broker, max_retries=0)
    def open_stream(command: dict[str, str]) -> None:
        raise RuntimeError(f"cannot open with {command['secret']}")

    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        open_stream.send({"secret": SECRET, "plain": ARGUMENT})
        with pytest.raises(RuntimeError):
            broker.join(open_stream.queue_name, timeout=5000)
        worker.join()
    finally:
        worker.stop()
        broker.close()
    text = b"".join(sent).decode()
    reported = [event for event in _events(sent) if "exception" in event]
    assert reported
    assert "cannot open with [redacted]" in text
    assert "open_stream" in text
    assert SECRET not in text
    assert ARGUMENT not in text
