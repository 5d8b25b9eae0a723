"""Cohere's SDK: reranking."""

import os

import cohere
from cohere.errors import UnauthorizedError

URL, KEY = os.environ["SLUICE_URL"], os.environ["SLUICE_KEY"]
TEXTS = ["Bread is baked at four.", "The lock is closed above 3.2 metres.", "The lock keeper has a boat."]

client = cohere.ClientV2(api_key=KEY, base_url=URL)
ranking = client.rerank(model="sluice", query="lock closed", documents=TEXTS)
assert [one.index for one in ranking.results] == [1, 2, 0]
scores = [one.relevance_score for one in ranking.results]
assert 1 >= scores[0] > scores[1] > scores[2] >= 0
assert ranking.meta.api_version.version == "2"
assert [one.index for one in client.rerank(model="sluice", query="lock closed", documents=TEXTS, top_n=1).results] == [
    1
]
try:
    cohere.ClientV2(api_key="sk-wrong", base_url=URL).rerank(model="sluice", query="lock", documents=TEXTS)
    raise AssertionError("a wrong key is accepted")
except UnauthorizedError as error:
    assert error.body["code"] == "invalid_token"  # noqa: PT017 - there is no pytest here
