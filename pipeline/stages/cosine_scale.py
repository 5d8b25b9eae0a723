"""Makes the cosines of embedding models comparable.

One model gives 0.02 to texts that have nothing in common, and another one 0.75. Constants of this program hold for the
packaged model. A few questions with texts, of which each answers one question, show where the cosines of another model
lie. They are converted by a straight line.
"""

from dataclasses import dataclass

import numpy as np

PAIRS = (
    (
        "When was the bridge over the river built?",
        "The bridge was built between 1931 and 1934. It replaced a ferry, which had crossed the river since "
        "the Middle Ages.",
    ),
    (
        "How is the virus transmitted?",
        "The virus spreads mainly by droplets when an infected person coughs or speaks. Contaminated "
        "surfaces play a smaller part.",
    ),
    (
        "What was the net revenue of the company in 2019?",
        "Net revenue increased by 4 % to $12.3 billion in fiscal 2019, mainly because of higher prices in "
        "North America.",
    ),
    (
        "Who wrote the novel?",
        "The novel is the second work of the author Maria Keller. She wrote it in two winters, and it was "
        "published in 1957.",
    ),
    (
        "How do I reset my password?",
        "If you have forgotten your password, choose 'Reset' on the login page. You will get a link by "
        "e-mail, which is valid for an hour.",
    ),
    (
        "Can the tenant end the contract early?",
        "The tenant may terminate the lease with a notice of three months to the end of any month. Notice "
        "must be given in writing.",
    ),
    (
        "Which bird migrates the longest distance?",
        "Arctic terns fly from their breeding grounds in the far north to the Antarctic and back each year, "
        "farther than any other bird.",
    ),
    (
        "What temperature should the oven have?",
        "Heat the oven to 220 degrees. Bake the loaves for ten minutes with steam, then for half an hour at "
        "190 degrees.",
    ),
    (
        "Who may see my personal data?",
        "We share personal information only with providers who process payments for us, and with authorities "
        "if the law requires it.",
    ),
    (
        "How long is the warranty of the pump?",
        "The manufacturer grants a warranty of five years on the motor and the housing of the pump. Seals "
        "and filters are excluded.",
    ),
    (
        "Which team won the final?",
        "The home team won the final by two goals to one. The deciding goal fell in the last minute of extra time.",
    ),
    (
        "Why did the empire collapse?",
        "Historians name several causes for the fall of the empire: civil wars, the loss of tax revenue, and "
        "invasions from the east.",
    ),
)
"""Questions, and a text that answers each of them and none of the others."""
QUESTIONS = tuple(question for question, _ in PAIRS)
TEXTS = tuple(text for _, text in PAIRS)

UNRELATED, RELATED = 0.017, 0.628
"""Mean cosines of the packaged model: of questions with the texts that do not answer them, and with those that do."""
LEAST_RANGE = 0.02
"""Smallest difference between the two means. A model with a smaller one tells little, and must not seem certain."""


@dataclass(frozen=True, slots=True)
class CosineScale:
    """Converts cosines of a model to those that the packaged model would give: `offset + factor * cosine`."""

    factor: float
    offset: float

    def convert(self, cosine: float) -> float:
        """Return the cosine that the packaged model would give."""
        return self.offset + self.factor * cosine


PACKAGED_SCALE = CosineScale(1.0, 0.0)


def measure_scale(questions: np.ndarray, texts: np.ndarray) -> CosineScale:
    """Return the scale of a model, from its unit vectors of QUESTIONS and of TEXTS."""
    cosines = questions @ texts.T
    is_answer = np.eye(len(cosines), dtype=bool)
    unrelated, related = float(cosines[~is_answer].mean()), float(cosines[is_answer].mean())
    factor = (RELATED - UNRELATED) / max(related - unrelated, LEAST_RANGE)
    return CosineScale(factor, UNRELATED - factor * unrelated)
