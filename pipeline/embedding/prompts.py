"""Prompts: what some models expect before a question or a document, such as `query: ` and `passage: `."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CONFIGURATION = "config_sentence_transformers.json"
"""The file in which sentence-transformers keeps the prompts of a model."""
DOCUMENT_NAMES = ("document", "passage", "corpus")
"""The names that models give to the prompt of documents, in the order of sentence-transformers."""


class Purpose(StrEnum):
    """What a text is embedded for. Many models embed questions and documents differently."""

    QUERY = "query"
    DOCUMENT = "document"


@dataclass(frozen=True)
class Prompts:
    """The prompt of each purpose. None stands for the model's own prompt."""

    query: str | None = None
    document: str | None = None

    def or_else(self, others: "Prompts") -> "Prompts":
        """Return these prompts. Those that are None are taken from `others`."""
        return Prompts(
            others.query if self.query is None else self.query,
            others.document if self.document is None else self.document,
        )

    def prepend(self, texts: Sequence[str], purpose: Purpose) -> Sequence[str]:
        """Return the texts with the prompt of their purpose."""
        prompt = self.query if purpose == Purpose.QUERY else self.document
        return [prompt + text for text in texts] if prompt else texts

    def describe(self) -> str:
        """Return the prompts in words."""
        named = {"questions": self.query, "passages": self.document}
        found = [f"{json.dumps(prompt, ensure_ascii=False)} before {kind}" for kind, prompt in named.items() if prompt]
        return " and ".join(found) or "no prompts"


NO_PROMPTS = Prompts()


def find_prompts(model: str, folder: Path | None) -> Prompts:
    """Return the prompts of a model that has been loaded from `folder`, or by its hub name if there is none.

    Raises OSError or ValueError if its configuration cannot be read.
    """
    file = folder / CONFIGURATION if folder else _find_downloaded(model)
    return parse_prompts(file.read_bytes()) if file and file.is_file() else Prompts()


def parse_prompts(configuration: bytes) -> Prompts:
    """Return the prompts that a configuration of sentence-transformers defines.

    The default prompt counts for a purpose without a prompt, but the one for queries never counts for documents.
    Raises ValueError if the configuration is invalid.
    """
    parsed = json.loads(configuration)
    found = parsed.get("prompts") or {} if isinstance(parsed, dict) else None
    if not isinstance(found, dict) or not all(isinstance(prompt, str | None) for prompt in found.values()):
        raise ValueError(f"{CONFIGURATION} does not have the form of sentence-transformers")
    prompts: dict[str, str] = {name: prompt for name, prompt in found.items() if prompt}
    default = parsed.get("default_prompt_name")
    return Prompts(
        query=prompts.get("query", prompts.get(default)),
        document=next(
            (prompts[name] for name in DOCUMENT_NAMES if name in prompts),
            None if default == "query" else prompts.get(default),
        ),
    )


def _find_downloaded(model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - slow to import

    found = try_to_load_from_cache(model, CONFIGURATION)
    return Path(found) if isinstance(found, str) else None
