"""The frame of every page of the health port: one style, light and dark, wide and narrow, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

REFRESH_S: Final = 5

_FRAME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{refresh}
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{title}</title><style>
:root{{color-scheme:light dark}}
body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:68rem;padding:0 1rem;color:#222;background:#fff}}
h1{{font-size:1.3rem}}h2{{font-size:1rem;margin:1.6rem 0 .4rem}}a{{color:#0b57b0}}
.wide{{overflow-x:auto}}table{{border-collapse:collapse;width:100%}}
th,td{{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}}
th{{font-weight:600}}td:not(:first-child){{font-variant-numeric:tabular-nums}}
.answer{{font-size:1.3rem;font-weight:600;margin:.4rem 0}}
.ok{{color:#0a6b2d}}.bad{{color:#a3180f}}.quiet{{color:#666}}input,button{{font:inherit;padding:.2rem .5rem}}
@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#161616}}th,td{{border-color:#333}}.ok{{color:#5fce87}}
.bad{{color:#ff8d80}}.quiet{{color:#999}}a{{color:#8ab8ff}}}}
@media(max-width:40rem){{body{{margin:1rem auto;padding:0 .6rem}}th,td{{padding:.2rem .35rem}}}}
</style></head><body>{body}</body></html>
"""


def page(title: str, body: str, refresh_s: int = REFRESH_S) -> bytes:
    """`body` is HTML, `title` is text; `refresh_s` 0 = it stays as it is."""
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    return _FRAME.format(title=escape(title), body=body, refresh=refresh).encode()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, red: Sequence[bool] = ()) -> str:
    """Cells are HTML already. `red`: which rows need somebody's eye."""
    if not rows:
        return f'<h2>{escape(title)}</h2><p class="quiet">none</p>'
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    marks = [*red, *(False for _ in range(len(rows) - len(red)))]
    body = "".join(
        f"<tr{' class=bad' if mark else ''}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    return f'<h2>{escape(title)}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'


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
