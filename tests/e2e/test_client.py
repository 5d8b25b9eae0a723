"""`python -m api.client` as people and scripts call it, against one running API and worker."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from api.client.connection import Connection
from api.client.identity import Identity, identify
from api.client.upload import Phase, Run, find_files
from pipeline.samples import list_documents
from tests.databases import clone_database, find_violations, run_sql
from tests.e2e.conftest import PROJECT
from tests.e2e.test_parts import find_port, wait_for
from tests.llm_server import Call, LlmServer, run_llm_server, say_yes, wait_to_be_heard

PASSWORD = "password of a test"
Process = subprocess.Popen[str]


class Service:
    """An API and a worker; the API can be killed and started again on its port, with another secret."""

    def __init__(self, environment: dict[str, str], llm: LlmServer, database_url: str) -> None:
        self.environment = {**environment, "PORT": str(find_port())}
        self.url = f"http://127.0.0.1:{self.environment['PORT']}"
        self.llm = llm
        self.database_url = database_url
        self.api = self._run("api")
        self.worker = self._run("workers")
        wait_for(self.url)

    def _run(self, module: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", module], cwd=PROJECT, env=self.environment)

    def kill_api(self) -> None:
        self.api.kill()
        self.api.wait()

    def start_api(self, secret: str) -> None:
        self.environment["JWT_SECRET"] = secret
        self.api = self._run("api")

    def stop(self) -> None:
        for process in (self.api, self.worker):
            process.terminate()
        for process in (self.api, self.worker):
            process.wait(timeout=15)


@pytest.fixture(scope="module")
def service(postgres_url: str, template_url: str, redis_url: str) -> Iterator[Service]:
    assert template_url
    database_url = clone_database(postgres_url, f"client_{uuid4().hex}", template="sluice_template")
    with ExitStack() as resources:
        llm = resources.enter_context(run_llm_server())
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "DATABASE_TIMEOUT_SECONDS": "20",
            "REDIS_URL": redis_url,
            "JWT_SECRET": secrets.token_urlsafe(48),
            "LLM_BASE_URL": llm.url,
            "LLM_MODEL": "a-model",
            "LOG_LEVEL": "ERROR",
            "RATE_LIMIT_LOGIN": "",
            "RATE_LIMIT_UPLOAD": "",
            "RATE_LIMIT_QUERY": "",
        }
        service = Service(environment, llm, database_url)
        resources.callback(service.stop)
        yield service


class Person:
    """Somebody with an account and a folder of their own for settings."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.email = f"{uuid4().hex[:8]}@example.org"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
            "SLUICE_URL": service.url,
            "XDG_CONFIG_HOME": str(folder),
        }
        done = self.call("login", "--register", "--email", self.email, "--password-stdin", typed=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stderr

    def start(self, *arguments: str, **environment: str) -> Process:
        return subprocess.Popen(
            [sys.executable, "-m", "api.client", *arguments],
            cwd=PROJECT,
            env={**self.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **environment) as process:
            output, errors = process.communicate(typed, timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def identify(self) -> Identity:
        return identify(self.environment["SLUICE_URL"], self.environment)


@pytest.fixture
def person(service: Service, tmp_path: Path) -> Person:
    return Person(service, tmp_path / "settings")


def write_files(folder: Path, number: int) -> list[str]:
    folder.mkdir()
    files = [folder / f"text {place}.txt" for place in range(number)]
    for file in files:
        file.write_text(f"{file.name} tells of {secrets.token_hex(8)}.\n" * 3)
    return [str(file) for file in files]


def test_fifty_files_of_which_one_is_damaged(person: Person, tmp_path: Path) -> None:
    files = write_files(tmp_path / "files", 49)
    damaged = tmp_path / "files" / "damaged.pdf"
    damaged.write_bytes(b"%PDF-1.7\nnothing more")
    done = person.call("upload", *files, str(damaged), "--wait")
    assert done.returncode == 1
    assert done.stderr == ""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    rows = [row for row in rows if row[0]]  # the others go on with an error
    assert Counter(row[1] for row in rows) == {"ready": 49, "failed": 1}
    assert [row for row in rows if row[1] == "ready"] == [[Path(file).name, "ready", "1", "1", ""] for file in files]
    [failed] = [row for row in rows if row[1] == "failed"]
    assert failed[0] == "damaged.pdf"
    assert failed[4].startswith("malformed: ")

    # The same again is the same documents, as JSON.
    done = person.call("upload", *files, str(damaged), "--wait", "--json")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (1, "")
    assert [document["file"] for document in documents] == [*files, str(damaged)]
    assert Counter(document["status"] for document in documents) == {"ready": 49, "failed": 1}
    assert documents[-1]["error"]["code"] == "malformed"
    listed = [json.loads(line) for line in person.call("status", "--json", "--limit", "101").stdout.splitlines()]
    assert {document.pop("file") for document in documents} == {*files, str(damaged)}
    assert sorted(documents, key=lambda d: d["id"], reverse=True) == listed


def test_bars_tell_the_truth(service: Service, person: Person, tmp_path: Path) -> None:
    uploads = find_files([*write_files(tmp_path / "files", 11), str(list_documents()[0])])
    samples: dict[str, list[float]] = {upload.path.name: [0.0] for upload in uploads}
    headers = {"Authorization": f"Bearer {person.identify().token}"}

    async def watch(server: httpx2.AsyncClient) -> None:
        while any(upload.phase != Phase.ENDED for upload in uploads):
            for upload in uploads:
                seen, fraction = samples[upload.path.name], upload.fraction
                if fraction == 1.0 and seen[-1] < 1.0 and upload.document:
                    answer = await server.get(f"/v1/documents/{upload.document.id}", headers=headers)
                    assert answer.json()["status"] == "ready"
                seen.append(fraction)
            await asyncio.sleep(0.002)

    async def run() -> None:
        async with (
            Connection(person.identify(), None, 10) as connection,
            httpx2.AsyncClient(base_url=service.url) as own,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(watch(own))
            tasks.create_task(Run(connection, uploads, wait=True).finish(parallel=3))

    asyncio.run(run())
    for seen in samples.values():
        assert seen == sorted(seen), "a bar went back"
    assert all(upload.fraction == 1.0 for upload in uploads)
    # They moved on the way, and were not at their end with the last byte.
    assert all(0.5 in seen for seen in samples.values())


def test_api_is_killed_and_the_token_is_worth_nothing_afterwards(
    service: Service, person: Person, tmp_path: Path
) -> None:
    files = write_files(tmp_path / "files", 50)
    old_token = person.identify().token
    with person.start("upload", *files, "--wait", "--json", "--parallel", "2", SLUICE_PASSWORD=PASSWORD) as client:
        while count_documents(service, person) < 10:
            assert client.poll() is None
        service.kill_api()
        assert count_documents(service, person) < 50
        service.start_api(secrets.token_urlsafe(48))
        output, errors = client.communicate(timeout=90)
    assert (client.returncode, errors) == (0, "")
    documents = [json.loads(line) for line in output.splitlines()]
    assert Counter(document["status"] for document in documents) == {"ready": 50}
    assert count_documents(service, person) == len({document["id"] for document in documents}) == 50
    assert find_violations(service.database_url) == {}
    # The new token was kept; without a password the old one would have been the end.
    assert person.identify().token != old_token
    assert person.call("status").returncode == 0
    service_file = person.identify().session_file
    service_file.write_text(service_file.read_text().replace(person.identify().token or "", old_token or ""))
    done = person.call("status")
    assert done.returncode == 3
    assert "run `python -m api.client login`" in done.stderr
    assert person.call("status", SLUICE_PASSWORD="another one").returncode == 3
    assert person.call("status", SLUICE_PASSWORD=PASSWORD).returncode == 0
    assert person.call("status").returncode == 0


def break_off(call: Call) -> None:
    call.begin()
    call.say("Half")
    call.cut()


def count_documents(service: Service, person: Person) -> int:
    query = "SELECT count(*) FROM documents JOIN users ON users.id = owner_id WHERE email = $1"
    return int(run_sql(service.database_url, query, arguments=(person.email,))[0][0])


def test_answers_refusals_and_what_follows_from_them(service: Service, person: Person, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG and so on")
    empty = tmp_path / "empty.txt"
    empty.touch()
    handbook = list_documents()[0]
    done = person.call("upload", str(picture), str(empty), str(handbook), "--wait", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line["status"] for line in lines] == ["refused", "refused", "ready"]
    assert [line["error"] and line["error"]["code"] for line in lines] == [
        "unsupported_media_type",
        "invalid_input",
        None,
    ]
    document_id = lines[2]["id"]
    assert f"{lines[2]['pages']}" in person.call("status", document_id).stdout

    question = "At what water level is the lock closed to boats?"
    found = person.call("search", question, "--top-k", "1", "--document", document_id)
    assert f"{handbook.name}, page 4" in found.stdout
    assert "3.2 metres" in found.stdout
    assert json.loads(person.call("search", question, "--json").stdout)["passages"][0]["page"] == 4

    heard: list[str] = []
    service.llm.behave = wait_to_be_heard(["Above", " 3.2", " metres [0]."], heard)
    with person.start("ask", question) as asking:
        assert asking.stdout
        while piece := os.read(asking.stdout.fileno(), 1000).decode():
            heard.append(piece)
    assert "".join(heard) == f"Above 3.2 metres [0].\n\n[0] {handbook.name}, page 4\n"
    assert asking.returncode == 0
    service.llm.behave = say_yes
    assert json.loads(person.call("ask", question, "--json").stdout)["answer"] == "Yes [0]."
    service.llm.behave = break_off
    done = person.call("ask", question)
    assert (done.returncode, done.stdout) == (1, "Half\n")
    assert done.stderr.startswith("sluice: The language model")

    done = person.call("retry", document_id)
    assert done.returncode == 1
    assert "Only failed documents can be retried" in done.stderr
    assert person.call("delete", document_id).stdout == f"{document_id} deleted\n"
    done = person.call("status", document_id, "--json")
    assert (done.returncode, done.stdout, json.loads(done.stderr)["code"]) == (1, "", "not_found")


def test_interruption_leaves_what_is_uploaded(service: Service, person: Person, tmp_path: Path) -> None:
    files = write_files(tmp_path / "files", 1)
    service.worker.send_signal(signal.SIGSTOP)
    try:
        with person.start("upload", *files, "--wait") as client:
            while count_documents(service, person) < 1:
                time.sleep(0.02)
            time.sleep(0.2)
            client.send_signal(signal.SIGINT)
            output, errors = client.communicate(timeout=20)
    finally:
        service.worker.send_signal(signal.SIGCONT)
    assert client.returncode == 130
    assert errors == "sluice: interrupted, uploaded files are kept; run the same command again to continue\n"
    assert "text 0.txt" in output
    assert person.call("upload", *files, "--wait").returncode == 0
