"""Text that means harm wherever it is taken for more than text."""

from __future__ import annotations

# Each of the first six sets `hit` on the window if a browser runs it.
FRAGMENTS = (
    "<img src=x onerror=hit=1>",
    "<script>hit=1</script>",
    '"><svg onload=hit=1>',
    "' onmouseover='hit=1",
    "[a](javascript:hit=1)",
    "<a href=javascript:hit=1>b</a>",
    "</title></table></main><!--",
    "<style>*{display:none}</style>",
    "`code` **bold** | cell |",
    "'; drop table facts; --",
    "=1+1",
    "$PARAMETER ${html_success_icon} $$ $icon",
    "{{ 7*7 }} {% raw %}",
    "&lt;b&gt; &amp;",
    "\x1b[31mred",
    "\u202eright to left",
)

TEXT = " ".join(FRAGMENTS)


def seen(text: str) -> str:
    """The text as a page shows it: what is invisible, as its code."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
