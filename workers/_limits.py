"""What a process says and asks of its host at the start: which exchanges it serves, and how many files it may open."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Final

from connector.core.log import get_logger
from connector.core.setting_names import mistyped
from connector.streams.engine import Engine
from connector.streams.market import wanted_exchanges
from exchanges.ids import LIVE
from exchanges.paper._user import url as paper_url

log = get_logger(__name__)

_FILES: Final = resource.RLIMIT_NOFILE
MAX_FILES: Final = 1_048_576
OTHER_FILES: Final = 256
"""Files beside one socket per stream: servers, REST, outbox, libraries."""


def switched(enabled: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Live exchange ids whose accounts are served, and those that are not; each one stands in exactly one list."""
    on = [exchange for exchange in wanted_exchanges(()) if enabled(exchange)]
    return on, sorted(LIVE - set(on))


def say_what_runs(engine: Engine) -> None:
    """One line at the start about what this process serves, a loud one about what it leaves out (bugs A55, B16, C17)."""
    options = engine.options
    if options.role == "user":
        on, off = switched(engine.enabled)
        log.info("account streams", on=on, off=off, paper=paper_url(options.venue_options.get("PAPER_WS")))
    elif options.price_role == "candle":
        log.warning("tickers are off (PRICEROLE=candle): paper orders fill only if another price service sends them")
    elif options.price_role == "ticker":
        log.warning("candles are off (PRICEROLE=ticker): indicators get them only from another price service")
    if said := options.ways.said():
        log.info(f"exchanges are reached through proxies: {said}")


def say_mistyped(names: Iterable[str]) -> None:
    """Of the environment: a name with a typing error has no effect, and nobody would know."""
    for name, meant in mistyped(names).items():
        log.warning("this variable is no setting", name=name, meant=meant)


def raise_file_limit(streams: int) -> int:
    """Raise the soft limit of open files to the hard one, and warn if that does not cover `streams` sockets.

    Returns the limit, at most `MAX_FILES`.
    """
    soft, hard = (MAX_FILES if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(_FILES))
    if soft < hard:
        try:
            resource.setrlimit(_FILES, (min(hard, MAX_FILES), resource.getrlimit(_FILES)[1]))
            soft = min(hard, MAX_FILES)
        except (OSError, ValueError) as error:
            log.warning("the limit of open files could not be raised", error=str(error))
    if soft < streams + OTHER_FILES:
        log.warning(
            "fewer open files allowed than streams: raise the limit (ulimit -n), or lower MAX_STREAMS", limit=soft
        )
    return soft
