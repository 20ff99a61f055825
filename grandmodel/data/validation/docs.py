"""Data Docs that stand alone: no script, style or image is fetched from anywhere when the pages are opened."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Stands in for the Bootstrap sheets that the pages link: the grid, tables and cards they use.
_STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem;color:#222}
h1,h2,h3,h4,h5{line-height:1.2;margin:.6rem 0}a{color:#0b5cad}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border:1px solid #ddd;padding:.35rem .6rem;
text-align:left;vertical-align:top}th{background:#f6f6f6}
.row{display:flex;flex-wrap:wrap;gap:1rem}.col-12{flex:0 0 100%}[class*=col-]{min-width:0}
.col-md-2,.col-lg-2{flex:0 0 14rem}.col-md-8,.col-lg-8,.col-md-10,.col-lg-10{flex:1}
.card,.alert{border:1px solid #ddd;border-radius:.3rem;padding:.6rem;margin:.5rem 0}
.text-success{color:#137333}.text-danger{color:#b3261e}.text-warning{color:#9a6700}
.badge{border-radius:.3rem;padding:0 .4rem;background:#eee}ul{padding-left:1.2rem}
.modal,.popover,.tooltip{display:none}.collapse{display:block}pre,code{white-space:pre-wrap;word-break:break-word}
</style>"""
_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_LINK = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
_REMOTE_IMAGE = re.compile(r"<img\b[^>]*\bsrc\s*=\s*[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE)
_REMOTE_STYLE = re.compile(r"(?:@import\s+)?url\(\s*[\"']?(?:https?:)?//[^)]*\)\s*;?", re.IGNORECASE)
_REMOTE_ADDRESS = re.compile(r"""\s(?:href|src)\s*=\s*(?:"(?:https?:)?//[^"]*"|'(?:https?:)?//[^']*')""", re.IGNORECASE)
_BODY_START = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_HEAD_END = re.compile(r"</head\s*>", re.IGNORECASE)
_SITE_PARTS = ("expectations", "validations", "static", "index.html")


def publish(site: Path, docs_folder: Path, failures: str) -> Path:
    """Copy the built ``site`` to ``docs_folder``, replacing an earlier one, and return its index page.

    ``failures`` (of ``failures_html``) stands on top of the index: the library's pages list no rows.
    """
    docs_folder.mkdir(parents=True, exist_ok=True)
    for name in _SITE_PARTS:
        old = docs_folder / name
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    pages = sorted(page.relative_to(site) for page in site.rglob("*.html"))
    for page in pages:
        html = make_self_contained((site / page).read_text(encoding="utf-8"))
        target = docs_folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if page.name == "index.html":
            html = _BODY_START.sub(lambda start: start[0] + failures, _with_links(html, pages), count=1)
        target.write_text(html, encoding="utf-8")
    return docs_folder / "index.html"


def failures_html(checks: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the checks that failed, with rule, what to do and the first failing rows."""
    failed = [check for check in checks if not check["passed"]]
    if not failed:
        return f"<h3>All {len(checks)} checks pass</h3>"
    lines = "".join(
        f"<tr><td>{escape(check['level'])}</td><td>{escape(check['suite'])}</td><td>{escape(check['rule'])}. "
        f"{escape(check['do'])}.</td><td>{check['failing_count']}</td><td>{_rows_html(check['failing_rows'])}</td></tr>"
        for check in failed
    )
    head = "<tr><th>level</th><th>suite</th><th>rule and what to do</th><th>failing</th><th>first rows</th></tr>"
    return f"<h3>{len(failed)} of {len(checks)} checks fail</h3><table>{head}{lines}</table>"


def _rows_html(rows: Sequence[Mapping[str, Any]]) -> str:
    texts = (", ".join(f"{key} {value}" for key, value in row.items()) for row in rows)
    return "<br>".join(map(escape, texts))


def _with_links(html: str, pages: list[Path]) -> str:
    """Add plain links to all pages: the index lists them by a script, which is gone."""
    others = [page.as_posix() for page in pages if page.name != "index.html"]
    items = "".join(f'<li><a href="{quote(page)}">{escape(page)}</a></li>' for page in others)
    return _BODY_END.sub(lambda _: f"<h4>Pages</h4><ul>{items}</ul></body>", html, count=1)


def make_self_contained(html: str) -> str:
    """Return ``html`` without scripts, linked sheets and remote images, and with a small style of its own."""
    for pattern in (_SCRIPT, _LINK, _REMOTE_IMAGE, _REMOTE_STYLE, _REMOTE_ADDRESS):
        html = pattern.sub("", html)
    return _HEAD_END.sub(lambda _: _STYLE + "</head>", html, count=1)
