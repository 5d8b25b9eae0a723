"""Rooms of the PDF reader: the list of pages, and whether a text is readable."""
