"""The whole service on one machine, from wheels alone: `make up` and `make demo`."""
