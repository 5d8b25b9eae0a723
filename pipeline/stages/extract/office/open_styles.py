"""Styles and list numbers of OpenDocument files (ISO/IEC 26300)."""

from dataclasses import dataclass, field
from functools import lru_cache

from pipeline.stages.extract.counting import format_number
from pipeline.stages.extract.xml import Element

NUMBER_FORMS = {"i": "lowerRoman", "I": "upperRoman", "a": "lowerLetter", "A": "upperLetter", "": "none"}
MAX_LEVEL = 10
MAX_PARENTS = 20
"""Maximum number of styles that a style is followed back through."""
OUTLINE = ""
"""Name of the list that numbers headings."""
MAX_SPACES = 100


def get_name(element: Element) -> str:
    """Return the name of an element with its kind, such as `text:p` or `drawing:frame`."""
    return shorten(element.tag)


@lru_cache(maxsize=4096)
def shorten(name: str) -> str:
    """Return a name with the kind of its namespace, as in `urn:oasis:names:tc:opendocument:xmlns:text:1.0`."""
    namespace, _, local = name[1:].rpartition("}")
    parts = namespace.split(":")
    return f"{parts[-2]}:{local}" if len(parts) > 1 and namespace.startswith("urn:") else local


def get_attributes(element: Element) -> dict[str, str]:
    """Return the attributes of an element by such names."""
    return {shorten(name): value for name, value in element.items()}


def read_count(value: str | None, highest: int) -> int:
    """Return a number of repetitions, from 1."""
    return (
        min(int(value), highest)
        if value and value.isascii() and value.isdigit() and len(value) < 10 and int(value)
        else 1
    )


@dataclass(slots=True)
class _Level:
    is_bullet: bool
    form: str = ""
    prefix: str = ""
    suffix: str = ""
    shown: int = 1
    start: int = 1


@dataclass
class Styles:
    """The styles of a file, and the numbers of its lists so far."""

    _parents: dict[tuple[str, str], str] = field(default_factory=dict)
    _hidden: dict[tuple[str, str], bool] = field(default_factory=dict)
    _lists: dict[str, dict[int, _Level]] = field(default_factory=dict)
    _lists_of_styles: dict[str, str] = field(default_factory=dict)
    _counters: dict[str, dict[int, int]] = field(default_factory=dict)

    def add(self, root: Element) -> None:
        """Add the styles of a part of the file. Later ones replace earlier ones with the same name."""
        for element in root.iter():
            match get_name(element):
                case "style:style":
                    self._add_style(element)
                case "text:list-style":
                    self._add_list(get_attributes(element).get("style:name", ""), element)
                case "text:outline-style":
                    self._add_list(OUTLINE, element)

    def is_hidden(self, family: str, name: str) -> bool:
        """Return True if text of a style is hidden."""
        for _ in range(MAX_PARENTS):
            if (is_hidden := self._hidden.get((family, name))) is not None:
                return is_hidden
            if not (name := self._parents.get((family, name), "")):
                return False
        return False

    def find_list(self, style: str) -> str:
        """Return the name of the list that a paragraph style belongs to."""
        for _ in range(MAX_PARENTS):
            if style in self._lists_of_styles or not style:
                break
            style = self._parents.get(("paragraph", style), "")
        return self._lists_of_styles.get(style, "")

    def number(self, name: str, level: int, thread: str, start: int | None = None) -> str:
        """Return the number or bullet of the next item on a level, from 1, of a list with the style `name`.

        Lists with the same `thread` are counted together.
        """
        levels = self._lists.get(name, {})
        found = levels.get(level)
        counters = self._counters.setdefault(thread, {})
        counters[level] = start if start is not None else counters.get(level, (found.start if found else 1) - 1) + 1
        for deeper in [each for each in counters if each > level]:
            del counters[deeper]
        if found is None or (not found.is_bullet and not found.form):
            return ""
        return "•" if found.is_bullet else self._write(found, level, levels, counters)

    @staticmethod
    def _write(found: _Level, level: int, levels: dict[int, _Level], counters: dict[int, int]) -> str:
        shown = range(max(1, level - found.shown + 1), level + 1)
        forms = [levels[each].form if each in levels else "1" for each in shown]
        numbers = [counters.get(each, 1) for each in shown]
        written = (
            format_number(value, NUMBER_FORMS.get(form, "decimal")) for value, form in zip(numbers, forms, strict=True)
        )
        return f"{found.prefix}{'.'.join(filter(None, written))}{found.suffix}"

    def _add_style(self, element: Element) -> None:
        attributes = get_attributes(element)
        key = (attributes.get("style:family", ""), attributes.get("style:name", ""))
        if parent := attributes.get("style:parent-style-name"):
            self._parents[key] = parent
        if (name := attributes.get("style:list-style-name")) is not None and key[0] == "paragraph":
            self._lists_of_styles[key[1]] = name
        for properties in element:
            display = get_attributes(properties).get("text:display")
            if display is not None and get_name(properties) == "style:text-properties":
                self._hidden[key] = display == "none"

    def _add_list(self, name: str, element: Element) -> None:
        levels = self._lists.setdefault(name, {})
        for child in element:
            attributes = get_attributes(child)
            levels[read_count(attributes.get("text:level"), MAX_LEVEL)] = _Level(
                is_bullet=get_name(child) in {"text:list-level-style-bullet", "text:list-level-style-image"},
                form=attributes.get("style:num-format", ""),
                prefix=attributes.get("style:num-prefix", ""),
                suffix=attributes.get("style:num-suffix", ""),
                shown=read_count(attributes.get("text:display-levels"), MAX_LEVEL),
                start=read_count(attributes.get("text:start-value"), 10**6),
            )
