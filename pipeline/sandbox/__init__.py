"""Read untrusted files in limited child processes."""
