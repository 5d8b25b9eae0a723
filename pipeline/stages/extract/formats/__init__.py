"""One module per file format. Each module defines `FORMAT` and is found by discovery."""
