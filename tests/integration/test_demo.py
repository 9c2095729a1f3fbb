"""`usher demo`, used as its visitors use it: two tabs of a headless Chromium on different nodes; and how it ends.

Needs Chromium and pusher-js: `npm ci` in tests/compat, or its minified file named by USHER_TEST_PUSHER_JS.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.devtools import Browser, Page, chromium_path, open_browser
from tests.integration.test_demo_children import is_running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PUSHER_JS = Path(
    os.environ.get("USHER_TEST_PUSHER_JS")
    or Path(__file__).parents[1] / "compat/node_modules/pusher-js/dist/web/pusher.min.js"
)
STOP_TIMEOUT = 30.0

needs_browser = [
    pytest.mark.skipif(not PUSHER_JS.exists(), reason=f"no pusher-js at {PUSHER_JS}: run `npm ci` in tests/compat"),
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium here"),
]


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: its process, the address of its page, and every process that belongs to it."""

    process: subprocess.Popen[str]
    url: str
    children: dict[int, str]

    def child(self, word: str) -> int:
        """The pid of the child whose command line has `word`."""
        return next(pid for pid, command in self.children.items() if word in command)


def children_of(pid: int) -> dict[int, str]:
    """The processes that `pid` started: pid → command line."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child): Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in pids}


@contextmanager
def run_demo(*arguments: str) -> Iterator[Demo]:
    """Start a demo and wait until its page can be opened; end it if the test did not."""
    command = [sys.executable, "-m", "node", "demo", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if found := re.match(r"Open (http://\S+/)$", line):
                    break
            else:
                raise AssertionError("".join(said) + (process.stderr.read() if process.stderr else ""))
            yield Demo(process, found[1], children_of(process.pid))
        finally:
            process.terminate()  # politely: a demo that is killed leaves its temporary directory
            process.wait(STOP_TIMEOUT)


def wait_until_gone(pids: list[int]) -> list[int]:
    """Return the processes that are still there after STOP_TIMEOUT: none, as soon as there are none."""
    deadline = time.monotonic() + STOP_TIMEOUT
    while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """One demo with three nodes for all tests that look at its page: each uses names of its own."""
    with run_demo("--pusher-js", str(PUSHER_JS)) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium with nothing open."""
    async with open_browser() as running:
        yield running


async def sign_in(browser: Browser, demo: Demo, name: str, node: int, watch: str) -> Page:
    """Open a tab on `node` and sign in there as `name`, who watches the ids in `watch`."""
    page = await browser.open_page(f"{demo.url}?node={node}&name={name}&watch={watch}")
    await page.click("#sign-in .primary")
    await page.wait_for_text("#state", f"Signed in, on node {node}")
    return page


async def sees(page: Page, name: str, status: str) -> None:
    """Wait until `page` shows `name` with `status`."""
    await page.wait_until(
        "[...document.querySelectorAll('#people label')]"
        f".some(row => row.innerText.replace(/\\s+/g, ' ').includes({json.dumps(f'{name} {status}')}))"
    )


async def choose(page: Page, user_id: str) -> None:
    """Choose whom to reach, as a click on the row does."""
    await page.click(f"#people input[value='{user_id}']")


class TestPage:
    """What a visitor sees."""

    pytestmark = needs_browser

    async def test_two_tabs_see_each_other_come_and_go_when_on_different_nodes(self, demo: Demo, browser: Browser) -> None:
        """Online with the other's sign-in, offline with the closing of its tab."""
        ann = await sign_in(browser, demo, "ann", 1, "ben,cat")
        await ann.wait_for_text("#timeline .offline", "Ben and Cat are offline")
        ben = await sign_in(browser, demo, "ben", 2, "ann")
        await ben.wait_for_text("#timeline .online", "Ann is online")
        await ann.wait_for_text("#timeline .online", "Ben came online")
        await sees(ann, "Ben", "online")
        await sees(ann, "Cat", "offline")
        await ben.close()
        await ann.wait_for_text("#timeline .offline", "Ben went offline")
        await sees(ann, "Ben", "offline")
        assert ann.errors == []

    async def test_tabs_see_who_is_in_the_lobby_when_they_are_on_different_nodes(self, demo: Demo, browser: Browser) -> None:
        """All who signed in, whom nobody watches too; who leaves is still online, and may come in again."""
        tea = await sign_in(browser, demo, "tea", 1, "uli")
        uli = await sign_in(browser, demo, "uli", 2, "")
        await tea.wait_for_text("#timeline .lobby .title", "Uli came into the lobby")
        await uli.wait_for_text("#timeline .lobby .title", "In the lobby with Tea")
        for page in (tea, uli):
            await page.wait_for_text("#members li", "Tea")
            await page.wait_for_text("#members li", "Uli")
        await uli.click("#lobby-toggle")
        await tea.wait_for_text("#timeline .lobby .title", "Uli left the lobby")
        await tea.wait_until("document.querySelectorAll('#members li').length === 1")
        await sees(tea, "Uli", "online")
        await uli.wait_for_text("#lobby-toggle", "Enter")
        await uli.click("#lobby-toggle")
        await tea.wait_for_text("#members li", "Uli")
        await uli.close()
        await tea.wait_until("document.querySelectorAll('#members li').length === 1")
        assert tea.errors == []

    async def test_a_newcomer_sees_the_last_headline_when_it_came_before(self, demo: Demo, browser: Browser) -> None:
        """On another node, and markup in it is text; those who are there see it when it comes."""
        val = await sign_in(browser, demo, "val", 1, "")
        await val.evaluate("document.getElementById('headline-text').value = '<b>Dawn</b> again'")
        await val.click("#publish-button")
        await val.wait_for_text("#headline-now", "<b>Dawn</b> again")
        await val.wait_for_text("#timeline .headline-arrives .why", "The backend published it once")
        wim = await sign_in(browser, demo, "wim", 2, "")
        await wim.wait_for_text("#headline-now", "<b>Dawn</b> again")
        await wim.wait_for_text("#headline", "by Val")
        await wim.wait_for_text("#timeline .headline-arrives .why", "It was published before you came")
        assert val.errors == wim.errors == []

    async def test_a_tab_receives_a_message_when_another_sends_one_through_the_backend(
        self, demo: Demo, browser: Browser
    ) -> None:
        """The backend publishes it through node 3; markup in it is shown as the text that it is."""
        dan = await sign_in(browser, demo, "dan", 1, "eve")
        eve = await sign_in(browser, demo, "eve", 2, "dan")
        text = "<img src=x onerror=alert(1)> &amp; hello"
        await choose(eve, "dan")
        await eve.evaluate(f"document.getElementById('text').value = {json.dumps(text)}")
        await eve.click("#send")
        await dan.wait_for_text("#timeline .message .title", f"Eve: {text}")
        await dan.wait_for_text("#timeline .message .why", "Sent from a tab on node 2")
        await eve.wait_for_text("#timeline .sent .title", f"You to Dan: {text}")
        assert await dan.evaluate("document.images.length") == 0
        assert dan.errors == eve.errors == []

    async def test_a_tab_is_told_and_comes_back_when_its_user_is_terminated(self, demo: Demo, browser: Browser) -> None:
        """pusher-js reconnects after code 4200 and signs in again."""
        fay = await sign_in(browser, demo, "fay", 1, "gus")
        gus = await sign_in(browser, demo, "gus", 2, "fay")
        await choose(gus, "fay")
        await gus.click("#terminate")
        await gus.wait_for_text("#timeline .termination .title", "You threw Fay out")
        await fay.wait_for_text("#timeline .termination .title", "You were thrown out")
        await fay.wait_for_text("#timeline .connection .title", "Signed in again as Fay")
        await fay.wait_for_text("#state", "Signed in, on node 1")
        assert fay.errors == gus.errors == []

    async def test_a_tab_moves_to_another_node_when_asked(self, demo: Demo, browser: Browser) -> None:
        """It signs in there, and what is sent to its user arrives there."""
        hal = await sign_in(browser, demo, "hal", 1, "ida")
        await hal.click("#nodes input[value='2']")
        await hal.wait_for_text("#state", "Signed in, on node 2")
        await choose(hal, "hal")
        await hal.click("#send")
        await hal.wait_for_text("#timeline .message .title", "Hal: Hello!")

    async def test_a_tab_signs_in_again_when_it_is_reloaded(self, demo: Demo, browser: Browser) -> None:
        """Nobody needs to press the button twice, and the address kept the choices."""
        jim = await sign_in(browser, demo, "jim", 3, "kim")
        await jim.command("Page.reload")
        await jim.wait_until("performance.getEntriesByType('navigation')[0].type === 'reload'")
        await jim.wait_for_text("#state", "Signed in, on node 3")
        await sees(jim, "Kim", "offline")

    async def test_a_tab_disconnects_and_reconnects_when_asked(self, demo: Demo, browser: Browser) -> None:
        """One button does both, and the sign-in is repeated by pusher-js."""
        lea = await sign_in(browser, demo, "lea", 1, "max")
        await lea.click("#toggle")
        await lea.wait_for_text("#state", "Disconnected")
        await lea.click("#toggle")
        await lea.wait_for_text("#state", "Signed in, on node 1")

    async def test_the_second_tab_is_someone_else_on_another_node_when_the_link_is_followed(
        self, demo: Demo, browser: Browser
    ) -> None:
        """The link fills in the first person watched, who watches back."""
        ned = await sign_in(browser, demo, "ned", 1, "oda,pia")
        oda = await browser.open_page(await ned.evaluate("document.getElementById('other-tab').href"))
        await oda.click("#sign-in .primary")
        await oda.wait_for_text("#state", "Signed in, on node 2")
        await ned.wait_for_text("#timeline .online", "Oda came online")
        await oda.wait_for_text("#timeline .online", "Ned is online, Pia is offline")

    async def test_the_form_says_what_is_wrong_when_a_name_cannot_be_one(self, demo: Demo, browser: Browser) -> None:
        """The field in question is marked and has the focus."""
        page = await browser.open_page(f"{demo.url}?node=1&name=qu%3Ce&watch=")
        await page.click("#sign-in .primary")
        await page.wait_for_text("#form-error", "Please use")
        assert await page.evaluate("document.activeElement.id + document.activeElement.ariaInvalid") == "nametrue"

    async def test_nothing_is_wider_than_the_page_when_the_screen_is_a_phones(self, demo: Demo, browser: Browser) -> None:
        """360 pixels are enough."""
        rae = await sign_in(browser, demo, "rae", 1, "sam")
        await rae.command("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
        await rae.wait_until("innerWidth === 360")
        assert await rae.evaluate("document.documentElement.scrollWidth") == 360


class TestEnd:
    """How the demo ends."""

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_demo_leaves_nothing_running_when_it_is_ended(self, how: signal.Signals) -> None:
        """NATS, nodes and backend are gone; a polite end is status 0 and takes the files along too."""
        with run_demo("--nodes", "2") as demo:
            assert len(demo.children) == 4
            directory = Path(re.findall(r"--apps (\S+)", demo.children[demo.child("node serve")])[0]).parent
            assert directory.is_dir()
            demo.process.send_signal(how)
            assert wait_until_gone([demo.process.pid, *demo.children]) == []
            if how == signal.SIGKILL:
                shutil.rmtree(directory)
            else:
                assert demo.process.wait() == 0
                assert not directory.exists()

    @pytest.mark.parametrize(
        ("word", "name"),
        [("node serve", "node 1"), ("nats-server", "nats-server"), ("node.demo.backend", "the application backend")],
    )
    def test_demo_says_which_and_ends_when_a_child_dies(self, word: str, name: str) -> None:
        """A demo with a hole in it would only confuse."""
        with run_demo("--nodes", "1") as demo:
            os.kill(demo.child(word), signal.SIGKILL)
            assert wait_until_gone([demo.process.pid, *demo.children]) == []
            assert demo.process.wait() == 1
            assert demo.process.stderr
            assert f"usher demo: {name} ended by itself with signal 9" in demo.process.stderr.read()


class TestRefusal:
    """What the demo does not start with; each is one line, and status 1."""

    def refuse(self, *arguments: str) -> str:
        """Run a demo that should refuse and return what it says."""
        command = [sys.executable, "-m", "node", "demo", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        return done.stderr

    def test_demo_says_so_when_its_port_is_taken(self) -> None:
        """The text names the address and what to do."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = self.refuse("--port", str(port))
        assert said.startswith(f"usher demo: The page cannot be served on 127.0.0.1:{port}: Address already in use.")
        assert "--port" in said

    def test_demo_says_so_when_there_is_no_such_pusher_js(self) -> None:
        """The text names the file."""
        assert "/nowhere/pusher.js" in self.refuse("--port", "0", "--pusher-js", "/nowhere/pusher.js")
