"""The tables, and all code that reads and writes them. Functions that take a session leave the commit to the caller."""
