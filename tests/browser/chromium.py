"""Debian's Chromium without a window, or the one that BROWSER_PATH names, kept from talking to its makers."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright

# A page costs the whole Chromium three times the processor time.
PATH = os.environ.get("BROWSER_PATH") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What Chromium would ask its makers all the same: to sign in, for updates, the time and what forms are for.
    "--gaia-url=http://127.0.0.1:9",
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--disable-features=AutofillServerCommunication,NetworkTimeServiceQuerying,OptimizationHints,MediaRouter,Translate",
]
PASSWORD = "password of a test"


@contextmanager
def run_chromium(playwright: Playwright, net_log: Path | None = None) -> Iterator[Browser]:
    """A browser; it writes each request and look-up of its own network stack to `net_log`."""
    flags = [*FLAGS, f"--log-net-log={net_log}"] if net_log else FLAGS
    browser = playwright.chromium.launch(executable_path=PATH, args=flags)
    try:
        yield browser
    finally:
        browser.close()


def register(page: Page, url: str, email: str) -> None:
    """Open the page and an account."""
    page.goto(url)
    fill_in(page, email)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("heading", name="Ask", exact=True).wait_for()


def sign_in(page: Page, email: str) -> None:
    fill_in(page, email)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="Ask", exact=True).wait_for()


def fill_in(page: Page, email: str) -> None:
    form = page.locator("#sign-in")
    form.get_by_label("E-mail address").fill(email)
    form.get_by_label("Password").fill(PASSWORD)


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
