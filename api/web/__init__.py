"""The page at `/` and the documentation at `/docs`."""
