"""Metrics. RUNBOOK.md lists the ones that need an alarm.

All processes with the same PROMETHEUS_MULTIPROC_DIR share one set of values. `make up` sets it.
"""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

REQUEST_SECONDS = Histogram(
    "sluice_request_seconds",
    "Time until the response began, by route and status.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STAGE_SECONDS = Histogram(
    "sluice_ingestion_stage_seconds",
    "Time that ingestions spend in each stage.",
    ["kind", "stage"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
INGESTIONS = Counter(
    "sluice_ingestions_total", "Finished attempts, by outcome: ready or an error code.", ["kind", "outcome"]
)
WEBHOOK_DELIVERIES = Counter(
    "sluice_webhook_deliveries_total",
    "Tries to deliver an event, by outcome: delivered, failed (it is tried again) or dead (it is not).",
    ["outcome"],
)
SWEPT_JOBS = Counter("sluice_swept_jobs_total", "Jobs taken from workers whose leases were lost.")
RATE_LIMIT_FAIL_OPENS = Counter(
    "sluice_rate_limit_fail_opens_total", "Requests let through because Redis was unavailable."
)
REFUSED_REQUESTS = Counter(
    "sluice_refused_requests_total", "Requests refused before their body was read, by error code.", ["code"]
)
REFUSED_LOGINS = Counter("sluice_refused_logins_total", "Refused logins, by error code.", ["code"])
REDIS_FAILURES = Counter("sluice_redis_failures_total", "Times that the circuit breaker for Redis opened.")
ANSWERS = Counter("sluice_answers_total", "Answers to questions, by outcome.", ["outcome"])
UNKNOWN_CITATIONS = Counter(
    "sluice_unknown_citations_total", "Citations removed from answers because no such passage exists."
)
HELPER_FAILURES = Counter(
    "sluice_helper_failures_total", "Times that a worker stopped asking others to embed, because one did not answer."
)
RERANKED_SEARCHES = Counter(
    "sluice_reranked_searches_total",
    "Searches with a reranker, by outcome: reranked, late, failed or paused.",
    ["outcome"],
)
RERANKER_FAILURES = Counter("sluice_reranker_failures_total", "Times that the circuit breaker for the reranker opened.")
RERANKER_SECONDS = Histogram(
    "sluice_reranker_seconds",
    "Time that the reranker took for the passages of one search.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LLM_FAILURES = Counter("sluice_llm_failures_total", "Times that the circuit breaker for the language model opened.")
ENCODER_WAITING = Gauge(
    "sluice_encoder_waiting_requests", "Requests waiting for the encoder.", multiprocess_mode="livesum"
)
ENCODER_PASS_TOKENS = Histogram(
    "sluice_encoder_pass_tokens",
    "Tokens of one forward pass, padding included.",
    buckets=(16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
)
ENCODER_PASS_SECONDS = Histogram(
    "sluice_encoder_pass_seconds",
    "Time of one forward pass.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
EMBEDDING_SERVER_SECONDS = Histogram(
    "sluice_embedding_server_seconds",
    "Time of one successful request to the embedding server.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
EMBEDDING_SERVER_FAILURES = Counter(
    "sluice_embedding_server_failures_total", "Requests to the embedding server that failed."
)
REDIS_UP = Gauge("sluice_redis_up", "Whether the last request to Redis succeeded.", multiprocess_mode="livemostrecent")
SUBJECTS = Gauge(
    "sluice_subjects", "Documents and notes by status.", ["kind", "status"], multiprocess_mode="livemostrecent"
)
OLDEST_SECONDS = Gauge(
    "sluice_oldest_seconds",
    "Seconds since the last change to the least recently changed document or note, by status.",
    ["kind", "status"],
    multiprocess_mode="livemostrecent",
)


def render() -> bytes:
    """Return all metrics in Prometheus' text format."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    return generate_latest(registry)
