"""The servers of the tests themselves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil

from tests.servers import Servers
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
OWNER = """
import dataclasses, json, time
from tests.servers import run_servers
with run_servers() as servers:
    print(json.dumps(dataclasses.asdict(servers)), flush=True)
    time.sleep(1000)
"""


def test_nothing_is_left_after_the_test_process_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        servers = Servers(**json.loads(owner.stdout.readline()))
        started = psutil.Process(owner.pid).children(recursive=True)
        [folder] = parse_qs(urlsplit(servers.postgres_url).query)["host"]
        assert Path(folder).exists()
        assert len(started) >= 3
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: not any(process.is_running() for process in started), 20, "all servers have ended")
    wait_until(lambda: not Path(folder).parent.exists(), 20, "the folder is removed")
