"""Text of charts and diagrams."""

import re
from datetime import date, timedelta

from pipeline.stages.extract.office.names import Names, find_all, get_attribute
from pipeline.stages.extract.xml import Element

VALUES = ("c:val", "c:yVal", "c:bubbleSize")
CATEGORIES = ("c:cat", "c:xVal")
CELL = " | "
NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,20})?")
LITERAL = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
"""Parts of a number format that are written as they are, and colours."""
DECIMALS = re.compile(r"[0#]\.(0+)")
FIRST_DAY = date(1899, 12, 30)
LAST_DAY = 2_900_000
"""Days from the first one to the year 9839."""
PICTURE_NAME = re.compile(r".{0,250}\.(?:png|jpe?g|jfif|gif|bmp|tiff?|svg|emf|wmf|webp|heic)", re.IGNORECASE)


def read_chart(root: Element, names: Names) -> list[str]:
    """Return the lines of a chart: its titles, the names of its series, and a line for each category.

    A line has the category and the value of each series, as in a table.
    """
    titles = [_read_title(title, names) for title in find_all(root, names, "c:title", "cx:title")]
    series = list(find_all(root, names, "c:ser"))
    lines = [line for line in titles if line]
    if series:
        lines += _read_series(series, names)
    points = [(point.text or "").strip() for point in find_all(root, names, "cx:pt")]
    return lines + [point for point in points if point]


def _read_title(title: Element, names: Names) -> str:
    pieces = [element.text or "" for element in find_all(title, names, "a:t", "c:v")]
    return " ".join("".join(pieces).split())


def _read_series(series: list[Element], names: Names) -> list[str]:
    heads: list[str] = []
    rows: dict[int, list[str]] = {}
    labels: dict[int, str] = {}
    for number, element in enumerate(series):
        for child in element:
            name = names[child.tag]
            if name == "c:tx":
                heads.append(_read_title(child, names))
            elif name in CATEGORIES:
                labels |= {place: text for place, text in _read_points(child, names).items() if place not in labels}
            elif name in VALUES:
                for place, text in _read_points(child, names).items():
                    rows.setdefault(place, []).append(text)
        if len(heads) <= number:
            heads.append("")
    places = sorted({*labels, *rows})
    table = [CELL.join(filter(None, [labels.get(place, ""), *rows.get(place, [])])) for place in places]
    return [line for line in [CELL.join(filter(None, heads)), *table] if line]


def _read_points(element: Element, names: Names) -> dict[int, str]:
    """Return the cached values of a series by their place. Categories of several levels are joined."""
    found: dict[int, str] = {}
    form = next((code.text or "" for code in find_all(element, names, "c:formatCode")), "")
    for point in find_all(element, names, "c:pt"):
        index = get_attribute(point, "idx") or ""
        place = int(index) if index.isascii() and index.isdigit() and len(index) < 10 else len(found)
        text = " ".join((value.text or "").strip() for value in point)
        text = _format_number(text, get_attribute(point, "formatCode") or form)
        found[place] = f"{text} {found[place]}" if place in found and len(found[place]) < 200 else text
    return found


def _format_number(text: str, form: str) -> str:
    """Return a number as the chart shows it: as a date, in percent, or with as many decimals as its format says."""
    if not NUMBER.fullmatch(text):
        return text
    number, form = float(text), LITERAL.sub("", form.partition(";")[0]).lower()
    if set("yd") & set(form) and 0 < number < LAST_DAY:
        return str(FIRST_DAY + timedelta(days=int(number)))
    decimals = DECIMALS.search(form)
    if "%" in form:
        return f"{number * 100:.{_count(decimals)}f}%"
    if decimals:
        return f"{number:.{_count(decimals)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _count(decimals: re.Match[str] | None) -> int:
    return min(len(decimals[1]), 10) if decimals else 0


def read_diagram(root: Element, names: Names) -> list[str]:
    """Return the lines of a diagram (SmartArt): the text of its paragraphs, in their order."""
    paragraphs = (
        "".join(element.text or "" for element in find_all(paragraph, names, "a:t"))
        for paragraph in find_all(root, names, "a:p")
    )
    return [line for paragraph in paragraphs if (line := " ".join(paragraph.split()))]


def clean_description(description: str | None) -> str:
    """Return the description of a picture, or an empty string if it is the name of its file."""
    text = " ".join((description or "").split())
    return "" if PICTURE_NAME.fullmatch(text) else text
