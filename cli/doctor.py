"""`connector doctor`: can the service work here? Settings, broker, Redis, neighbours, clock, exchanges; one line a check."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from connector.core import redact
from connector.core.errors import ConnectorError, InvalidSetting
from connector.core.log import describe_error
from connector.state.derived import weakness
from connector.state.vault import NONE
from exchanges.ids import FAMILIES

if TYPE_CHECKING:
    import socket

    import requests

    from connector.core.settings import Settings
    from connector.streams.egress import Egresses
    from connector.streams.http_connections import Reach
    from exchanges._venue import ClockCall
NAME: Final = "doctor"
HELP: Final = "check settings, broker, Redis, the clock and the way to the exchanges"

TIMEOUT_S: Final = 10.0
MAX_OFFSET_MS: Final = 1_000
"""Venues refuse signatures that are 1 to 30 s off, and paper trading drops prices older than 30 s (contract 2.6)."""


class Check(NamedTuple):
    """One finding. `advice` says what to do when it failed."""

    name: str
    ok: bool
    text: str
    advice: str = ""


def clocks() -> Mapping[str, ClockCall]:
    """How to ask the venues for their time, by family name."""
    from exchanges import venues

    found = ((name, getattr(venue, "clock", None)) for name, venue in venues().items())
    return {name: clock for name, clock in found if clock is not None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--venue", action="append", choices=sorted(FAMILIES), help="check only this exchange (repeatable)"
    )
    parser.add_argument("--no-venues", action="store_true", help="leave the exchanges out")


def run(args: argparse.Namespace) -> int:
    """0 = every check passed, 1 = at least one failed."""
    from connector.core.settings import Settings
    from workers._check import check

    failed = 0
    for name in check_names(os.environ):
        _print(name)
        failed += 1
    try:
        settings = Settings.from_env(os.environ)
        check(settings)
    except InvalidSetting as error:
        _print(Check("settings", False, str(error), "correct the variables named above"))
        return 1
    redact.register(*settings.server_secrets, settings.credentials_keys.get_secret_value())
    venues = [] if args.no_venues else (args.venue or served())
    for found in checks(settings, venues):
        _print(found)
        failed += not found.ok
    return 1 if failed else 0


def check_names(names: Iterable[str]) -> Iterator[Check]:
    """What the service leaves without effect, because it is no setting's name."""
    from connector.core.setting_names import mistyped

    for name, meant in mistyped(names).items():
        yield Check("settings", False, f"{name} is no setting and has no effect", f"is {meant} meant?")


def served() -> list[str]:
    """The exchanges that this version has an adapter for; others can be named with `--venue`."""
    return sorted(clocks())


def _print(check: Check) -> None:
    print(f"{'ok' if check.ok else 'FAILED':<8}{check.name:<20}{check.text}", flush=True)
    if not check.ok and check.advice:
        print(f"{'':<8}{'':<20}→ {check.advice}", flush=True)


def checks(settings: Settings, venues: list[str]) -> Iterator[Check]:
    """Run the checks one by one; each returns within about `TIMEOUT_S`. Exchanges are asked by each way that they may be."""
    from connector.core.clock import SystemClock
    from connector.streams.egress import Egresses

    yield Check("settings", True, f"sinks {', '.join(settings.sinks)}; price role {settings.price_role}")
    if settings.chosen_prices:
        chosen = "; ".join(f"{name}={value}" for name, value in settings.chosen_prices.items())
        yield Check("price symbols", True, f"not every symbol has a price: {chosen}")
    yield check_credentials_keys(settings)
    yield from check_broker(settings)
    yield from check_redis(settings)
    if settings.exchange_service_url:
        yield check_exchange_service(settings)
    offsets: list[float] = []
    egresses = Egresses(settings.ways, SystemClock())
    if said := settings.ways.said():
        yield Check("proxies", True, said)
    for venue in venues:
        for way in egresses.names(venue):
            yield check_venue(venue, settings, offsets, egresses, way)
    if offsets:
        yield check_clock(offsets)


def check_credentials_keys(settings: Settings) -> Check:
    """Without a key, credentials live in process memory only: allowed, but worth knowing."""
    given = settings.credentials_keys.get_secret_value()
    keys = [key for key in given.split(",") if key.strip()]
    if given.strip().lower() == NONE:
        return Check(
            "credentials", True, "CREDENTIALS_KEYS=none: keys stay in memory, and are asked for after a restart"
        )
    if not keys:
        weak = weakness(settings.rabbit.password)
        text = "keys at rest are encrypted with a key made from RABBIT_PASSWORD"
        if weak is not None:
            text = f"RABBIT_PASSWORD: {weak}, so keys stay in memory, and are asked for after a restart"
        return Check("credentials", True, text)
    from cryptography.fernet import Fernet

    for index, key in enumerate(keys, start=1):
        try:
            Fernet(key.strip())
        except ValueError:
            advice = "each key is 32 random bytes in URL-safe base64; make one with Fernet.generate_key()"
            return Check("credentials", False, f"CREDENTIALS_KEYS: key {index} is not a Fernet key", advice)
    return Check("credentials", True, f"{len(keys)} key(s) for credentials at rest")


def check_broker(settings: Settings) -> Iterator[Check]:
    """Each host of its own: a second one that is no way in is found when the first one is gone."""
    name, place = "broker", settings.rabbit
    if not settings.names_rabbit:
        yield Check(
            name, True, "RABBIT_HOST is not set: a service does not start, `connector run` has a broker of its own"
        )
        return
    import pika

    from connector.servers.rabbit import Blocking, parameters
    from workers._broker_name import broker_name

    hosts = parameters(
        place,
        name="connector doctor",
        socket_timeout_s=TIMEOUT_S,
        stack_timeout_s=TIMEOUT_S,
        blocked_timeout_s=TIMEOUT_S,
    )
    names: dict[str, str] = {}
    for where, host in zip(map(str, place.hosts), hosts, strict=True):
        try:
            connection = Blocking([host])()
            try:
                connection.channel()
                version = connection._impl.server_properties.get("version", "unknown")
                names[where] = broker_name(connection)
            finally:
                connection.close()
        except (pika.exceptions.AMQPError, OSError) as error:
            advice = (
                "check RABBIT_URL, or RABBIT_HOST, RABBIT_PORT, RABBIT_USER, RABBIT_PASSWORD, RABBIT_VHOST, RABBIT_TLS"
            )
            yield Check(name, False, f"{where}: {describe_error(error)}", f"{advice} and that RabbitMQ runs")
        else:
            yield Check(name, True, f"RabbitMQ {version} at {where}")
    if len(set(names.values())) > 1:
        advice = "RABBIT_HOST takes the nodes of one cluster: what one of several brokers keeps is not at the others"
        yield Check(name, False, f"{', '.join(names)} are not one cluster: they name themselves differently", advice)


def check_redis(settings: Settings) -> Iterator[Check]:
    name, place = "redis", settings.redis
    if not settings.names_redis:
        yield Check(
            name, True, "REDIS_HOST is not set: a service looks on this machine, `connector run` has a store of its own"
        )
        return
    import redis

    from connector.core.places import tagged
    from connector.servers.redis import client

    key = tagged(settings.state_prefix)
    try:
        with client(place, key=key, socket_timeout_s=TIMEOUT_S, connect_timeout_s=TIMEOUT_S) as server:
            about: Any = server.info()
    except (redis.RedisError, OSError) as error:
        names = "REDIS_URL, or REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_TLS"
        if place.sentinels:
            names = "REDIS_SENTINELS, REDIS_MASTER_NAME, REDIS_SENTINEL_PASSWORD, REDIS_PASSWORD, REDIS_TLS"
        yield Check(name, False, f"{place}: {describe_error(error)}", f"check {names} and that Redis runs")
        return
    version = str(about.get("redis_version", "0"))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    note = "" if parts >= (7, 4) else "; older than 7.4: the orders hash is cleaned up by a sweep"
    yield Check(name, True, f"Redis {version} at {place}{note}")
    if place.sentinels and "min_slaves_good_slaves" not in about:
        text = "min-replicas-to-write is not set: a master that is cut off goes on taking writes (docs/three-hosts.md)"
        yield Check(name, True, text)
    cluster = bool(about.get("cluster_enabled"))
    if cluster != place.cluster:
        said = "is a node of a cluster" if cluster else "is no node of a cluster"
        yield Check(name, False, f"{place} {said}", f"set REDIS_CLUSTER={str(cluster).lower()}")


def check_exchange_service(settings: Settings) -> Check:
    url = f"{settings.exchange_service_url.rstrip('/')}/health"
    try:
        _get(url, True, None, None)
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever it meets
        advice = "check EXCHANGE_SERVICE_API_URL; until it answers, symbol lists come from the exchanges themselves"
        return Check("exchange service", False, f"{url}: {describe_error(error)}", advice)
    return Check("exchange service", True, url)


def check_venue(venue: str, settings: Settings, offsets: list[float], egresses: Egresses, way: str) -> Check:
    """Whether a venue answers by one of our ways; its clock is added to `offsets` (venue minus ours, ms)."""
    from connector.streams.endpoints import Endpoints

    known = clocks()[venue]
    by = f" through {way}" if way else ""
    try:
        url = Endpoints(settings.venue_gateway, settings.venue_endpoints).resolve(known.url)
        before = time.time() * 1000
        started = time.monotonic()
        response = _get(url, settings.venue_ca_file or True, known.body, partial(_reach, egresses, way))
        took_ms = (time.monotonic() - started) * 1000
        offset = known.read_ms(response.json()) - (before + took_ms / 2)
    except ConnectorError as error:
        return Check(venue, False, str(error), "correct VENUE_GATEWAY or VENUE_ENDPOINTS")
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever it meets
        return _unreachable(venue, known.url, way, error)
    if known.whole_seconds:
        return Check(venue, True, f"answers in {took_ms:.0f} ms{by}")
    offsets.append(offset)
    return Check(venue, True, f"answers in {took_ms:.0f} ms{by}, its clock is {offset:+.0f} ms from ours")


def _unreachable(venue: str, url: str, way: str, error: Exception) -> Check:
    from connector.streams.http_client import proxy_failure

    if why := proxy_failure(error):
        advice = f"check EGRESS_PROXIES, PROXY_{venue.upper()} or HTTPS_PROXY, and that the proxy runs and lets us in"
        return Check(venue, False, f"{url}: {why}", advice)
    advice = "check the network, DNS, firewall and VENUE_GATEWAY; some exchanges refuse certain countries"
    return Check(venue, False, f"{url}: {describe_error(error)}{f' (through {way})' if way else ''}", advice)


def _reach(egresses: Egresses, way: str, host: str, port: int, timeout_s: float, secure: bool) -> socket.socket:
    from connector.streams.tunnel import reach

    return reach(egresses, way, host, port, timeout_s, secure=secure)


def check_clock(offsets: list[float]) -> Check:
    """Judge our clock by the median of the venues': one of them may be wrong."""
    middle = sorted(offsets)[len(offsets) // 2]
    if abs(middle) <= MAX_OFFSET_MS:
        return Check("clock", True, f"{middle:+.0f} ms from {len(offsets)} exchange clock(s)")
    advice = "synchronise this host's clock (NTP): signatures and prices carry its time"
    return Check("clock", False, f"{middle:+.0f} ms from {len(offsets)} exchange clock(s)", advice)


def _get(url: str, verify: str | bool, ask: Mapping[str, str] | None, reach: Reach | None) -> requests.Response:
    """`reach` opens the connection; None = the host itself. Raises whatever goes wrong."""
    import requests

    from connector.streams.http_connections import Through

    with requests.Session() as session:
        session.trust_env = False  # the proxies of the environment are among ours
        if reach is not None:
            session.mount("https://", Through(reach))
            session.mount("http://", Through(reach))
        method = "GET" if ask is None else "POST"
        response = session.request(method, url, json=ask, timeout=TIMEOUT_S, verify=verify)
    response.raise_for_status()
    return response
