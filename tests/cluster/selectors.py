"""Field and label selectors of lists and watches. Pure."""

from collections.abc import Callable

from tests.cluster.kinds import Kind
from tests.cluster.store import Object
from tests.cluster.writes import Refused

Matches = Callable[[Object], bool]


def field_selector(text: str, kind: Kind) -> Matches:
    """docs/concepts/overview/working-with-objects/field-selectors: =, ==, != joined by commas.
    Which fields there are is each kind's own affair; others are a bad request."""
    known = {"metadata.name", "metadata.namespace"}
    if kind.kind == "Pod":
        known |= {"spec.nodeName", "status.phase"}
    terms = []
    for term in filter(None, text.split(",")):
        name, unequal, value = term.partition("!=")
        if not unequal:
            name, _, value = term.replace("==", "=").partition("=")
        if name not in known:
            raise Refused(400, "BadRequest", f"field label not supported: {name}")
        terms.append((name.split("."), value, bool(unequal)))

    def matches(found: Object) -> bool:
        for (part, name), value, unequal in terms:
            if (str(found.get(part, {}).get(name, "")) == value) == unequal:
                return False
        return True

    return matches


def label_selector(text: str) -> Matches:
    """docs/concepts/overview/working-with-objects/labels: equality and existence."""
    terms = [term.strip() for term in text.split(",") if term.strip()]

    def matches(found: Object) -> bool:
        labels = found["metadata"].get("labels", {})
        for term in terms:
            if "!=" in term:
                name, value = term.split("!=", 1)
                if labels.get(name.strip()) == value.strip():
                    return False
            elif "=" in term:
                name, value = term.replace("==", "=").split("=", 1)
                if labels.get(name.strip()) != value.strip():
                    return False
            elif (term.lstrip("!") in labels) == term.startswith("!"):
                return False
        return True

    return matches
