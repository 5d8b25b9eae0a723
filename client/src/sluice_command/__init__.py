"""`sluice`: a command-line client. It uses only the HTTP API."""
