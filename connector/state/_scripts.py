"""The Lua scripts of this package: one file for each atomic operation, whose head tells keys, arguments and answer."""

from __future__ import annotations

from importlib import resources


def _text(*parts: str) -> str:
    folder = resources.files("connector.state")
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in parts)


OPEN = _text("_entry", "_mark", "open")
CLOSE = _text("_entry", "_mark", "close")
DROP_MARKS = _text("drop_marks")
RESTART = _text("_entry", "restart")
WANTED = _text("_entry", "wanted")
GLANCE = _text("glance")
REMEMBER = _text("_entry", "remember")
BEGIN_EPOCH = _text("_entry", "begin_epoch")
CLOSE_STALE = _text("close_stale")
DROP_CANDLES = _text("drop_candles")

CLAIM = _text("_lease", "claim")
RENEW = _text("_lease", "renew")
RELEASE = _text("_lease", "release")
BURY = _text("_lease", "bury")
SCAN = _text("scan")
HAND_OVER = _text("_lease", "hand_over")

SET_FENCED = _text("set_fenced")
CLEAR_GATE = _text("clear_gate")

BEAT = _text("beat")
WORKERS = _text("workers")
TAKE = _text("take")
BLOCK = _text("block")
SWAP = _text("swap")
