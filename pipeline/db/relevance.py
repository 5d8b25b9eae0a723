"""The score of a passage: the estimated probability, 0 to 1, that it is relevant to the question.

It is a logistic function of numbers that mean the same for every question: the cosine, the share of the words of the
question that the passage covers, and the lead of the first passage over the second.
"""

from dataclasses import dataclass

from sqlalchemy import CTE, Double, FromClause, bindparam, case, func, literal, select

from pipeline.types import SearchMode

LEAST_SCORE = bindparam("min_score", type_=Double)
COSINE_FACTOR = bindparam("cosine_factor", type_=Double)
COSINE_OFFSET = bindparam("cosine_offset", type_=Double)


@dataclass(frozen=True)
class Weights:
    """Coefficients of the logistic function."""

    constant: float
    cosine: float
    words: float
    lead: float
    most_lead: float
    """A larger lead counts as this one."""


# Fitted by logistic regression on the questions of covid, finance, nq, policy, xquad and xquad_es, each set with the
# same weight, and as many questions of the other sets. docs/decisions.md has the errors for a set that is left out.
WEIGHTS = {
    SearchMode.HYBRID: Weights(constant=-6.48, cosine=6.36, words=1.44, lead=4.54, most_lead=1.0),
    SearchMode.VECTOR: Weights(constant=-6.38, cosine=7.01, words=0.0, lead=31.5, most_lead=0.15),
    SearchMode.KEYWORD: Weights(constant=-5.53, cosine=0.0, words=4.55, lead=5.92, most_lead=1.0),
}


def rate(mode: SearchMode, best: FromClause) -> CTE:
    """Return the passages of `best` that have at least the lowest score asked for, with their scores.

    `best` has the columns `rank`, `next` (the rank of the next passage), `place` (from 1), `cosine` and `words`. No
    passage has a higher score than one before it.
    """
    weights = WEIGHTS[mode]
    lead = best.c.rank - func.coalesce(best.c.next, 0.0)
    if mode == SearchMode.VECTOR:
        lead = COSINE_FACTOR * lead
    evidence = (
        weights.constant
        + weights.cosine * func.coalesce(COSINE_OFFSET + COSINE_FACTOR * best.c.cosine, 0.0)
        + weights.words * func.coalesce(best.c.words, 0.0)
        + weights.lead * case((best.c.place == 1, func.least(lead, weights.most_lead)), else_=0.0)
    )
    likelihood = literal(1.0, Double) / (1.0 + func.exp(-evidence, type_=Double))
    score = func.min(likelihood).over(order_by=best.c.place, rows=(None, 0))
    rated = select(best, score.label("score")).subquery("rated")
    return select(rated).where(rated.c.score >= LEAST_SCORE).cte("rated_passages").prefix_with("MATERIALIZED")
