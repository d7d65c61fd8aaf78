"""Account frames as Binance sends them; names are the venue's own (see `_orders`)."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class SpotOrder(msgspec.Struct):
    E: int
    s: str
    c: str
    S: str
    o: str
    q: str
    p: str
    X: str
    i: int
    z: str
    Z: str
    T: int
    O: int | None = None  # noqa: E741
    C: str | None = ""
    f: str | UnsetType = UNSET
    P: str | UnsetType = UNSET
    F: str | UnsetType = UNSET
    x: str | UnsetType = UNSET
    r: str | UnsetType = UNSET
    l: str | UnsetType = UNSET  # noqa: E741
    L: str | UnsetType = UNSET
    n: str | UnsetType = UNSET
    N: str | UnsetType | None = UNSET
    t: int | UnsetType = UNSET
    I: int | UnsetType = UNSET  # noqa: E741
    w: bool | UnsetType = UNSET
    m: bool | UnsetType = UNSET
    g: int | UnsetType = UNSET
    Q: str | UnsetType = UNSET
    Y: str | UnsetType = UNSET


class SpotBalance(msgspec.Struct):
    a: str
    f: str
    l: str  # noqa: E741


class SpotPosition(msgspec.Struct):
    E: int
    u: int
    B: list[SpotBalance] = []


class SpotDelta(msgspec.Struct):
    E: int
    a: str
    d: str
    T: int


class FuturesOrder(msgspec.Struct):
    s: str
    c: str
    S: str
    o: str
    q: str
    p: str
    ap: str
    X: str
    i: int
    z: str
    T: int
    f: str | UnsetType = UNSET
    sp: str | UnsetType = UNSET
    x: str | UnsetType = UNSET
    l: str | UnsetType = UNSET  # noqa: E741
    L: str | UnsetType = UNSET
    n: str | UnsetType = UNSET
    N: str | UnsetType | None = UNSET
    t: int | UnsetType = UNSET
    b: str | UnsetType = UNSET
    a: str | UnsetType = UNSET
    m: bool | UnsetType = UNSET
    R: bool | UnsetType = UNSET
    wt: str | UnsetType = UNSET
    ot: str | UnsetType = UNSET
    ps: str | UnsetType = UNSET
    cp: bool | UnsetType = UNSET
    AP: str | UnsetType = UNSET
    cr: str | UnsetType = UNSET
    rp: str | UnsetType = UNSET


class FuturesOrderFrame(msgspec.Struct):
    E: int
    T: int
    o: FuturesOrder


class FuturesBalance(msgspec.Struct):
    a: str
    wb: str
    cw: str
    bc: str = "0"


class FuturesPosition(msgspec.Struct):
    s: str
    pa: str
    ep: str
    cr: str = "0"
    up: str = "0"
    mt: str = ""
    iw: str = "0"
    ps: str = "BOTH"


class FuturesAccount(msgspec.Struct):
    m: str = ""
    B: list[FuturesBalance] | None = None
    P: list[FuturesPosition] | None = None


class FuturesAccountFrame(msgspec.Struct):
    E: int
    T: int
    a: FuturesAccount


class Leverage(msgspec.Struct):
    s: str
    l: int  # noqa: E741


class MultiAssets(msgspec.Struct):
    j: bool


class ConfigFrame(msgspec.Struct):
    E: int
    T: int
    ac: Leverage | None = None
    ai: MultiAssets | None = None


class MarginPosition(msgspec.Struct):
    s: str
    ps: str
    pa: str
    mt: str
    iw: str | UnsetType = UNSET
    mp: str | UnsetType = UNSET
    up: str | UnsetType = UNSET
    mm: str | UnsetType = UNSET


class MarginFrame(msgspec.Struct):
    E: int
    cw: str | UnsetType = UNSET
    p: list[MarginPosition] = []


class ExpiredFrame(msgspec.Struct):
    E: int
