"""The trading backend as it behaves (contract 1.7, 3.1): many bots on one account, each with its own open and its own close.

It asks again when it hears of a restart, and knows what it wants: how many bots listen to each account.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from exchanges.ids import FAMILIES
from harness.worlds.accounts import USER_ID, Account
from harness.worlds.kernel import Kernel
from harness.worlds.rabbit import BROKER_WENT_DOWN, Message, Rabbit
from workers.local import demo_candle

CANDLE_QUEUE: Final = "candlesRequests"
USER_QUEUE: Final = "usersStreamAction"
EXCHANGE: Final = "gainium"
RETRY_S: Final = 1.0
REJOIN_S: Final = 3.0
"""On a restart every bot sends its open again within this time."""
_LAST_CLOSE_LOST: Final = (
    "the close of the last bot found no queue: the grace period of the announcement ends the stream"
)


class Backend:
    """World's turn only. `bots` is what it wants; `state` must come to the same."""

    def __init__(self, kernel: Kernel, rabbit: Rabbit, accounts: Sequence[Account], chance: random.Random) -> None:
        self.accounts = {account.stream: account for account in accounts}
        self.bots: Counter[str] = Counter()
        self.sent: list[tuple[float, str, str]] = []
        """Time, event, stream of each command."""
        self.restarts: list[float] = []
        self._unsent: deque[tuple[str, str, bytes, str]] = deque()
        self.announced: list[float] = []
        """When Redis told of a restart of either role."""
        """When it heard that the account streams started."""
        self.left: dict[str, float] = {}
        """When the last bot of an account left it for the first time: nobody is promised anything of it from then on."""
        self.touched: dict[str, float] = {}
        """When a count was last changed, or asked for again."""
        self.unsure: dict[str, str] = {}
        """Streams whose count the contract leaves open, and why: a command was on its way around an announcement, or went
        down with the broker."""
        self.topics: tuple[tuple[str, str, str], ...] = ()
        """Candles that indicators want: symbol, exchange id, interval."""
        self.boot_id = ""
        self._kernel, self._rabbit, self._chance = kernel, rabbit, chance
        self._generation = 0
        self._epoch_at = 0.0
        rabbit.declare_exchange(EXCHANGE, "direct")
        rabbit.on_gone = self._gone

    # --- deeds ---

    def open(self, stream: str) -> None:
        """One more bot listens to the account."""
        self.bots[stream] += 1
        self._send_open(stream)

    def close(self, stream: str) -> None:
        if self.bots[stream] > 0:
            self.bots[stream] -= 1
            if self.restarts and self._kernel.now - self.restarts[-1] <= REJOIN_S:
                self.unsure.setdefault(stream, "a bot left while the others were asking again")
            if not self.bots[stream]:
                self.left.setdefault(stream, self._kernel.now)
            self._send("close stream", stream)

    def restart(self, stream: str) -> None:
        self._send("force restart stream", stream)

    def heard(self, channel: str, payload: bytes) -> None:
        """Something arrived on Redis."""
        if channel != "serviceLog":
            return
        body = json.loads(payload)
        if "restart" in body:
            self.announced.append(self._kernel.now)
        if body.get("restart") == "userStream":
            self._restarted()
        boot_id = body.get("bootId") or body.get("priceConnectorAlive", {}).get("bootId")
        if boot_id and boot_id != self.boot_id:
            self.boot_id = str(boot_id)
            self._kernel.after(self._chance.uniform(0.05, REJOIN_S), self.ask_for_candles)

    def epoch_began(self) -> None:
        """The service has set its counts back: what it carries out from here on counts in the new epoch, also what was sent
        before the backend heard of it and sends all of it again."""
        for stream in self._in_flight():
            self.unsure.setdefault(stream, "a command was on its way when the counts began anew")
        self._epoch_at = self._kernel.now

    def ask_for_candles(self) -> None:
        """Every topic that indicators want; again whenever a new boot id is told."""
        for symbol, exchange, interval in self.topics:
            payload = {"payload": {"symbol": symbol, "exchange": exchange, "interval": interval}}
            self._publish("candle", symbol, json.dumps(payload).encode(), CANDLE_QUEUE)

    def _restarted(self) -> None:
        """All counts are 0 again at the service: every bot asks anew."""
        self.restarts.append(self._kernel.now)
        self._generation += 1
        since = [stream for at, _, stream in self.sent if at >= self._epoch_at]
        for stream in [*self._in_flight(), *since]:
            self.unsure.setdefault(stream, "a command was on its way when the restart was announced")
        for stream, count in sorted(self.bots.items()):
            for _ in range(count):
                self._kernel.after(self._chance.uniform(0.05, REJOIN_S), self._rejoin(stream, self._generation))

    def _rejoin(self, stream: str, generation: int) -> Callable[[], None]:
        def send() -> None:
            if generation == self._generation:
                self._send_open(stream)

        return send

    def _in_flight(self) -> list[str]:
        queue = self._rabbit.queues.get(USER_QUEUE)
        if queue is None:
            return []
        waiting = list(queue.messages)
        if queue.consumer is not None:
            waiting += queue.consumer.unacknowledged.values()
        return [stream_of(message) for message in waiting]

    def _gone(self, message: Message, why: str) -> None:
        """Nobody will get a command: the service is not told either if the broker was only away for a moment (contract 1.1).
        A queue that was gone is announced; but who listens to nothing any more asks for nothing again."""
        if message.key != USER_QUEUE:
            return
        stream = stream_of(message)
        if why == BROKER_WENT_DOWN:
            self.unsure.setdefault(stream, "a command went down with the broker")
        elif not self.bots[stream]:
            self.unsure.setdefault(stream, _LAST_CLOSE_LOST)

    # --- sending ---

    def _send_open(self, stream: str) -> None:
        account = self.accounts[stream]
        if self.unsure.get(stream) == _LAST_CLOSE_LOST:
            del self.unsure[stream]  # it counts from 1 again, and its next close is heard
        self._send("open stream", stream, {"userId": USER_ID, "api": account.api()})

    def _send(self, event: str, stream: str, data: object = None) -> None:
        payload: dict[str, object] = {"event": event, "uuid": stream}
        if data is not None:
            payload["data"] = data
        self._publish(event, stream, json.dumps({"payload": payload}).encode())

    def _publish(self, event: str, stream: str, body: bytes, queue: str = USER_QUEUE) -> None:
        """Its library tells it when the broker is away; that a queue is missing nobody tells it (contract 1.1)."""
        self._unsent.append((event, stream, body, queue))
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        """What waits for the broker goes out in its order."""
        while self._unsent:
            if not self._rabbit.running:
                self._kernel.after(RETRY_S, self._flush)
                return
            self._say(*self._unsent[0])
            self._unsent.popleft()

    def _say(self, event: str, stream: str, body: bytes, queue: str) -> None:
        self._rabbit.declare_exchange(EXCHANGE, "direct")
        self.sent.append((self._kernel.now, event, stream))
        self.touched[stream] = self._kernel.now
        self._rabbit.publish(Message(EXCHANGE, queue, body))


def topics_of(venues: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """One candle topic of a minute at each venue that has them."""
    ids = [FAMILIES[venue][0] for venue in venues if venue in FAMILIES]
    found = [(exchange, demo_candle(exchange)) for exchange in ids]
    return tuple((candle[0], exchange, candle[1]) for exchange, candle in found if candle is not None)


def stream_of(message: Message) -> str:
    return str(json.loads(message.body)["payload"].get("uuid", ""))
