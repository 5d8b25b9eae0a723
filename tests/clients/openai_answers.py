"""OpenAI's SDK for Python: models, chats, responses, embeddings and errors."""

import asyncio
import math
import os

import openai

URL, KEY = os.environ["SLUICE_URL"], os.environ["SLUICE_KEY"]
QUESTION = "At what gauge reading is the lock closed?"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]

sdk = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)
chat, embedding = [model.id for model in sdk.models.list()][:2]
assert chat == "sluice"
assert sdk.models.retrieve(embedding).id == embedding

# A chat, whole and streamed.
completion = sdk.chat.completions.create(model=chat, messages=MESSAGES, temperature=0.1, max_tokens=100, user="anna")
[choice] = completion.choices
message = choice.message
citation = message.annotations[0].url_citation
assert choice.finish_reason == "stop"
assert "3.2 metres" in message.content
assert message.content[citation.start_index : citation.end_index] == "[1]"
assert citation.title == "lock.txt"
assert citation.url.startswith(f"{URL}/#document=")
assert completion.usage.total_tokens > completion.usage.prompt_tokens > 0

chunks = list(
    sdk.chat.completions.create(model=chat, messages=MESSAGES, stream=True, stream_options={"include_usage": True})
)
*deltas, last, usage = chunks
assert {chunk.id for chunk in chunks} == {chunks[0].id}
assert deltas[0].choices[0].delta.role == "assistant"
assert "".join(chunk.choices[0].delta.content or "" for chunk in deltas) == message.content
assert deltas[-1].choices[0].delta.annotations == [one.model_dump() for one in message.annotations]
assert last.choices[0].finish_reason == "stop"
assert usage.choices == []
assert usage.usage == completion.usage

with sdk.chat.completions.stream(model=chat, messages=MESSAGES) as stream:
    kinds = {event.type for event in stream}
    final = stream.get_final_completion()
assert {"chunk", "content.delta", "content.done"} <= kinds
assert final.choices[0].message.content == message.content

# A response, whole and streamed.
response = sdk.responses.create(
    model=chat,
    input=QUESTION,
    tools=[{"type": "file_search", "vector_store_ids": []}],
    include=["file_search_call.results"],
)
search, said = response.output
assert response.status == "completed"
assert search.results[0].filename == "lock.txt"
assert 0 < search.results[0].score <= 1
assert "3.2 metres" in response.output_text
[file_citation] = said.content[0].annotations
assert (file_citation.type, file_citation.file_id) == ("file_citation", search.results[0].file_id)

with sdk.responses.stream(model=chat, input=QUESTION) as stream:
    events = list(stream)
    final = stream.get_final_response()
assert [event.sequence_number for event in events] == list(range(len(events)))
order = [event.type.removeprefix("response.") for event in events if event.type != "response.output_text.delta"]
assert order == [
    *("created", "in_progress", "output_item.added", "file_search_call.in_progress", "file_search_call.searching"),
    *("file_search_call.completed", "output_item.done", "output_item.added", "content_part.added"),
    *("output_text.annotation.added", "output_text.done", "content_part.done", "output_item.done", "completed"),
]
assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == final.output_text
assert final.output_text == response.output_text

# Embeddings: base64 without being asked for, or numbers.
texts = ["oak gates", "a red flag"]
packed = sdk.embeddings.create(model=embedding, input=texts)
plain = sdk.embeddings.create(model=embedding, input=texts, encoding_format="float")
assert [one.index for one in packed.data] == [0, 1]
for one, other in zip(packed.data, plain.data, strict=True):
    assert math.isclose(math.hypot(*one.embedding), 1, abs_tol=1e-4)
    assert math.dist(one.embedding, other.embedding) < 0.05
assert packed.usage.prompt_tokens > 0


def refuse(kind, call, **arguments):
    """Return the error of a call, which must be of this class."""
    try:
        call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"{arguments} is not refused")


several = refuse(openai.BadRequestError, sdk.chat.completions.create, model=chat, messages=MESSAGES, n=2)
assert (several.param, several.type) == ("n", "invalid_request_error")
unknown = refuse(openai.NotFoundError, sdk.chat.completions.create, model="gpt-5", messages=MESSAGES)
assert "`sluice`" in unknown.message
tokens = refuse(openai.BadRequestError, sdk.embeddings.create, model=embedding, input=[[1, 2]])
assert "check_embedding_ctx_length=False" in tokens.message
refuse(openai.NotFoundError, sdk.models.retrieve, model="gpt-5")
refuse(openai.BadRequestError, sdk.responses.create, model=chat, input=QUESTION, tools=[{"type": "web_search"}])
stranger = sdk.with_options(api_key="sk-wrong", max_retries=0)
assert refuse(openai.AuthenticationError, stranger.models.list).type == "authentication_error"


async def ask() -> str:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as asynchronous:
        stream = await asynchronous.chat.completions.create(model=chat, messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


assert asyncio.run(ask()) == message.content
