"""axe: what a page would keep from people who use a keyboard or a screen reader, or who need contrast."""

from importlib.resources import files
from typing import Literal

from playwright.sync_api import Page

SCRIPT = files("axe_playwright_python").joinpath("axe.min.js").read_text()
RUN = """async ([part, rules]) => {
  const { violations } = await axe.run(part, { resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}"""
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules whose results differ between light and dark."""
SCHEMES: tuple[tuple[Literal["light", "dark"], list[str] | None], ...] = (("dark", COLOURS), ("light", None))
"""Each colour scheme with its rules; None means all."""


def list_violations(page: Page, part: str = "html") -> list[str]:
    """Return the serious and critical violations of a part of the page as it is now, in light and in dark."""
    page.evaluate(SCRIPT)
    found: list[str] = []
    for scheme, rules in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {violation}" for violation in page.evaluate(RUN, [part, rules])]
    return found
