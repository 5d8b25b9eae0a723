"""The whole service on one machine, installed from Python packages only: `make up` and `make demo`."""
