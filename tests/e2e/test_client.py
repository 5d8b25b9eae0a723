"""`sluice` as people and scripts call it, against one running API and worker."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from uuid import uuid4

import httpx2
import pytest

from pipeline.samples import list_documents
from sluice_command.connection import Connection
from sluice_command.identity import Identity, identify
from sluice_command.upload import Phase, Run, find_files
from tests.databases import find_violations, run_sql
from tests.llm_server import Call, LlmServer, run_llm_server, say_yes, wait_to_be_heard
from tests.processes import Process, start_module
from tests.service import PASSWORD, Service


class LlmService(Service):
    """A service with a language model."""

    def __init__(self, folder: Path, postgres_url: str, redis_url: str, llm: LlmServer) -> None:
        self.llm = llm
        super().__init__(folder, postgres_url, redis_url, LLM_BASE_URL=llm.url, LLM_MODEL="a-model", LOG_LEVEL="ERROR")


@pytest.fixture(scope="module")
def service(
    postgres_url: str, template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LlmService]:
    assert template_url
    with run_llm_server() as llm:
        service = LlmService(tmp_path_factory.mktemp("client"), postgres_url, redis_url, llm)
        yield service
        service.stop()


class Person:
    """A person with an account, and with a settings folder of their own."""

    def __init__(self, service: LlmService, folder: Path) -> None:
        self.email = f"{uuid4().hex[:8]}@example.org"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
            "SLUICE_URL": service.url,
            "XDG_CONFIG_HOME": str(folder),
        }
        done = self.call("login", "--register", "--email", self.email, "--password-stdin", typed=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stderr

    def start(self, *arguments: str, **environment: str) -> Process:
        environment = {**self.environment, **environment}
        return start_module("sluice_command", *arguments, environment=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE)

    def call(self, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **environment) as process:
            output, errors = process.communicate(typed, timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode or 0, output, errors)

    def identify(self) -> Identity:
        return identify(self.environment["SLUICE_URL"], self.environment)


@pytest.fixture
def person(service: LlmService, tmp_path: Path) -> Person:
    return Person(service, tmp_path / "settings")


def test_account_commands(person: Person) -> None:
    changed = person.call("password", SLUICE_PASSWORD="wrong", SLUICE_NEW_PASSWORD="another password")
    assert (changed.returncode, changed.stdout) == (1, "")
    assert "The current password is wrong." in changed.stderr
    changed = person.call("password", SLUICE_PASSWORD=PASSWORD, SLUICE_NEW_PASSWORD="another password")
    assert (changed.returncode, changed.stderr) == (0, "")
    assert person.call("status").returncode == 0, "the new token is saved"
    assert person.call("delete-account").returncode == 2, "there is no terminal to ask for the password at"
    deleted = person.call("delete-account", SLUICE_PASSWORD="another password")
    assert (deleted.returncode, deleted.stdout) == (0, "the account is deleted\n")
    assert not person.identify().has_session
    assert person.call("status", SLUICE_EMAIL=person.email, SLUICE_PASSWORD="another password").returncode == 3


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
    rows = [row for row in rows if row[0]]  # the other lines continue an error text
    assert Counter(row[1] for row in rows) == {"ready": 49, "failed": 1}
    assert [row for row in rows if row[1] == "ready"] == [[Path(file).name, "ready", "1", "1", ""] for file in files]
    [failed] = [row for row in rows if row[1] == "failed"]
    assert failed[0] == "damaged.pdf"
    assert failed[4].startswith("malformed: ")

    # Uploading the same files again returns the same documents. --json prints them as JSON.
    done = person.call("upload", *files, str(damaged), "--wait", "--json")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (1, "")
    assert [document["file"] for document in documents] == [*files, str(damaged)]
    assert Counter(document["status"] for document in documents) == {"ready": 49, "failed": 1}
    assert documents[-1]["error"]["code"] == "malformed"
    listed = [json.loads(line) for line in person.call("status", "--json", "--limit", "101").stdout.splitlines()]
    assert {document.pop("file") for document in documents} == {*files, str(damaged)}
    assert sorted(documents, key=lambda d: d["id"], reverse=True) == listed


def test_bars_tell_the_truth(service: LlmService, person: Person, tmp_path: Path) -> None:
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
    # The bars moved during the upload, and were not full after the last byte.
    assert all(0.5 in seen for seen in samples.values())


def test_api_is_killed_and_the_token_is_worth_nothing_afterwards(
    service: LlmService, person: Person, tmp_path: Path
) -> None:
    files = write_files(tmp_path / "files", 50)
    old_token = person.identify().token
    with person.start("upload", *files, "--wait", "--json", "--parallel", "2", SLUICE_PASSWORD=PASSWORD) as client:
        while count_documents(service, person) < 10:
            assert client.poll() is None
        service.api.kill()
        assert count_documents(service, person) < 50
        service.start_api(secrets.token_urlsafe(48))
        output, errors = client.communicate(timeout=90)
    assert (client.returncode, errors) == (0, "")
    documents = [json.loads(line) for line in output.splitlines()]
    assert Counter(document["status"] for document in documents) == {"ready": 50}
    assert count_documents(service, person) == len({document["id"] for document in documents}) == 50
    assert find_violations(service.database_url) == {}
    # The new token was saved. With the old one, a command without a password would fail.
    assert person.identify().token != old_token
    assert person.call("status").returncode == 0
    service_file = person.identify().session_file
    service_file.write_text(service_file.read_text().replace(person.identify().token or "", old_token or ""))
    done = person.call("status")
    assert done.returncode == 3
    assert "run `sluice login`" in done.stderr
    assert person.call("status", SLUICE_PASSWORD="another one").returncode == 3
    assert person.call("status", SLUICE_PASSWORD=PASSWORD).returncode == 0
    assert person.call("status").returncode == 0


def break_off(call: Call) -> None:
    call.begin()
    call.say("Half")
    call.cut()


def count_documents(service: LlmService, person: Person) -> int:
    query = "SELECT count(*) FROM documents JOIN users ON users.id = owner_id WHERE email = $1"
    return int(run_sql(service.database_url, query, arguments=(person.email,))[0][0])


def test_answers_refusals_and_what_follows_from_them(service: LlmService, person: Person, tmp_path: Path) -> None:
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
    service.llm.behave = wait_to_be_heard(["Above", " 3.2", " metres [1]."], heard)
    with person.start("ask", question) as asking:
        assert asking.stdout
        while piece := os.read(asking.stdout.fileno(), 1000).decode():
            heard.append(piece)
        asking.wait(20)
    assert "".join(heard) == f"Above 3.2 metres [1].\n\n[1] {handbook.name}, page 4\n"
    assert asking.returncode == 0
    service.llm.behave = say_yes
    assert json.loads(person.call("ask", question, "--json").stdout)["answer"] == "Yes [1]."
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


def test_interruption_leaves_what_is_uploaded(service: LlmService, person: Person, tmp_path: Path) -> None:
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
