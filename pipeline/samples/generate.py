"""`python -m pipeline.samples.generate`: generates the sample PDFs from the source texts in this folder."""

from datetime import UTC, datetime

from fpdf import FPDF

from pipeline.samples import FOLDER

PAGE_BREAK = "---"
SOURCES = ("alder-lock-handbook", "greenhouse-report")


def write_pdf(name: str) -> None:
    """Typeset `name.source.txt` as a PDF. Each `---` line begins a page; the first line of a page is its heading."""
    pdf = FPDF(format=(148, 210))
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))  # so that every run writes the same bytes
    pdf.set_auto_page_break(auto=False)
    for part in (FOLDER / f"{name}.source.txt").read_text().split(f"\n{PAGE_BREAK}\n"):
        heading, _, body = part.strip().partition("\n")
        pdf.add_page()
        pdf.set_font("Helvetica", style="B", size=15)
        pdf.multi_cell(0, 9, heading, new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("Helvetica", size=10)
        pdf.multi_cell(0, 5.2, body.strip())
    pdf.output(str(FOLDER / f"{name}.pdf"))


if __name__ == "__main__":
    for source in SOURCES:
        write_pdf(source)
