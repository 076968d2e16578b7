"""Chromium under observation: pages opened as a person opens them, and all that is wrong with them, in words.

Playwright keeps an event loop in the thread that started it, in which no flow can run: a module that
needs a run of the pipeline makes it before it asks for a browser.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, Route, sync_playwright

PHONE = 400
DESK = 1280

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip

# What a page must never load, noted by the browser itself.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} forbids ${event.blockedURI || "inline code"}`));
"""

# Elements that make the page wider than the window, the ones that scroll in a box of their own aside.
TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > width + 1 && !element.closest(".scroll"))
        .map((element) => element.outerHTML.slice(0, 120));
}"""


@dataclass
class Browser:
    """Pages, and what was noted about each."""

    chromium: Chromium
    _noted: dict[Page, list[str]] = field(default_factory=lambda: defaultdict(list))

    def open(self, target: str | Path, *, width: int = DESK, dark: bool = False, wait: str = "load") -> Page:
        """A page of its own for a file or an address; requests to any other host are refused and noted."""
        address = target.absolute().as_uri() if isinstance(target, Path) else target
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        context.add_init_script(WATCH)
        page = context.new_page()
        self._watch(page, urlsplit(address).netloc)
        page.goto(address, wait_until=wait)  # type: ignore[arg-type]
        return page

    def problems(self, page: Page) -> list[str]:
        """Errors, dialogs, refused code and requests to other hosts, so far."""
        return [*self._noted[page], *page.evaluate("() => window.violations")]

    def _watch(self, page: Page, host: str) -> None:
        note = self._noted[page].append

        def guard(route: Route) -> None:
            if host and urlsplit(route.request.url).netloc == host:
                route.continue_()
            else:
                note(f"asks another host: {route.request.url}")
                route.abort()

        page.context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), guard)
        page.on("console", lambda message: message.type in ("error", "warning") and note(f"console: {message.text}"))
        page.on("pageerror", lambda error: note(f"error: {error}"))
        page.on("requestfailed", lambda request: note(f"not loaded: {request.url} ({request.failure})"))
        page.on("dialog", lambda dialog: (note(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda other: note(f"opens a window: {other.url}"))


def barriers(page: Page) -> list[str]:
    """What axe finds serious or critical, contrast included."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html']} ({node['failureSummary']})"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """The elements that make the page scroll sideways."""
    if page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"):
        return []
    return page.evaluate(TOO_WIDE) or ["the page"]


def dead_links(folder: Path) -> list[str]:
    """Links of the pages of a site in files that lead to no file."""
    return [
        f"{page.relative_to(folder)}: {link}"
        for page in sorted(folder.rglob("*.html"))
        for link in _links(page)
        if not _leads_to_a_file(page, link)
    ]


def _links(page: Path) -> list[str]:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda _tag, attributes: found.extend(  # type: ignore[method-assign]
        value for name, value in attributes if name in ("href", "src") and value
    )
    parser.feed(page.read_text(encoding="utf-8"))
    return found


def _leads_to_a_file(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme == "data"  # the site stands alone
    return not parts.path or (page.parent / unquote(parts.path)).is_file()


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a folder on a server of its own."""
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's Chromium; without one the test is skipped."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if not executable:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
