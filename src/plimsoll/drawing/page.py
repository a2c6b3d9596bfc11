"""A page that opens offline: inline CSS, no scripts, nothing fetched. Light and dark by the reader's own setting."""

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { --ink:#1c2733; --soft:#5d6b7a; --line:#d9dfe6; --paper:#fff; --blue:#1f6feb; --green:#1a9c5b; --amber:#d9822b;
  --red:#d1343c; --bar:#8fb7ee; --violet:#8250df; --teal:#0f8f8c; --pink:#bf3989; --olive:#7a7a1f; }
@media (prefers-color-scheme: dark) { :root { --ink:#e3e8ee; --soft:#94a1b0; --line:#333d49; --paper:#14191f;
  --blue:#5b9cff; --green:#3fc380; --amber:#f0a04b; --red:#ff6b70; --bar:#3a5f93; --violet:#b392f0; --teal:#4fc9c4;
  --pink:#f778ba; --olive:#c9c95a; } }
* { box-sizing:border-box } body { margin:0 auto; padding:28px; max-width:1020px; color:var(--ink);
  background:var(--paper); font:15px/1.5 system-ui,sans-serif }
h1 { font-size:20px; margin:0 } h2 { font-size:15px; margin:28px 0 6px } .soft { color:var(--soft);
  overflow-wrap:anywhere }
.verdict { margin:14px 0 18px; padding:10px 14px; border-left:4px solid var(--green); background:color-mix(in srgb,
  var(--line) 35%, transparent); font-weight:600 } .verdict.bad { border-color:var(--red) }
.tiles { display:flex; flex-wrap:wrap; gap:10px } .tile { flex:1 1 120px; border:1px solid var(--line);
  border-radius:6px; padding:8px 12px } .tile b { display:block; font-size:20px }
table { border-collapse:collapse } td,th { text-align:right; padding:2px 14px 2px 0; font-variant-numeric:tabular-nums }
td:first-child,th:first-child { text-align:left } th { color:var(--soft); font-weight:400 } td.bad { color:var(--red) }
.columns { display:flex; flex-wrap:wrap; gap:12px 56px } svg { width:100%; height:auto; display:block }
svg text { fill:var(--soft); font:11px system-ui,sans-serif } code { font-size:13px; overflow-wrap:anywhere }
.wide { overflow-x:auto } .wide td,.wide th { white-space:nowrap }
"""


def page(title: str, body: str) -> str:
    """`body` is HTML; `title` plain text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def comment(told: object) -> str:
    """The same figures for programs, where no reader sees them."""
    return f"<!-- {escape(str(told)).replace('--', '- -')} -->\n"


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """(figure, what it is), plain text."""
    cells = "".join(f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>' for value, name in pairs)
    return f'<div class="tiles">{cells}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Plain text. A figure that ends in `!` is over its budget, and red."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _cell(text: str) -> str:
    return f"<td{' class=bad' if text.endswith('!') else ''}>{escape(text)}</td>"
