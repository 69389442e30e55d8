"""What a page says and what it could load, told from its HTML without a browser."""

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Text without tags and white space, links, the classes of titled cells, and every attribute
    that could load something or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        if tag == "td" and "title" in found:
            self.cells.append(found.get("class") or "")
        for name, value in attrs:
            if tag == "a" and name == "href":
                self.links.append(value or "")
            elif name in ("src", "href", "action", "style") or name.startswith("on"):
                self.loads.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.words += data.split()
