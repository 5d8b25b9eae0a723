"""`python -m tests.integration.large_blocks`: prints how many bytes a serving API process keeps of blocks it has freed."""

import importlib

import psutil

HASH_BYTES = 19 * 1024 * 1024
"""Memory that the hash of one password takes."""


def main() -> None:
    importlib.import_module("api.main")  # as uvicorn does
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(3):  # the C library learns from the first blocks that are freed
        bytearray(b"x") * HASH_BYTES
    print(process.memory_info().rss - before)


if __name__ == "__main__":
    main()
