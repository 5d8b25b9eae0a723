"""Markdown. Its source is its text: headings and emphasis read well as they are."""

from pipeline.stages.extract.format import Format
from pipeline.stages.extract.text import read

FORMAT = Format(
    media_type="text/markdown",
    extensions=(".md", ".markdown"),
    aliases=("text/x-markdown", "text/plain"),
    readers=(read,),
)
