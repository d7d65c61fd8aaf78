"""One written life of some orders around one fault, and what of it can be seen from outside. Knows neither ground."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

from harness.campaign.check import Seen, deduplicated
from harness.campaign.traffic import on_grid
from simulator import controls
from simulator._values import Symbol
from simulator._venue import Instant
from simulator.controls import OrderRef
from simulator.engine import NewOrder
from simulator.hub import Hub

PREFIX: Final = "DBOagree"
STEPS: Final = 40
"""Size of each order in steps of its market; ten of them are its first fill."""
FIRST_FILL: Final = 10
AWAY: Final = Decimal("0.03")

Gaps = Literal["none", "some", "all"]
Deed = Callable[[Hub, Instant], object]
Step = tuple[str, str]
"""Status, and which share of what was executed at last had been executed by then: venues tell sizes in contracts, coins or
dollars."""


class Place(NamedTuple):
    """An account of a ground: its stream, and the exchange id on which it trades."""

    stream: str
    market: str


class Ground(Protocol):
    """Where a script is played. One thread."""

    places: Sequence[Place]

    def act(self, deed: Deed) -> None:
        """Do something at the venues."""

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        """Let time pass until then. Raises `TimeoutError` with `what`."""

    def rest(self, seconds: float) -> None:
        """Let so much time pass: for what should not come."""

    def followed(self) -> set[str]:
        """Streams with a logged-in connection at their venue."""

    def events(self) -> Sequence[Seen]:
        """What a consumer of the queue of user events got since the script began."""

    def services(self) -> Sequence[Mapping[str, object]]:
        """Bodies of the service messages since the script began."""


class Fault(Protocol):
    """One scenario on one ground: begins, and ends after a while."""

    seconds: float
    one_process: bool
    """It hits what one process held: which accounts those are is another on each ground."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Facts:
    """What came out, in words that hold on any ground: no times, no sizes, no ids of processes."""

    orders: Mapping[str, tuple[Step, ...]]
    """By account and order: each step that was published, in its order, repetitions left out."""
    gaps: Gaps
    """Of which accounts a gap was told."""
    asked_again: bool
    """Whether the service announced that everybody must ask again."""

    def differences(self, other: Facts) -> list[str]:
        """Where two grounds disagree; a line each."""
        found = [
            f"{name}: {self.orders.get(name)} against {other.orders.get(name)}"
            for name in sorted(self.orders.keys() | other.orders.keys())
            if self.orders.get(name) != other.orders.get(name)
        ]
        if self.gaps != other.gaps:
            found.append(f"gaps told: of {self.gaps} accounts against {other.gaps}")
        if self.asked_again != other.asked_again:
            found.append(f"asked everybody again: {self.asked_again} against {other.asked_again}")
        return found


class Script:
    """`a` is filled in part before the fault and wholly within it, `b` is placed within it and filled after it, `c` is placed
    and cancelled after it."""

    def __init__(self, ground: Ground, mark: str) -> None:
        """`mark` tells the orders of this script from those of others on the same ground."""
        self._ground, self._mark = ground, mark
        self._numbers: dict[tuple[str, str], int] = {}

    def play(self, fault: Fault) -> Facts:
        ground = self._ground
        everybody = {place.stream for place in ground.places}
        ground.wait(lambda: everybody <= ground.followed(), "every account is followed")
        self._all(self._place, "a")
        self._all(self._fill, "a", part=True)
        self._told(a="PARTIALLY_FILLED")
        fault.begin()
        self._all(self._fill, "a")
        self._all(self._place, "b")
        ground.rest(fault.seconds)
        fault.end()
        ground.wait(lambda: everybody <= ground.followed(), "every account is followed again")
        self._told(a="FILLED", b="NEW")
        self._all(self._place, "c")
        self._all(self._cancel, "c")
        self._all(self._fill, "b")
        self._told(b="FILLED", c="CANCELED")
        ground.rest(1.0)
        return self._facts(fault)

    # --- deeds ---

    def _all(self, deed: Callable[..., object], label: str, **more: bool) -> None:
        """At all venues in one moment: nothing heals between two of them."""

        def act(hub: Hub, now: Instant) -> None:
            for place in self._ground.places:
                deed(hub, now, place, label, **more)

        self._ground.act(act)

    def _client_id(self, place: Place, label: str) -> str:
        return f"{PREFIX}{self._mark}{self._ground.places.index(place)}{label}"

    def _place(self, hub: Hub, now: Instant, place: Place, label: str) -> None:
        symbol = hub.world.markets.symbols(place.market)[0]
        price = hub.world.markets.quote(place.market, symbol.wire).price
        order = controls.place(
            hub,
            place.stream,
            place.market,
            NewOrder(
                symbol=symbol.wire,
                side="BUY",
                quantity=_step(symbol) * STEPS,
                price=on_grid(price * (1 - AWAY), symbol),
                client_id=self._client_id(place, label),
            ),
            now,
        )
        self._numbers[place.stream, label] = order.order_id

    def _fill(self, hub: Hub, now: Instant, place: Place, label: str, *, part: bool = False) -> None:
        order = OrderRef(order_id=self._numbers[place.stream, label])
        symbol = hub.world.markets.symbols(place.market)[0]
        controls.fill(hub, order, now, quantity=_step(symbol) * FIRST_FILL if part else None)

    def _cancel(self, hub: Hub, now: Instant, place: Place, label: str) -> None:
        controls.cancel(hub, OrderRef(order_id=self._numbers[place.stream, label]), now)

    # --- what came of it ---

    def _published(self) -> dict[str, list[Seen]]:
        """What was published of each order of this script, repetitions under the same id left out."""
        found: dict[str, list[Seen]] = defaultdict(list)
        for event in deduplicated(self._ground.events())[0]:
            if event.order.startswith(f"{PREFIX}{self._mark}"):
                found[event.order].append(event)
        return found

    def _told(self, **last: str) -> None:
        """Wait until each order of that label was published with this status, at all accounts."""
        wanted = {
            (self._client_id(place, label), status) for place in self._ground.places for label, status in last.items()
        }

        def reached() -> bool:
            published = self._published()
            return all(any(one.status == status for one in published.get(order, ())) for order, status in wanted)

        self._ground.wait(reached, f"published: {last}")

    def _facts(self, fault: Fault) -> Facts:
        names = {
            self._client_id(place, label): f"{place.market} {label}" for place in self._ground.places for label in "abc"
        }
        streams, services = {place.stream for place in self._ground.places}, self._ground.services()
        gaps = streams & {gap["stream"] for body in services if isinstance(gap := body.get("streamGap"), dict)}
        return Facts(
            {names[order]: _steps(events) for order, events in self._published().items()},
            "none" if not gaps else "all" if gaps == streams and not fault.one_process else "some",
            any(body.get("restart") == "userStream" for body in services),
        )


def _step(symbol: Symbol) -> Decimal:
    return Decimal(1).scaleb(-symbol.quantity_decimals)


def _steps(events: Sequence[Seen]) -> tuple[Step, ...]:
    whole = max(event.executed for event in events)
    shares = [(event.status, f"{event.executed / whole:.2f}" if whole else "0") for event in events]
    return tuple(step for number, step in enumerate(shares) if step not in shares[max(0, number - 1) : number])
