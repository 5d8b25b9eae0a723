"""`python -m api.client`: the command line client, which is in `client/` and is also called `sluice`."""

from sluice_command.__main__ import main

if __name__ == "__main__":
    main()
