"""Reads untrusted files in limited child processes."""
