"""What every `State` promises about texts and notifications."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from connector.core.ports import State
from tests.unit.connector.state.backing import LONG_S, SHORT_S, Backing, Heard, WithBacking, eventually


class Notices(WithBacking):
    """Said once, kept, and told."""

    # --- once, texts ---

    def test_once_is_true_for_one_caller_per_period(self, state: State, other: State) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: [state, other][i % 2].once("job", f"w{i}", LONG_S), range(20)))

        assert answers.count(True) == 1
        assert state.once("other job", "w1", SHORT_S)
        eventually(lambda: state.once("other job", "w1", LONG_S))

    def test_texts_are_kept_and_may_lapse(self, state: State, other: State) -> None:
        assert state.get("bootId") is None
        state.put("bootId", "all-17–1")
        state.put("short", "x", SHORT_S)

        assert other.get("bootId") == "all-17–1"
        eventually(lambda: state.get("short") is None)

    def test_a_text_is_swapped_by_one_of_those_who_read_the_same(self, state: State, other: State) -> None:
        assert not state.swap("life", "old", "new")
        assert state.swap("life", None, "1")
        assert not other.swap("life", None, "2")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: [state, other][i % 2].swap("life", "1", f"by {i} ü"), range(20)))

        assert answers.count(True) == 1
        assert other.get("life") == f"by {answers.index(True)} ü"
        assert other.swap("life", state.get("life"), None)
        assert state.get("life") is None
        assert state.swap("empty", None, "")
        assert state.swap("empty", "", "full")

    def test_a_swapped_text_may_lapse(self, state: State) -> None:
        state.put("life", "1")
        assert state.swap("life", "1", "2", SHORT_S)
        eventually(lambda: state.swap("life", None, "3"))

    # --- notifications, admin config ---

    def test_a_notification_reaches_its_owner_and_a_star_reaches_all(self, state: State, other: State) -> None:
        first, second = Heard(), Heard()
        stops = [state.listen("w1", first), other.listen("w2", second)]

        state.notify("w1", "only w1")
        other.notify("*", "everybody – ü")
        state.notify("nobody", "lost")

        first.wait_for("everybody – ü")
        second.wait_for("everybody – ü")
        assert first.texts == ["only w1", "everybody – ü"]
        assert second.texts == ["everybody – ü"]
        for stop in stops:
            stop()

    def test_a_callback_that_raises_costs_only_its_message(self, state: State) -> None:
        heard = Heard()

        def callback(text: str) -> None:
            if text == "bad":
                raise RuntimeError("boom")
            heard(text)

        stop = state.listen("w1", callback)
        state.notify("w1", "bad")
        state.notify("w1", "good")

        heard.wait_for("good")
        stop()

    def test_a_stopped_listener_hears_nothing_and_may_stop_itself(self, state: State) -> None:
        stopped, awake = Heard(), Heard()
        stops: list[Callable[[], None]] = []
        silent = state.listen("w1", stopped)

        def stop_itself(text: str) -> None:
            awake(text)
            stops[0]()

        stops.append(state.listen("w1", stop_itself))
        silent()
        silent()

        state.notify("w1", "hello")

        awake.wait_for("hello")
        assert stopped.texts == []

    def test_a_listener_thread_ends_with_the_connections(self, backing: Backing) -> None:
        state = backing.state()
        state.listen("ends", Heard())
        state.close_connections()

        assert "state-listener:ends" not in [thread.name for thread in threading.enumerate()]

    def test_the_admin_page_switches_exchanges_and_tells(self, backing: Backing, state: State) -> None:
        heard = Heard()
        stop = state.listen("w1", heard)
        assert state.enabled_exchanges() is None

        backing.enable_exchanges('["binance", "kraken"]')

        heard.wait_for("admin-config")
        assert state.enabled_exchanges() == frozenset(["binance", "kraken"])
        backing.enable_exchanges("[]")
        assert state.enabled_exchanges() == frozenset()
        backing.enable_exchanges(None)
        assert state.enabled_exchanges() is None
        stop()

    def test_who_listens_is_known_even_after_everything_was_forgotten(self, backing: Backing, state: State) -> None:
        first, second = state.listen("w[1]", Heard()), state.listen("w2", Heard())

        backing.flush()

        assert state.listening() == {"w[1]", "w2"}
        first()
        second()

    def test_it_answers_a_ping(self, state: State) -> None:
        assert state.ping() is True
