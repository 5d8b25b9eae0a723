"""OpenAI's SDK for Python: files, vector stores, batches of files and searches."""

import os

import openai

sdk = openai.OpenAI(base_url=f"{os.environ['SLUICE_URL']}/v1", api_key=os.environ["SLUICE_KEY"])
GATES = b"The hinges of the oak gates are greased with mutton tallow every spring."
QUESTION = "What greases the hinges of the gates?"

# A file by itself, then in two stores of the same name.
stores = [sdk.vector_stores.create(name="Locks", metadata={"river": "Ouse"}) for _ in range(2)]
store = stores[0].id
assert [one.name for one in stores] == ["Locks", "Locks"]
gates = sdk.vector_stores.files.upload_and_poll(
    vector_store_id=store, file=("gates.txt", GATES), attributes={"year": 1911}
)
assert (gates.status, gates.attributes) == ("completed", {"year": 1911})
assert sdk.files.content(gates.id).read() == GATES
assert sdk.files.create(file=("again.txt", GATES), purpose="assistants").id == gates.id
assert [part.text for part in sdk.vector_stores.files.content(gates.id, vector_store_id=store)] == [GATES.decode()]
sdk.vector_stores.files.create(stores[1].id, file_id=gates.id)

assert sdk.files.wait_for_processing(gates.id, poll_interval=0.5).status == "processed"

# A batch with a file that cannot be read. More files than five are uploaded at once.
texts = [(f"{number}.txt", f"Weir number {number} was built in {1800 + number}.".encode()) for number in range(24)]
batch = sdk.vector_stores.file_batches.upload_and_poll(
    store, files=[*texts, ("broken.pdf", b"%PDF-1.7 broken")], file_ids=[gates.id]
)
assert (batch.status, batch.file_counts.in_progress) == ("completed", 0)
assert (batch.file_counts.completed, batch.file_counts.failed, batch.file_counts.total) == (25, 1, 26)
assert sdk.vector_stores.file_batches.cancel(batch.id, vector_store_id=store).status == "completed"

# Lists, to the end.
listed = [file.id for file in sdk.vector_stores.files.list(store, limit=10)]
assert len(listed) == len(set(listed)) == 26
assert [file.id for file in sdk.vector_stores.files.list(store, limit=10, order="asc")] == listed[::-1]
[failed] = sdk.vector_stores.files.list(store, filter="failed")
assert failed.last_error.code == "invalid_file"
in_batch = sdk.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, limit=10)
assert {file.id for file in in_batch} == set(listed)
assert len({file.id for file in sdk.files.list(limit=7)}) == 28, "with the two of this account"
assert [one.id for one in sdk.vector_stores.list(limit=1)] == [one.id for one in stores[::-1]]

# Searches.
found = sdk.vector_stores.search(store, query=QUESTION, max_num_results=3, rewrite_query=True).data
assert (found[0].file_id, found[0].filename, found[0].attributes) == (gates.id, "gates.txt", {"year": 1911})
assert 0 < found[-1].score <= found[0].score <= 1
assert found[0].model_extra["page"] == 1
old = {"type": "and", "filters": [{"type": "lt", "key": "year", "value": 1950}]}
assert [one.file_id for one in sdk.vector_stores.search(store, query="weir", filters=old).data] == [gates.id]
sure = {"ranker": "auto", "score_threshold": found[0].score}
assert len(sdk.vector_stores.search(store, query=QUESTION, ranking_options=sure).data) == 1
assert sdk.vector_stores.search(store, query=["weir 7", QUESTION]).data

# An answer from the store alone.
tool = {"type": "file_search", "vector_store_ids": [store], "filters": old}
answer = sdk.responses.create(
    model="sluice", input="What greases the hinges?", tools=[tool], include=["file_search_call.results"]
)
assert "mutton tallow" in answer.output_text
[result] = answer.output[0].results
assert (result.file_id, result.attributes) == (gates.id, {"year": 1911})

# Changes and deletions.
files = sdk.vector_stores.files
assert files.update(gates.id, vector_store_id=store, attributes={"open": True}).attributes == {"open": True}
assert sdk.vector_stores.update(store, name="Weirs").name == "Weirs"
assert files.delete(gates.id, vector_store_id=store).deleted
assert sdk.files.retrieve(gates.id).status == "processed"
assert sdk.files.delete(gates.id).deleted
assert sdk.vector_stores.retrieve(stores[1].id).file_counts.total == 0
assert sdk.vector_stores.delete(store).deleted

# Errors.
expiry = {"anchor": "last_active_at", "days": 1}
cut = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}
for call, status, param in (
    (lambda: sdk.files.create(file=("a.txt", b"a"), purpose="fine-tune"), 400, "purpose"),
    (lambda: sdk.files.list(after=gates.id), 400, "after"),
    (lambda: sdk.vector_stores.create(expires_after=expiry), 400, "expires_after"),
    (lambda: files.create(stores[1].id, file_id=batch.id, chunking_strategy=cut), 400, "chunking_strategy"),
    (lambda: sdk.vector_stores.retrieve(store), 404, None),
    (lambda: sdk.files.retrieve(gates.id), 404, None),
):
    refused = None
    try:
        call()
    except openai.APIStatusError as error:
        refused = error
    assert refused, param
    assert (refused.status_code, refused.param) == (status, param)
