"""The page in headless Chromium, driven over the DevTools protocol through a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_bench.core.grants import Setting
from mmcl_bench.report.page import build_report
from mmcl_bench.results.store import Embeddings

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it, such as apt install chromium")
SWITCHES = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
]
SECONDS = 60


class Browser:
    """Chromium with one tab. Messages are JSON, each ended by a zero byte, on its file descriptors 3 and 4."""

    def __init__(self, profile: Path) -> None:
        (its_input, self._to), (self._from, its_output) = os.pipe(), os.pipe()
        # Out of the way of 3 and 4 in the new process.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (its_input, its_output)]
        quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        places = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(ends, (3, 4), strict=True)]
        words = [str(CHROMIUM), *SWITCHES, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(words[0], words, os.environ, file_actions=[*places, quiet], setpgroup=0)
        for end in (its_input, its_output, *ends):
            os.close(end)
        self._read, self._sent, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, page: Path) -> None:
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not self.saw("Page.loadEventFired"):
            self._receive()

    def run(self, script: str) -> Any:
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def saw(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] == method]

    def close(self) -> None:
        os.close(self._to)
        os.close(self._from)
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _receive(self) -> dict[str, Any]:
        until = time.monotonic() + SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self._from, 2**16) if ready else b""
            if not chunk:
                raise TimeoutError("Chromium does not answer")
            self._read += chunk
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


@pytest.fixture(scope="module")
def page(make_job: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    history = {"final": [{"epoch": 1.0, "loss": 1.0}, {"epoch": 2.0, "loss": 0.5}]}
    for name in ("one", "two", "three"):
        for method, skill in (("good", 0.9), ("fair", 0.5), ("poor", 0.0)):
            make_job(root, name=name, method=method, skill=skill, history=history, oracle=0.99)
    make_job(root, name="one", method="adapts", setting=Setting.TRANSDUCTIVE)
    make_job(root, name="one", method="<img src=x onerror=alert(1)>", preset="paper")
    kept = Embeddings(np.eye(5, 6, dtype=np.float16), np.array([2, 3, 6, 7, 10]), np.eye(2, 6, dtype=np.float16))
    make_job(root, family="zero-shot", name="new", synthetic=True, history=history, embeddings=kept)
    make_job(root, name="ucla", datasets=("nw-ucla",), split="x-view")
    return build_report(root, root / "reports", "none").page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The page, freshly loaded; whatever a test does, nothing is asked of the outside and the console stays quiet."""
    browser.open(page)
    yield browser
    asked = [event["request"]["url"] for event in browser.saw("Network.requestWillBeSent")]
    assert {address.split("#")[0] for address in asked if not address.startswith("data:")} == {page.as_uri()}
    assert browser.saw("Runtime.exceptionThrown") == []
    assert browser.saw("Runtime.consoleAPICalled") == []
    assert [event["entry"] for event in browser.saw("Log.entryAdded")] == []


def test_the_watch_notices_what_it_should(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<link rel="icon" href="data:,"><img src="http://127.0.0.1:9/x.png"><script>nothing()</script>')
    browser.open(bad)
    asked = [event["request"]["url"] for event in browser.saw("Network.requestWillBeSent")]
    assert "http://127.0.0.1:9/x.png" in asked
    assert browser.saw("Runtime.exceptionThrown")


METHODS_OF = """(at) => Array.from(document.querySelectorAll("table.leaderboard tbody.rows")[at].rows)
  .filter((row) => !row.hidden).map((row) => row.dataset.method)"""


def methods(browser: Browser, body: int) -> list[str]:
    """Method names of the shown rows of a block, from the top."""
    found: list[str] = browser.run(f"({METHODS_OF})({body})")
    return found


def test_a_click_on_a_head_sorts_within_each_task(opened: Browser) -> None:
    click = """document.querySelectorAll("table.leaderboard th[data-sort] button")[%d].click()"""
    assert methods(opened, 2)[:2] == ["good", "fair"]
    opened.run(click % 1)
    assert methods(opened, 2) == ["good", "fair", "poor"]
    opened.run(click % 1)
    assert methods(opened, 2) == ["poor", "fair", "good"]
    opened.run(click % 0)
    assert methods(opened, 2) == ["fair", "good", "poor"]
    assert opened.run("""document.querySelector("th[aria-sort]").getAttribute("aria-sort")""") == "ascending"


def test_transductive_rows_stay_where_they_are_when_sorted(opened: Browser) -> None:
    opened.run("""for (const b of document.querySelectorAll("th[data-sort] button")) b.click()""")
    rows = 'Array.from(document.querySelectorAll("tbody.rows[data-setting=transductive] tr"), (r) => r.dataset.method)'
    assert opened.run(rows) == ["adapts"]


def choose(browser: Browser, name: str, value: str) -> None:
    browser.run(
        f"""{{ const field = document.forms[0].elements[{json.dumps(name)}]; field.value = {json.dumps(value)};
        field.dispatchEvent(new Event("change", {{bubbles: true}})); }}"""
    )


def test_filters_leave_the_rows_and_figures_of_what_is_asked_for(opened: Browser) -> None:
    count = 'document.querySelector("output").value'
    assert opened.run(count) == "13 of 13 rows"
    choose(opened, "method", "good")
    assert opened.run(count) == "3 of 13 rows"
    shown = (
        """Array.from(document.querySelectorAll("details.run")).filter((part) => !part.closest("[hidden]")).length"""
    )
    assert opened.run(shown) == 3
    choose(opened, "task", opened.run("document.forms[0].elements.task.options[1].value"))
    assert opened.run(count) == "1 of 13 rows"
    assert opened.run('document.querySelectorAll("article:not([hidden])").length') == 1
    choose(opened, "preset", "paper")
    assert opened.run(count) == "0 of 13 rows"
    assert opened.run('document.querySelectorAll("section.origin:not([hidden])").length') == 0
    opened.run("new Promise((done) => { document.forms[0].reset(); setTimeout(done, 20); })")
    assert opened.run(count) == "13 of 13 rows"


def follow(browser: Browser, hash_: str) -> None:
    browser.run(f"location.hash = {json.dumps(hash_)}; new Promise((done) => setTimeout(done, 50))")


def test_filters_stand_in_the_address_and_come_back_from_it(opened: Browser, page: Path) -> None:
    choose(opened, "method", "good")
    choose(opened, "preset", "quick")
    address = opened.run("location.hash")
    assert address == "#method=good&preset=quick"
    opened.run('document.querySelector("tbody.rows > tr:not([hidden]) a").click()')
    opened.run("new Promise((done) => setTimeout(done, 50))")
    with_place = opened.run("location.hash")
    assert with_place.startswith(f"{address}&at=supervised-")
    for sent, n_open in ((address, 0), (with_place, 1)):
        opened.open(page)
        follow(opened, sent)
        assert opened.run('document.querySelector("output").value') == "3 of 13 rows"
        assert opened.run("document.forms[0].elements.method.value") == "good"
        assert opened.run('document.querySelectorAll("details.run[open]").length') == n_open


@pytest.mark.parametrize(
    "sent", ["#method=no-such", "#method=good&at=no-such", "#x=%22%3E%3Cimg%20src=x%3E", "#%E0%A4%A"]
)
def test_an_address_that_names_nothing_shows_a_page(opened: Browser, sent: str) -> None:
    follow(opened, sent)
    assert opened.run('document.querySelectorAll("tbody.rows > tr:not([hidden])").length') > 0


def test_a_link_to_a_row_that_filters_hide_shows_it(opened: Browser) -> None:
    choose(opened, "method", "good")
    opened.run('document.querySelector("tbody.rows > tr[hidden] a").click()')
    opened.run("new Promise((done) => setTimeout(done, 50))")
    assert opened.run('document.querySelector("output").value') == "13 of 13 rows"
    assert opened.run('document.querySelectorAll("details.run[open]").length') == 1


def test_a_table_that_does_not_fit_says_that_it_scrolls(opened: Browser) -> None:
    parts = 'Array.from(document.querySelectorAll(".scroll"), (part) => part.classList.contains("more"))'
    opened.send("Emulation.setDeviceMetricsOverride", width=1300, height=800, deviceScaleFactor=1, mobile=False)
    opened.run("keepHeads()")
    assert not any(opened.run(parts))
    opened.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    opened.run("keepHeads()")
    assert any(opened.run(parts))
    opened.send("Emulation.clearDeviceMetricsOverride")


def test_a_link_in_the_table_opens_the_details_of_its_row(opened: Browser) -> None:
    opened.run('document.querySelector("tbody.rows a").click()')
    opened.run("new Promise((done) => setTimeout(done, 50))")
    assert opened.run('document.querySelectorAll("details.run[open]").length') == 1


def test_hostile_names_are_shown_and_not_run(opened: Browser) -> None:
    assert opened.run('document.querySelectorAll("img, script").length') == 1  # the page's own script
    assert opened.run('document.body.textContent.includes("<img src=x onerror=alert(1)>")')


@pytest.mark.parametrize(
    ("scheme", "page_color", "blue"), [("light", 255, "rgb(0, 114, 178)"), ("dark", 20, "rgb(74, 168, 232)")]
)
def test_page_and_figures_follow_the_readers_colours(opened: Browser, scheme: str, page_color: int, blue: str) -> None:
    opened.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert opened.run("getComputedStyle(document.body).backgroundColor").startswith(f"rgb({page_color},")
    assert opened.run("""getComputedStyle(document.querySelector("svg [fill='var(--c0)']")).fill""") == blue
    opened.send("Emulation.setEmulatedMedia", features=[])


def test_a_phone_shows_it_without_scrolling_the_page_sideways(opened: Browser) -> None:
    opened.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    opened.run('for (const part of document.querySelectorAll("details")) part.open = true')
    assert opened.run("document.documentElement.scrollWidth") <= 390
    opened.send("Emulation.clearDeviceMetricsOverride")


def test_heads_stay_in_sight_below_the_filters_where_the_table_fits(opened: Browser) -> None:
    height_of_head = """(() => { const table = document.querySelector("table.leaderboard");
      scrollBy(0, table.getBoundingClientRect().bottom - 150);
      const [head, form] = [table.tHead.rows[0].cells[0], document.forms[0]];
      return head.getBoundingClientRect().top - form.getBoundingClientRect().bottom; })()"""
    opened.send("Emulation.setDeviceMetricsOverride", width=1400, height=500, deviceScaleFactor=1, mobile=False)
    opened.run("keepHeads()")
    assert (
        opened.run("getComputedStyle(document.querySelector('table.leaderboard').parentElement).overflowX") == "visible"
    )
    assert abs(opened.run(height_of_head)) < 2
    opened.send("Emulation.setDeviceMetricsOverride", width=390, height=500, deviceScaleFactor=1, mobile=True)
    opened.run("keepHeads()")
    assert opened.run("getComputedStyle(document.querySelector('table.leaderboard').parentElement).overflowX") == "auto"
    opened.send("Emulation.clearDeviceMetricsOverride")
