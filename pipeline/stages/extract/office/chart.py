"""Text of charts and diagrams."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from pipeline.stages.extract.office.drawing import join_words
from pipeline.stages.extract.office.names import Names, find_all, find_child, get_attribute, to_int, unescape
from pipeline.stages.extract.xml import Element

VALUES = ("c:val", "c:yVal", "c:bubbleSize")
CATEGORIES = ("c:cat", "c:xVal")
CELL = " | "
NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,20})?(?:E[+-]?\d{1,2})?")
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
    if len({tuple(_find_places(element, names)) for element in series}) > 1:
        lines += [line for element in series for line in _read_series([element], names)]
    elif series:
        lines += _read_series(series, names)
    lines += [label for element in series for label in _read_labels(element, names)]
    points = [(point.text or "").strip() for point in find_all(root, names, "cx:pt")]
    return lines + [point for point in points if point]


def _read_title(title: Element, names: Names) -> str:
    pieces = [unescape(element.text or "") for element in find_all(title, names, "a:t", "c:v")]
    return " ".join("".join(pieces).split())


def _find_places(series: Element, names: Names) -> list[str]:
    """Return the values of a series on the x axis. Only those of scatter charts differ from series to series."""
    axis = find_child(series, names, "c:xVal")
    return list(_read_points(axis, names).values()) if axis is not None else []


def _read_labels(series: Element, names: Names) -> Iterator[str]:
    """Yield the texts that someone wrote beside points, and the names of trend lines."""
    for element in find_all(series, names, "c:dLbl", "c:trendline", "datalabelsRange"):
        match names[element.tag]:
            case "c:trendline":
                name = find_child(element, names, "c:name")
                texts = [(name.text or "").strip()] if name is not None else []
            case "c:dLbl":
                label = find_child(element, names, "c:tx")
                texts = [join_words(_find_runs(label, names))] if label is not None else []
            case _:
                texts = list(_read_points(element, names).values())
        yield from filter(None, texts)


def _find_runs(label: Element, names: Names) -> Iterator[str]:
    """Yield the texts of runs. The text of a field, such as `[VALUE]`, is not what the chart shows."""
    for run in find_all(label, names, "a:r"):
        yield "".join(element.text or "" for element in find_all(run, names, "a:t"))


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
        text = " ".join(unescape(value.text or "").strip() for value in point)
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
    return f"{number:.15g}" if set(".E") & set(text) else text


def _count(decimals: re.Match[str] | None) -> int:
    return min(len(decimals[1]), 10) if decimals else 0


def read_diagram(root: Element, names: Names) -> list[str]:
    """Return the lines of a diagram (SmartArt): the text of each point, and then of the points below it."""
    points = _sort_points(root, names) or [root]
    paragraphs = (
        "".join(element.text or "" for element in find_all(paragraph, names, "a:t"))
        for point in points
        for paragraph in find_all(point, names, "a:p")
    )
    return [line for paragraph in paragraphs if (line := " ".join(paragraph.split()))]


def _sort_points(root: Element, names: Names) -> list[Element]:
    """Return the points of a diagram in the order of its outline. Those without a place in it come last."""
    points = {point.get("modelId", ""): point for point in find_all(root, names, "dgm:pt")}
    below: dict[str, list[tuple[int, str]]] = {}
    for connection in find_all(root, names, "dgm:cxn"):
        if connection.get("type", "parOf") == "parOf":
            place = to_int(connection.get("srcOrd")), connection.get("destId", "")
            below.setdefault(connection.get("srcId", ""), []).append(place)
    stack = [identifier for identifier, point in reversed(points.items()) if point.get("type") == "doc"]
    sorted_points: dict[str, Element] = {}
    while stack:
        identifier = stack.pop()
        if identifier in points and identifier not in sorted_points:
            sorted_points[identifier] = points[identifier]
            stack += [deeper for _, deeper in sorted(below.get(identifier, []), reverse=True)]
    return list((sorted_points | points).values())


def clean_description(description: str | None) -> str:
    """Return the description of a picture, or an empty string if it is the name of its file."""
    text = " ".join((description or "").split())
    return "" if PICTURE_NAME.fullmatch(text) else text
