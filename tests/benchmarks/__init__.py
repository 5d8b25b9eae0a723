"""Measurements of the service. `make bench` runs most of them.

- What is measured: `ingestion`, `searching`, `stages` (each stage alone), `encoding`, `growth` (large collections), `starting`,
  `recall` (of the vector index), `retrieval` (quality of search) and `charsets`
- How it is measured: `processes` (processor time and memory), `times`, `matrices` (limit of the processor), `plans`
  (how PostgreSQL executes a search) and `scoring`
- What runs: `stack` (servers and service), `client`, `models`, `filling` (large databases) and `baseline`
- What is written: `report` (report.json), `scores` (retrieval.json), `comparisons` (ratios, and what is shown with its goal) and `page`
  (docs/benchmarks.md)
"""
