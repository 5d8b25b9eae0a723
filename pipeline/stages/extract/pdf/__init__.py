"""Rooms of the PDF reader: the list of pages, the text of a page in reading order, and whether it is readable."""
