"""The frame of every page of the health port: one style, light and dark, wide and narrow, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

REFRESH_S: Final = 5
LONGEST_SHORT: Final = 12
"""Letters of a cell that is not broken into lines."""

MOST_TIGHT: Final = 7
"""Columns of a table whose last one gets the room; with more, each gets what it needs."""

_FRAME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{refresh}
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{title}</title><style>
:root{{color-scheme:light dark;--quiet:#666}}
body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:88rem;padding:0 1rem;color:#222;background:#fff}}
h1{{font-size:1.3rem}}h2{{font-size:1rem;margin:1.6rem 0 .4rem}}a{{color:#0b57b0}}
.wide{{overflow-x:auto}}table{{border-collapse:collapse;width:100%}}
th,td{{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}}
th{{font-weight:600}}td:not(:first-child){{font-variant-numeric:tabular-nums}}
.short{{white-space:nowrap}}.hour{{display:flex;flex-wrap:wrap;gap:.4rem 2rem}}
figure{{margin:0;flex:1 1 14rem;max-width:24rem}}
svg{{width:100%;height:2.6rem;border-bottom:1px solid #8888}}
polyline{{fill:none;stroke:currentColor;stroke-width:1.5;vector-effect:non-scaling-stroke}}
.answer{{font-size:1.3rem;font-weight:600;margin:.4rem 0;overflow-wrap:anywhere}}
.tight th:last-child,.tight td:last-child{{width:100%}}.tight td:not(:last-child){{white-space:nowrap}}
.ok{{color:#0a6b2d}}.bad{{color:#a3180f}}.doubt{{color:#8a5a00}}.quiet{{color:var(--quiet)}}
input,button{{font:inherit;padding:.2rem .5rem}}
@media(prefers-color-scheme:dark){{:root{{--quiet:#999}}body{{color:#ddd;background:#161616}}th,td{{border-color:#333}}.ok{{color:#5fce87}}
.bad{{color:#ff8d80}}.doubt{{color:#e0b050}}a{{color:#8ab8ff}}}}
@media(max-width:40rem){{body{{margin:1rem auto;padding:0 .6rem}}th,td{{padding:.2rem .35rem}}
.cards tr:first-child{{display:none}}.cards tr{{display:block;padding:.5rem 0;border-bottom:1px solid #8888}}
.cards td,.tight.cards td{{display:flex;white-space:normal;border:0;padding:.1rem 0;overflow-wrap:anywhere}}
.tight:not(.cards){{font-size:.87rem}}.cards td:empty{{display:none}}
.cards td::before{{content:attr(data-name);flex:0 0 6.5rem;color:var(--quiet)}}}}
</style></head><body>{body}</body></html>
"""


def page(title: str, body: str, refresh_s: int = REFRESH_S) -> bytes:
    """`body` is HTML, `title` is text; `refresh_s` 0 = it stays as it is."""
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    return _FRAME.format(title=escape(title), body=body, refresh=refresh).encode()


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    red: Sequence[bool] = (),
    cards: bool = False,
    tight: bool = True,
) -> str:
    """Cells are HTML already. `red`: which rows need somebody's eye. `cards`: on a narrow screen each row is a list. `tight`
    False: several columns hold sentences, which are broken into lines."""
    if not rows:
        return f'<h2>{escape(title)}</h2><p class="quiet">none</p>'
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    marks = [*red, *(False for _ in range(len(rows) - len(red)))]
    body = "".join(
        f"<tr{' class=bad' if mark else ''}>" + "".join(map(_cell, columns, row)) + "</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    kind = " ".join(["tight"] * (tight and len(columns) <= MOST_TIGHT) + ["cards"] * cards)
    return f'<h2>{escape(title)}</h2><div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'


def _cell(column: str, cell: str) -> str:
    short = ' class="short"' if len(cell) <= LONGEST_SHORT else ""
    return f'<td data-name="{escape(column)}"{short}>{cell}</td>'


def age(ms: int) -> str:
    """A duration in the unit that a person would choose."""
    seconds = max(0, ms // 1000)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} d"
