"""One module per file format. Each module defines `FORMAT`."""
