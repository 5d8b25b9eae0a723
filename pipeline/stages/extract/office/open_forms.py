"""What the controls of forms show in an OpenDocument file."""

from pipeline.stages.extract.office.fields import CHECKED, UNCHECKED
from pipeline.stages.extract.office.open_styles import get_attributes, get_name
from pipeline.stages.extract.xml import Element

ENTRY, CHOSEN, TICK = "Dropdown_ListEntry", "Dropdown_Selected", "Checkbox_Checked"
BOXES = frozenset({"form:checkbox", "form:radio"})


def read_controls(forms: Element) -> dict[str, str]:
    """Return what each control shows, by its id."""
    shown: dict[str, str] = {}
    for control in forms.iter():
        attributes = get_attributes(control)
        identifier = attributes.get("form:id") or attributes.get("id")
        if identifier and get_name(control).startswith("form:"):
            shown[identifier] = _read_control(control, attributes)
    return shown


def _read_control(control: Element, attributes: dict[str, str]) -> str:
    name, label = get_name(control), attributes.get("form:label", "")
    if name in BOXES:
        is_checked = "checked" in attributes.get("form:current-state", "") or (
            attributes.get("form:current-selected", attributes.get("form:selected")) == "true"
        )
        return f"{CHECKED if is_checked else UNCHECKED} {label}"
    if name == "form:listbox":
        options = map(get_attributes, control)
        chosen = (each.get("form:label", "") for each in options if each.get("form:current-selected") == "true")
        return ", ".join(chosen)
    return label or attributes.get("form:current-value", attributes.get("form:value", ""))


def read_mark(mark: Element) -> str:
    """Return what a check box or drop-down list shows that Word wrote."""
    values: dict[str, list[str]] = {}
    for child in mark:
        attributes = get_attributes(child)
        values.setdefault(attributes.get("field:name", ""), []).append(attributes.get("field:value", ""))
    kind = get_attributes(mark).get("field:type", "")
    if kind.endswith("FORMCHECKBOX"):
        return CHECKED if values.get(TICK, [""])[-1] == "true" else UNCHECKED
    entries, chosen = values.get(ENTRY, []), values.get(CHOSEN, [""])[-1]
    is_known = chosen.isascii() and chosen.isdigit() and len(chosen) < 6 and int(chosen) < len(entries)
    return entries[int(chosen)] if is_known else ""
