"""A reranker on a server, with the protocol of TEI, or with that of Cohere and Jina."""

from collections.abc import Sequence

import httpx2
import msgspec

from pipeline.reranking.reranker import AT_ONCE, PassageScorer, ScoringFailed

REFUSES_TEXTS = frozenset({400, 413, 422})
"""Statuses of servers whose limits a text or a request exceeds."""
ANSWER_ROOM = 64 * 1024
"""Room for an answer in addition to the texts, in bytes."""
ESCAPED = 6
"""Longest form of a byte of a text in JSON, in bytes. Some servers return the texts."""


class _Score(msgspec.Struct):
    index: int
    score: float


class _Relevance(msgspec.Struct):
    index: int
    relevance_score: float


class _Results(msgspec.Struct):
    results: list[_Relevance]


class RerankingServer(PassageScorer):
    """A connection pool to one server. Connections are made on first use."""

    depth = 20

    def __init__(self, url: str, model: str | None = None, api_key: str | None = None) -> None:
        """Prepare requests to the URL of `/rerank`, in the protocol of Cohere if a model is named."""
        self._url = url
        self._model = model
        # We do not ask for compression. A compressed body could decode to any length.
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        # The caller limits the time of a whole request.
        self._http = httpx2.AsyncClient(headers=headers, timeout=None, limits=limits)

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Return the scores of one request.

        Raises ScoringFailed. There are no further tries, because a search does not wait so long.
        """
        try:
            answer = await self._post(self._write_request(question, texts))
        except httpx2.HTTPError as error:
            raise ScoringFailed("cannot be reached, or the connection was lost") from error
        return read_scores(answer, len(texts))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _write_request(self, question: str, texts: Sequence[str]) -> bytes:
        if self._model is None:
            return msgspec.json.encode({"query": question, "texts": texts, "truncate": True})
        return msgspec.json.encode({"model": self._model, "query": question, "documents": texts})

    async def _post(self, body: bytes) -> bytes:
        answer = bytearray()
        async with self._http.stream("POST", self._url, content=body) as response:
            if response.status_code != httpx2.codes.OK:
                raise _explain_status(response.status_code)
            async for data in response.aiter_raw():
                answer += data
                if len(answer) > ESCAPED * len(body) + ANSWER_ROOM:
                    raise ScoringFailed("sends too long an answer")
        return bytes(answer)


def _explain_status(status: int) -> ScoringFailed:
    if status in REFUSES_TEXTS:
        return ScoringFailed(f"refuses the texts (status {status})", is_of_texts=True)
    if status < 500 and status != httpx2.codes.TOO_MANY_REQUESTS:
        return ScoringFailed(f"refuses every request (status {status})")
    return ScoringFailed(f"is busy or failing (status {status})")


def read_scores(answer: bytes, count: int) -> list[float]:
    """Return the scores of a response in the order of the texts, whichever protocol it has.

    Raises ScoringFailed if there is not one score for each text.
    """
    try:
        found = msgspec.json.decode(answer, type=list[_Score] | _Results)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ScoringFailed("does not answer with scores") from error
    if isinstance(found, _Results):
        scores = {result.index: result.relevance_score for result in found.results}
        number = len(found.results)
    else:
        scores = {result.index: result.score for result in found}
        number = len(found)
    if number != count or scores.keys() != set(range(count)):
        raise ScoringFailed("does not answer with one score for each text")
    return [scores[index] for index in range(count)]
