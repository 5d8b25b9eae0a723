"""What an encoder logs if its model cannot be loaded."""

from collections.abc import Callable

import pytest

from pipeline.embedding import encoder as encoders
from pipeline.embedding.encoder import Encoder


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def error(self, event: str, **_values: object) -> None:
        self.events.append(event)


def load_in_vain(encoder: Encoder, attempts: int) -> Callable[[str], None]:
    """Return a loader that always fails. The encoder is closed during one of its attempts."""
    left = attempts

    def load(_name: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            encoder.close()
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    return load


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_failure_is_logged_only_while_somebody_wants_the_model(attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log, encoder = Log(), Encoder("any")
    monkeypatch.setattr(encoders, "log", log)
    monkeypatch.setattr(encoders, "RELOAD_SECONDS", 0)
    monkeypatch.setattr(encoders, "EmbeddingModel", load_in_vain(encoder, attempts))
    encoder.start()
    assert encoder.join(5)
    assert log.events == ["model.unavailable"] * (attempts - 1)
