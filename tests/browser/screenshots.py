"""`python -m tests.browser.screenshots`: the pictures of the page in `docs/`, of the sample documents."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from pipeline import samples
from tests.browser.chromium import ask, register, run_chromium
from tests.e2e.conftest import Up
from tests.processes import PROJECT

READY_MILLISECONDS = 60_000


@dataclass(frozen=True)
class Shot:
    """A picture: its name, the size of the window in CSS pixels, and the colours."""

    name: str
    width: int
    height: int
    is_dark: bool = False


SHOTS = (Shot("light", 1180, 1000), Shot("dark", 1180, 1000, is_dark=True), Shot("narrow", 360, 1260))


def take(browser: Browser, url: str, shot: Shot, folder: Path) -> None:
    """Upload the samples, ask, open the first source and take the picture."""
    page = browser.new_page(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.is_dark else "light",
        reduced_motion="reduce",
    )
    register(page, url, f"{shot.name}@example.org")
    page.get_by_label("Choose files").set_input_files(samples.list_documents())
    expect(page.locator("#document-list [data-status=ready]")).to_have_count(4, timeout=READY_MILLISECONDS)
    ask(page, samples.list_questions()[0].question)
    page.locator(".answer-text .reference").first.click()
    expect(page.locator(".source figure img").first).to_be_visible()
    page.locator("p.announcer.shown").wait_for(state="hidden")
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.locator(".source h4").first.blur()
    page.screenshot(path=folder / f"page-{shot.name}.png")
    page.close()


def main() -> None:
    """Take all of them, on a service of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-shots-") as data_dir,
        sync_playwright() as playwright,
        run_chromium(playwright) as browser,
    ):
        up = Up(Path(data_dir))
        try:
            for shot in SHOTS:
                take(browser, up.url, shot, PROJECT / "docs")
        finally:
            up.stop()


if __name__ == "__main__":
    main()
