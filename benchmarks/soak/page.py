"""The soak's part of docs/reliability.md, between its markers; what others wrote stays."""

from pathlib import Path

from benchmarks.tables import Table, markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"


def within(page: str, text: str) -> str:
    """The page with `text` between the markers, which are added at the end where they are not."""
    if BEGIN not in page or END not in page:
        page = f"{page.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{behind}"


def write(table: Table) -> None:
    PAGE.write_text(within(PAGE.read_text(), markdown(table)))
