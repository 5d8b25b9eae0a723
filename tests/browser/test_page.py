"""The page as people use it, in a real browser against the real service."""

import json
import os
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from playwright.sync_api import Page, Playwright, Route, expect

from api.tokens import Tokens
from pipeline import samples
from pipeline.types import Identity
from tests.browser.accessibility import list_violations
from tests.browser.chromium import PASSWORD, ask, fill_in, register, run_chromium, sign_in
from tests.browser.conftest import PATIENCE_MILLISECONDS, UPLOADS_AT_ONCE, Watch
from tests.processes import run_module
from tests.service import SECRET, Service

SPELLING = "/edgedl/chrome/dict/"
"""Path at which Chromium gets its dictionary when somebody types, whatever the page is."""
HANDBOOK = samples.FOLDER / "alder-lock-handbook.pdf"
QUESTION = samples.list_questions()[0].question
SENTENCE = "When the gauge at the footbridge reads more than 3.2 metres, the lock is closed"
HOSTILE_NAME = "<img src=x onerror=document.title='taken'>.txt"

OpenPage = Callable[..., Page]


def make_email() -> str:
    return f"{secrets.token_hex(6)}@example.org"


def upload(page: Page, *files: Path | tuple[str, bytes]) -> None:
    payloads = [
        {"name": file.name, "mimeType": "", "buffer": file.read_bytes()}
        if isinstance(file, Path)
        else {"name": file[0], "mimeType": "", "buffer": file[1]}
        for file in files
    ]
    page.get_by_label("Choose files").set_input_files(payloads)  # type: ignore[arg-type]  # Playwright types the list invariantly


def expect_status(page: Page, name: str, status: str) -> None:
    expect(page.locator(f"#document-list [data-status={status}]", has_text=name)).to_be_visible()


def ask_and_open_the_source(page: Page) -> None:
    ask(page, QUESTION)
    reference = page.locator(".answer-text .reference").first
    number = reference.inner_text()
    expect(page.locator("#answer-status")).to_have_text("Quoted word for word.")
    expect(page.locator(".answer-text")).to_contain_text(SENTENCE)
    reference.click()
    card = page.locator("#cited .source", has=page.get_by_role("heading", name="alder-lock-handbook.pdf")).first
    expect(card.get_by_role("heading")).to_have_text(f"{number} alder-lock-handbook.pdf page 4")
    expect(card.get_by_role("heading")).to_be_focused()
    expect(card.locator("mark").first).to_contain_text(SENTENCE)
    picture = card.get_by_role("img", name="Page 4 of alder-lock-handbook.pdf, with the passage marked")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


def test_register_upload_ask_and_see_the_page(open_page: OpenPage, service: Service) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    register(page, service.url, make_email())
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.get_by_text("Nothing to ask yet.")).to_be_visible()
    upload(page, HANDBOOK, samples.FOLDER / "observatory-notes.md")
    expect_status(page, HANDBOOK.name, "ready")
    expect(page.locator(".row", has_text=HANDBOOK.name)).to_contain_text("5 pages · 5 passages · 4.1 kB")
    expect(page.get_by_text("Nothing to ask yet.")).to_be_hidden()
    ask_and_open_the_source(page)
    _commands_hold_no_token(page)
    _scope_narrows_the_question(page)


def _commands_hold_no_token(page: Page) -> None:
    page.get_by_label("Your question").fill("What's in 'it'?")
    for button, ending in (
        ("#ask-curl", r"""{"question":"What'\''s in '\''it'\''?"}'"""),
        ("#upload-curl", "-F file=@document.pdf"),
    ):
        page.locator(button).click()
        expect(page.get_by_role("status").first).to_contain_text("Command copied.")
        command = page.evaluate("navigator.clipboard.readText()")
        assert command.strip().endswith(ending)
        assert '"Authorization: Bearer $SLUICE_TOKEN"' in command
        assert "eyJ" not in command


def _scope_narrows_the_question(page: Page) -> None:
    expect_status(page, "observatory-notes.md", "ready")
    page.get_by_label("Ask only observatory-notes.md").check()
    expect(page.get_by_text("Asking only 1 document")).to_be_visible()
    ask(page, QUESTION)
    expect(page.locator("#answer-status")).to_have_text("Quoted word for word.")
    titles = page.locator(".source .title").evaluate_all("titles => titles.map((title) => title.textContent)")
    assert set(titles) == {"observatory-notes.md"}


def test_the_same_while_no_event_arrives(open_page: OpenPage, service: Service, watch: Watch) -> None:
    page = open_page()
    watch.expected.append("net::ERR_FAILED /v1/events$")
    page.route("**/v1/events", lambda route: route.abort())
    register(page, service.url, make_email())
    expect(page.locator("#connection")).to_have_text("checking every 1.5 s")
    upload(page, HANDBOOK)
    expect_status(page, HANDBOOK.name, "ready")
    ask_and_open_the_source(page)


def test_what_fails_says_why_and_what_to_do(open_page: OpenPage, service: Service, watch: Watch) -> None:
    page = open_page()
    watch.expected.append("415 .*/v1/documents$")
    register(page, service.url, make_email())
    upload(
        page, ("broken.pdf", b"%PDF-1.7 and then nothing of the kind"), ("song.mp3", b"ID3\4\0\0\0\0 not for reading")
    )
    refused = page.locator(".row", has_text="song.mp3")
    expect(refused.locator(".error")).to_contain_text("The format of the file is not supported. Supported formats:")
    refused.get_by_role("button", name="Stop the upload of song.mp3").click()
    expect(refused).to_have_count(0)

    failed = page.locator(".row[data-status=failed]", has_text="broken.pdf")
    expect(failed.locator(".error")).to_contain_text(re.compile(r"damaged.*upload the new copy\. \(malformed\)"))
    with page.expect_response(lambda response: response.url.endswith("/retry")) as retried:
        failed.get_by_role("button", name="Try broken.pdf again").click()
    assert retried.value.status == 202
    expect(failed.locator(".error")).to_be_visible()

    failed.get_by_role("button", name="Delete broken.pdf").click()
    page.get_by_role("button", name="Keep").click()
    expect(failed.get_by_role("button", name="Delete broken.pdf")).to_be_focused()
    page.keyboard.press("Enter")
    # Cancel and ask again within one task. The `close` event of the first question then arrives during the second.
    page.evaluate(
        """() => {
            document.querySelector("#delete-dialog .cancel").click();
            document.activeElement.click();
            return new Promise((resolve) => setTimeout(resolve, 50));
        }"""
    )
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(failed).to_have_count(0)
    expect(page.get_by_role("heading", name="Documents")).to_be_focused()
    expect(page.get_by_text("No documents yet.")).to_be_visible()


def test_busy_server_is_waited_for(open_page: OpenPage, service: Service, watch: Watch) -> None:
    page = open_page()
    watch.expected.append("429 .*/v1/documents$")
    register(page, service.url, make_email())
    files = [
        (f"{number}.txt", f"Patience is virtue number {number}.".encode()) for number in range(UPLOADS_AT_ONCE + 2)
    ]
    upload(page, *files)
    waiting = page.locator(".row:not([data-id])", has_text="retrying in").first
    expect(waiting).to_contain_text("Wait before the next one.")
    expect(page.locator("#document-list [data-status=ready]")).to_have_count(len(files))
    upload(page, files[0])
    expect(page.get_by_role("status").first).to_have_text("You already have 0.txt.")


def test_long_lists_come_page_by_page(open_page: OpenPage, service: Service) -> None:
    name = secrets.token_hex(6)
    headers = service.login(name)
    for number in range(22):
        note = {"title": f"Note {number}", "body": "Short."}
        newest = service.http.post("/v1/notes", headers=headers, json=note).raise_for_status().json()["id"]
    page = open_page()
    page.goto(service.url)
    sign_in(page, f"{name}@example.org")
    expect(page.locator("#connection")).to_have_text("live")
    rows = page.locator("#note-list .name")
    expect(rows).to_have_text([f"Note {number}" for number in range(21, 1, -1)])
    page.get_by_role("button", name="More notes").click()
    expect(rows).to_have_text([f"Note {number}" for number in range(21, -1, -1)])
    expect(page.get_by_role("button", name="More notes")).to_be_hidden()
    service.http.delete(f"/v1/notes/{newest}", headers=headers).raise_for_status()
    expect(rows).to_have_count(21)


def test_total_counts_documents_that_are_not_loaded(open_page: OpenPage, service: Service, watch: Watch) -> None:
    name = secrets.token_hex(6)
    known = service.upload(service.login(name), "barn.txt", b"The spare key hangs in the barn.").json()

    def answer(route: Route) -> None:
        is_last = "cursor=" in route.request.url
        numbers, status = (range(2, 0, -1), "ready") if is_last else (range(22, 2, -1), "pending")
        items = [{**known, "id": f"{number:08}{known['id'][8:]}", "status": status} for number in numbers]
        route.fulfill(json={"items": items, "next_cursor": None if is_last else "c", "total": 22})

    page = open_page()
    watch.expected.append("net::ERR_FAILED /v1/events$")
    page.route("**/v1/events", lambda route: route.abort())
    page.route("**/v1/documents?*", answer)
    page.goto(service.url)
    sign_in(page, f"{name}@example.org")
    rows, total = page.locator("#document-list .row"), page.locator("#document-total")
    expect(rows).to_have_count(20)
    assert total.inner_text() == "22 documents"
    page.get_by_role("button", name="More documents").click()
    expect(rows).to_have_count(22)
    for _ in range(2):  # the page asks again while documents wait
        assert total.inner_text() == "22 documents"
        page.wait_for_event("requestfinished", lambda request: "/v1/documents?" in request.url)
    expect(page.get_by_role("button", name="More documents")).to_be_hidden()


def test_two_people_see_nothing_of_each_other(open_page: OpenPage, service: Service) -> None:
    one, other = open_page(), open_page()
    register(one, service.url, make_email())
    register(other, service.url, make_email())
    upload(one, (HOSTILE_NAME, b"The secret word is marzipan."))
    expect_status(one, HOSTILE_NAME, "ready")
    ask(one, "What is the secret word?")
    expect(one.locator(".answer-text")).to_contain_text("marzipan")
    # Names and texts are shown as text. They never become HTML.
    expect(one.locator("#cited .title")).to_have_text(HOSTILE_NAME)
    assert one.locator("img[src=x]").count() == 0
    assert one.title() == "Sluice: ask your documents"

    ask(other, "What is the secret word?")
    expect(other.locator(".answer-text")).to_have_text("The documents do not answer this question.")
    expect(other.get_by_text("No documents yet.")).to_be_visible()
    assert "marzipan" not in other.content()


def test_reload_keeps_everything(open_page: OpenPage, service: Service, watch: Watch) -> None:
    page, email = open_page(), make_email()
    register(page, service.url, email)
    write_note(page, "Boiler", "The boiler is bled in October.")
    lines = "\n".join(f"Line {number} of a text that takes its time." for number in range(500))
    upload(page, ("long.txt", lines.encode()))
    expect(page.locator(".row[data-id]", has_text="long.txt")).to_be_visible()
    stored = page.evaluate("[JSON.stringify(localStorage), sessionStorage.length, document.cookie]")
    assert stored == ['{"sluice.session":"1"}', 0, ""], "no secret that a script can read"
    page.reload()
    expect(page.get_by_role("button", name=email)).to_be_visible()
    row = page.locator(".row", has_text="long.txt")
    expect(row).to_have_attribute("data-status", re.compile("pending|processing"))
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("#note-list [data-status=ready]", has_text="Boiler")).to_be_visible()
    expect_status(page, "long.txt", "ready")
    # A token that has expired is replaced without a word, in each tab.
    other = page.context.new_page()
    watch.follow(other)
    watch.expected.append("401 .*/v1/(ask|auth/refresh)$")
    other.goto(service.url)
    expect(other.get_by_role("button", name=email)).to_be_visible()
    expire_token(other)
    ask(other, "When is the boiler bled?")
    expect(other.locator(".answer-text")).to_contain_text("The boiler is bled in October.")
    [cookie] = page.context.cookies(f"{service.url}/v1/auth/refresh")
    page.get_by_role("button", name="Sign out").click()
    for tab in (page, other):
        expect(tab.get_by_role("heading", name="Sign in, or create an account")).to_be_visible()
    page.context.add_cookies([cookie])  # type: ignore[list-item]  # Playwright types what it returns otherwise
    page.evaluate("localStorage.setItem('sluice.session', '1')")
    page.reload()
    expect(page.get_by_role("heading", name="Sign in, or create an account")).to_be_visible()


def expire_token(page: Page) -> None:
    """Let the next question be sent with a token that has expired, once."""
    expired = Tokens(SECRET, timedelta(minutes=-5)).issue(Identity(uuid4(), 0))
    page.route(
        "**/v1/ask",
        lambda route: route.continue_(headers={**route.request.headers, "authorization": f"Bearer {expired}"}),
        times=1,
    )


def test_document_view_at_its_own_address(open_page: OpenPage, service: Service, watch: Watch, tmp_path: Path) -> None:
    """A folder is uploaded, a citation leads to its place in the document, and the address leads there later."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / HANDBOOK.name).write_bytes(HANDBOOK.read_bytes())
    (tmp_path / ".hidden").write_text("not uploaded")
    page, email = open_page(), make_email()
    register(page, service.url, email)
    page.locator("#folder").set_input_files(tmp_path)
    expect_status(page, HANDBOOK.name, "ready")
    expect(page.locator("#document-list .row")).to_have_count(1)
    ask(page, QUESTION)
    page.locator("#cited .place-link").first.click()
    viewer = page.get_by_role("region", name=HANDBOOK.name)
    expect(viewer.get_by_role("heading", name=HANDBOOK.name)).to_be_focused()
    expect(viewer.locator("mark")).to_contain_text(SENTENCE.partition(" the lock")[0].partition(" reads")[0])
    expect(viewer.get_by_role("img", name=f"Page 4 of {HANDBOOK.name}, with the passage marked")).to_be_visible()
    address = page.url
    viewer.get_by_role("link", name="Next page").click()
    expect(viewer.get_by_role("img", name=f"Page 5 of {HANDBOOK.name}")).to_be_visible()
    page.go_back()
    expect(viewer.get_by_text("Page 4 of 5")).to_be_visible()
    page.go_back()
    expect(page.locator(".answer-text")).to_be_visible()
    expect(viewer).to_be_hidden()

    later, watched = open_page(), "404 .*/v1/(document|note)s/"
    watch.expected.append(watched)
    later.goto(address)
    sign_in_at(later, email)
    expect(later.locator("#viewer mark")).to_be_visible()
    for hash_ in (f"document={uuid4()}", "note=no-id"):
        later.goto(f"{service.url}/#{hash_}")
        expect(later.locator("#viewer").get_by_role("alert")).to_contain_text(
            "does not exist, or it belongs to another"
        )
    write_note_at(later)


def sign_in_at(page: Page, email: str) -> None:
    """Sign in on a page whose address names a document."""
    fill_in(page, email)
    page.get_by_role("button", name="Sign in", exact=True).click()


def write_note_at(page: Page) -> None:
    """Go back to the lists, write a note and open it."""
    page.get_by_role("link", name="Back to your questions and documents").click()
    write_note(page, "Keys", "The keys hang in the pantry.")
    page.get_by_role("link", name="Keys", exact=True).click()
    expect(page.locator("#viewer-text")).to_have_text("The keys hang in the pantry.")


def test_api_keys(open_page: OpenPage, service: Service) -> None:
    page, email = open_page(), make_email()
    register(page, service.url, email)
    page.get_by_role("button", name=email).click()
    page.get_by_role("button", name="API keys").click()
    dialog = page.get_by_role("dialog", name="API keys")
    expect(dialog.get_by_text("You have no keys.")).to_be_visible()
    dialog.get_by_label("Name").fill("backup")
    dialog.get_by_label("Upload, change and delete").uncheck()
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.get_by_role("button", name="Copy")).to_be_focused()
    headers = {"Authorization": f"Bearer {dialog.get_by_label('Secret').input_value()}"}
    expect(dialog.get_by_role("list", name="API keys")).to_contain_text("read · not used yet · does not expire")
    assert service.http.get("/v1/documents", headers=headers).status_code == 200
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("#secret")).to_have_value("")
    page.get_by_role("button", name=email).click()
    page.get_by_role("button", name="API keys").click()
    dialog.get_by_role("button", name="Revoke backup").click()
    page.get_by_role("dialog", name="Delete “backup”?").get_by_role("button", name="Delete").click()
    expect(dialog.get_by_text("You have no keys.")).to_be_visible()
    assert service.http.get("/v1/users/me", headers=headers).status_code == 401


def test_collections(open_page: OpenPage, service: Service) -> None:
    page = open_page()
    register(page, service.url, make_email())
    upload(page, ("barn.txt", b"The spare key hangs in the barn."))
    expect_status(page, "barn.txt", "ready")
    name_collection(page, "New collection", "House")
    rows = page.locator("#document-list .name, #note-list .name")
    expect(rows).to_have_count(0)
    upload(page, ("attic.txt", b"The spare key hangs in the attic."))
    expect_status(page, "attic.txt", "ready")
    write_note(page, "Door", "The door is green.")
    expect(rows).to_have_text(["attic.txt", "Door"])
    ask(page, "Where does the spare key hang?")
    expect(page.locator(".answer-text")).to_contain_text("attic")
    expect(page.locator("#scope")).to_have_text("Asking the collection House")
    assert set(page.locator(".source .title").all_text_contents()) <= {"attic.txt", "Door"}

    page.get_by_role("button", name="Collections of attic.txt").click()
    dialog = page.get_by_role("dialog", name="Collections of attic.txt")
    dialog.get_by_label("House").uncheck()
    expect(rows).to_have_text(["Door"])
    dialog.get_by_role("button", name="Close").click()
    name_collection(page, "Rename", "Home")
    page.locator("#delete-collection").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(rows).to_have_text(["attic.txt", "barn.txt", "Door"])
    expect(page.get_by_label("Show and ask").locator("option")).to_have_text(["All documents and notes"])


def test_documents_are_found_and_sorted(open_page: OpenPage, service: Service) -> None:
    page = open_page()
    register(page, service.url, make_email())
    expect(page.get_by_label("Find by name")).to_be_hidden()
    upload(page, ("Barn.txt", b"The spare key hangs in the barn, by the door."), ("attic.txt", b"The attic is dry."))
    upload(page, ("broken.pdf", b"%PDF-1.4 no"))
    for name, status in (("Barn.txt", "ready"), ("attic.txt", "ready"), ("broken.pdf", "failed")):
        expect_status(page, name, status)
    names, total = page.locator("#document-list .name"), page.locator("#document-total")
    expect(total).to_have_text("3 documents")
    for order, expected in (
        ("Name, A to Z", ["attic.txt", "Barn.txt", "broken.pdf"]),
        ("Largest first", ["Barn.txt", "attic.txt", "broken.pdf"]),
    ):
        page.get_by_label("Order").select_option(order)
        expect(names).to_have_text(expected)
    page.get_by_label("Status").select_option("Failed")
    expect(names).to_have_text(["broken.pdf"])
    page.get_by_label("Status").select_option("Any")
    page.get_by_label("Ask only attic.txt").check()
    page.get_by_label("Find by name").fill("BARN")
    expect(names).to_have_text(["Barn.txt"])
    expect(total).to_have_text("1 document")
    # What changes elsewhere is shown only where it belongs.
    upload(page, ("barn owls.txt", b"Owls live here."), ("cellar.txt", b"The cellar is damp."))
    expect(names).to_have_text(["Barn.txt", "barn owls.txt"])
    expect(total).to_have_text("2 documents")
    expect(page.locator("#scope")).to_have_text("Asking only 1 document")
    page.get_by_label("Find by name").fill("nothing")
    expect(page.get_by_text("No document matches.")).to_be_visible()
    page.get_by_label("Find by name").fill("")
    expect(names).to_have_text(["Barn.txt", "cellar.txt", "attic.txt", "barn owls.txt", "broken.pdf"])
    expect(page.get_by_label("Ask only attic.txt")).to_be_checked()
    page.get_by_role("button", name="Delete attic.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#scope")).to_have_text("Asking all documents and notes")


def test_folder_is_dropped(open_page: OpenPage, service: Service, tmp_path: Path) -> None:
    (tmp_path / "house" / "rooms").mkdir(parents=True)
    for name in ("door.txt", "rooms/attic.txt", "rooms/.hidden"):
        (tmp_path / "house" / name).write_text(f"This is {name}.")
    (tmp_path / "garden.txt").write_text("This is the garden.")
    page = open_page()
    register(page, service.url, make_email())
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "house"), str(tmp_path / "garden.txt")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    for name in ("door.txt", "attic.txt", "garden.txt"):
        expect_status(page, name, "ready")
    expect(page.locator("#document-list .row")).to_have_count(3)


def test_no_grave_violation_of_accessibility(open_page: OpenPage, service: Service) -> None:
    page, email = open_page(), make_email()
    found: dict[str, list[str]] = {}

    def look(view: str) -> None:
        found[view] = list_violations(page, "dialog[open]" if page.locator("dialog[open]").count() else "html")

    page.goto(service.url)
    expect(page.get_by_role("button", name="Create account")).to_be_enabled()
    look("signing in")
    register(page, service.url, email)
    look("no documents")
    name_collection(page, "New collection", "House")
    upload(page, HANDBOOK, ("broken.pdf", b"%PDF-1.4 no"))
    write_note(page, "Keys", "The keys hang in the pantry.")
    expect_status(page, "broken.pdf", "failed")
    expect_status(page, HANDBOOK.name, "ready")
    ask_and_open_the_source(page)
    page.locator("#others summary").click()
    look("answer, documents, notes and collection")
    for button, dialog in (
        ("Collections of Keys", "Collections of Keys"),
        ("Delete Keys", "Delete “Keys”?"),
        ("Edit Keys", "Edit the note"),
        ("New collection", "New collection"),
        (email, "Your account"),
    ):
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("dialog", name=dialog)).to_be_visible()
        look(dialog)
        if dialog != "Your account":
            page.keyboard.press("Escape")
    page.get_by_role("button", name="API keys").click()
    keys = page.get_by_role("dialog", name="API keys")
    keys.get_by_label("Name").fill("backup")
    keys.get_by_role("button", name="Create key").click()
    expect(keys.get_by_label("Secret")).to_be_visible()
    look("API keys")
    keys.get_by_role("button", name="Close").click()
    page.locator("#cited .place-link").first.click()
    expect(page.locator("#viewer mark")).to_be_visible()
    expect(page.locator("#viewer-picture img")).to_be_visible()
    look("document view")
    assert {view: violations for view, violations in found.items() if violations} == {}


def name_collection(page: Page, button: str, name: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Show and ask").locator("option:checked")).to_have_text(name)


def test_follow_up_questions(open_page: OpenPage, service: Service) -> None:
    """The page sends what was said before, as soon as a language model answers."""
    page, bodies = open_page(), []

    def answer(route: Route) -> None:
        bodies.append(route.request.post_data_json)
        done = {"answer": f"Answer {len(bodies)} [1].", "citations": [], "model": "a-model"}
        events = [("passages", {"passages": [], "model": "a-model"}), ("done", done)]
        text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
        route.fulfill(content_type="text/event-stream", body=text)

    page.route("**/v1/ask", answer)
    register(page, service.url, make_email())
    for number, question in enumerate(("Who built it?", "And when?"), 1):
        ask(page, question)
        expect(page.locator("#answer-status")).to_have_text("Written by a-model.")
        expect(page.locator("#answer-text")).to_contain_text(f"Answer {number}")
    said = [{"role": "user", "content": "Who built it?"}, {"role": "assistant", "content": "Answer 1."}]
    assert bodies == [{"question": "Who built it?"}, {"question": "And when?", "history": said}]
    expect(page.get_by_role("region", name="Earlier in this conversation").get_by_role("listitem")).to_have_count(2)
    page.get_by_role("button", name="New conversation").click()
    ask(page, "What is it?")
    expect(page.locator("#answer-text")).to_contain_text("Answer 3")
    assert "history" not in bodies[2]


def write_note(page: Page, title: str, body: str) -> None:
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="New note").click()
    dialog.get_by_label("Title").fill(title)
    dialog.get_by_label("Text").fill(body)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)


def test_notes_are_written_changed_and_deleted(open_page: OpenPage, service: Service) -> None:
    page = open_page()
    register(page, service.url, make_email())
    write_note(page, "Keys", "The keys hang in the pantry.")
    ready = page.locator("#note-list [data-status=ready]")
    expect(ready).to_contain_text("Keys")
    page.get_by_role("button", name="Edit Keys").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Text")).to_have_value("The keys hang in the pantry.")
    dialog.get_by_label("Text").fill("The keys hang behind the clock.")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(ready).to_contain_text("Keys")
    ask(page, "Where do the keys hang?")
    expect(page.locator(".answer-text")).to_contain_text("behind the clock")
    expect(page.locator("#cited .source h4").first).to_have_text("[1] Keys note")
    page.get_by_role("button", name="Delete Keys").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No notes yet.")).to_be_visible()


def test_account_panel(open_page: OpenPage, service: Service, watch: Watch) -> None:
    page, email = open_page(), make_email()
    watch.expected += ["403 .*/v1/users/me", "401 .*/v1/auth/login$"]
    register(page, service.url, email)
    upload(page, ("kept.txt", b"The hedge is cut in March."))
    expect_status(page, "kept.txt", "ready")
    dialog = page.get_by_role("dialog", name="Your account")
    page.get_by_role("button", name=email).click()
    expect(dialog.locator("#usage")).to_have_text("Stored: 26 bytes. Documents and notes: 1.")
    for current in ("not the right one", PASSWORD):
        dialog.get_by_label("Current password").fill(current)
        dialog.get_by_label("New password").fill("another password")
        dialog.get_by_role("button", name="Change password").click()
        if current != PASSWORD:
            expect(dialog.get_by_role("alert")).to_contain_text("The current password is wrong.")
    expect(dialog).to_be_hidden()
    # The page goes on with the new token.
    ask(page, "When is the hedge cut?")
    expect(page.locator(".answer-text")).to_contain_text("The hedge is cut in March.")
    page.get_by_role("button", name=email).click()
    for password in (PASSWORD, "another password"):
        dialog.locator("#delete-account-form").get_by_label("Password").fill(password)
        dialog.get_by_role("button", name="Delete account").click()
        if password == PASSWORD:
            expect(dialog.get_by_role("alert")).to_contain_text("The current password is wrong.")
    expect(page.get_by_role("heading", name="Sign in, or create an account")).to_be_visible()
    fill_in(page, email)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("#sign-in").get_by_role("alert")).to_contain_text("wrong")


def test_form_waits_for_the_script(open_page: OpenPage, service: Service) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(service.url)
    fill_in(page, make_email())
    page.locator("#sign-in").get_by_label("Password").press("Enter")
    for name in ("Sign in", "Create account"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    expect(page).to_have_url(f"{service.url}/")


def test_script_leaves_the_focus_to_the_user(open_page: OpenPage, service: Service) -> None:
    page = open_page()
    password = page.locator("#sign-in").get_by_label("Password")

    def begin_to_type(script: Route) -> None:
        password.focus()
        script.continue_()

    page.route("**/static/main.js", begin_to_type)
    page.goto(service.url)
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_enabled()
    expect(password).to_be_focused()


def test_invitation_link(open_page: OpenPage, service: Service, watch: Watch) -> None:
    watch.expected.append("403 .*/v1/auth/register$")
    link = make_invitation(service)
    for is_first in (True, False):
        page = open_page()
        page.goto(link)
        expect(page.get_by_text("You are invited")).to_be_visible()
        assert page.url == f"{service.url}/", "the secret has left the address"
        fill_in(page, make_email())
        page.get_by_role("button", name="Create account").click()
        if is_first:
            expect(page.get_by_role("heading", name="Ask", exact=True)).to_be_visible()
        else:
            expect(page.locator("#sign-in").get_by_role("alert")).to_contain_text("Ask the operator")


def make_invitation(service: Service) -> str:
    """Return a link, made by the operator's command."""
    environment = {**os.environ, "DATABASE_URL": service.database_url}
    done = run_module("pipeline", "users", "invite", "--url", service.url, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_expired_token_asks_for_the_password_in_place(open_page: OpenPage, service: Service, watch: Watch) -> None:
    page = open_page()
    watch.expected.append("401 ")
    register(page, service.url, make_email())
    write_note(page, "Hedge", "The hedge is cut in March.")
    expect(page.locator("#note-list [data-status=ready]")).to_be_visible()
    page.context.clear_cookies()
    expire_token(page)
    ask(page, "When is the hedge cut?")
    dialog = page.get_by_role("dialog", name="Sign in again to continue")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Password").fill("not the right one")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator(".answer-text")).to_contain_text("The hedge is cut in March.")
    expect(page.get_by_label("Your question")).to_have_value("When is the hedge cut?")


NAMELESS = """() => [...document.querySelectorAll("button, input, textarea, select, a, summary, progress")]
  .filter((control) => control.checkVisibility())
  .filter((control) => !(control.textContent.trim() || control.ariaLabel || control.labels?.length))
  .map((control) => control.outerHTML)"""
REACHABLE = """() => [...document.querySelectorAll("button, input, textarea, select, a[href], summary, [tabindex='0']")]
  .filter((control) => control.checkVisibility() && !control.disabled && !control.closest("dialog")).length"""


def test_narrow_page_by_keyboard_alone(open_page: OpenPage, service: Service) -> None:
    page = open_page(viewport={"width": 320, "height": 640})
    page.goto(service.url)
    assert page.evaluate(NAMELESS) == []
    page.keyboard.type(make_email())  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your question")).to_be_focused()
    upload(
        page, (f"{'long-name-without-an-end' * 7}.txt", b"Moss grows on the northern side."), ("b.pdf", b"%PDF-1.4 no")
    )
    expect_status(page, "long-name", "ready")
    expect_status(page, "b.pdf", "failed")
    page.get_by_label("Your question").fill("Where does moss grow?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer-text .reference")).to_be_visible()
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        page.evaluate("() => (window.reached ??= new Set()).add(document.activeElement)")
    # The page replaces elements when it refreshes the list. Those are no longer connected.
    reached = page.evaluate("[...window.reached].filter((e) => e.isConnected && e !== document.body).length")
    assert reached == page.evaluate(REACHABLE)


def test_chromium_itself_asks_no_other_host(playwright: Playwright, service: Service, tmp_path: Path) -> None:
    net_log = tmp_path / "net.json"
    with run_chromium(playwright, net_log) as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        register(page, service.url, make_email())
        upload(page, HANDBOOK)
        expect_status(page, HANDBOOK.name, "ready")
        ask_and_open_the_source(page)
    addresses = [str(event.get("params", {}).get("url", "")) for event in json.loads(net_log.read_text())["events"]]
    hosts = {
        urlsplit(address).hostname
        for address in addresses
        if address.startswith(("http:", "https:", "ws:", "wss:")) and SPELLING not in address
    }
    assert hosts == {"127.0.0.1"}
