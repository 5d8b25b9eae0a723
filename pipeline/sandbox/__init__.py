"""Runs extraction of untrusted files in limited child processes."""
