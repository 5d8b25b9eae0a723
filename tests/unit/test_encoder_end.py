"""What an encoder logs if its model cannot be loaded."""

from threading import Event
from typing import NoReturn

import pytest

from pipeline.embedding import encoder as encoders
from pipeline.embedding.encoder import Encoder, Loader


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def error(self, event: str, **_values: object) -> None:
        self.events.append(event)


def load_in_vain(attempts: int, closing: list[Encoder]) -> Loader:
    """Return a loader that always fails. The encoder is closed during one of its attempts."""
    left = attempts

    def load(_name: str, _cancelled: Event) -> NoReturn:
        nonlocal left
        left -= 1
        if not left:
            closing[0].close()
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    return load


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_failure_is_logged_only_while_somebody_wants_the_model(attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    encoders_to_close: list[Encoder] = []
    encoder = Encoder("any", load_in_vain(attempts, encoders_to_close))
    encoders_to_close.append(encoder)
    monkeypatch.setattr(encoders, "log", log)
    monkeypatch.setattr(encoders, "RELOAD_SECONDS", 0)
    encoder.start()
    assert encoder.join(5)
    assert log.events == ["model.unavailable"] * (attempts - 1)
    assert encoder.is_unavailable == (attempts > 1)
