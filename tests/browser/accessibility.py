"""axe: what a page would keep from people who use a keyboard, a screen reader or need contrast."""

from importlib.resources import files
from typing import Any, Literal

from playwright.sync_api import Page

SCRIPT = files("axe_playwright_python").joinpath("axe.min.js").read_text()
RUN = (
    "rules => axe.run({resultTypes: ['violations'], ...(rules && {runOnly: rules})}).then(({violations}) => violations)"
)
GRAVE = {"serious", "critical"}
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules whose results differ between light and dark."""
SCHEMES: tuple[tuple[Literal["light", "dark"], list[str] | None], ...] = (("dark", COLOURS), ("light", None))
"""Each colour scheme with its rules; None means all."""


def list_violations(page: Page, part: str = "html") -> list[str]:
    """Return the serious and critical violations of a part of the page as it is now, in light and in dark."""
    page.evaluate(SCRIPT)
    found: dict[str, None] = {}
    for scheme, rules in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for violation in page.evaluate(RUN, [part, rules]):
            if violation["impact"] in GRAVE:
                found |= dict.fromkeys(f"{scheme}: {violation['id']} {_describe(node)}" for node in violation["nodes"])
    return [*found]


def _describe(node: dict[str, Any]) -> str:
    reasons = "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])
    return f"{node['html'][:120]} ({reasons})"
