"""The crashes of a job, and which of them are evidence against its document.

A worker may die for reasons of its own: a spot instance ends, a machine fails, an operator kills it. So one crash
proves nothing. After the first crash a job is a suspect. A worker runs it alone, in small steps, and marks each step
in the job's row before it takes it. A document that kills its worker never gets beyond a certain step. A worker that is
killed at a random time leaves its job at a random step. A crash at an earlier step proves nothing. A crash at a later
one proves that the earlier step is harmless.

The odds that an innocent document is blamed: it must die at the same step in MAX_REPEATS (4) attempts, and in none
between them at a later step. If workers die at random and live for `life` seconds on average, the odds of four given
attempts are about `(step_seconds / life) ** 3`. Steps take about 0.25 s. With workers that live for 10 s, that is 1 in
64,000. Two minutes have time for about 10 such series, so the odds of a long document are about 1 in 6,000. Documents
whose steps take 1 s have odds of about 1 in 200. `tests/unit/test_crashes.py` simulates this.
"""

from dataclasses import dataclass

SUSPECT_CRASHES = 1
"""Number of crashes after which a job runs alone and in small steps."""
MAX_REPEATS = 4
"""Number of successive crashes of a suspect at the same step after which it is given up."""
MAX_CRASHES = 25
"""Number of crashes after which a job is given up without other evidence, so that none is repeated without end."""


@dataclass(frozen=True, slots=True)
class Crashes:
    """What is known of the crashes of a job."""

    total: int = 0
    """Number of attempts whose lease was lost."""
    repeats: int = 0
    """Number of crashes at `step`."""
    step: int | None = None
    """Latest step at which the job has crashed as a suspect."""

    @property
    def is_suspect(self) -> bool:
        """True if the job must run alone."""
        return self.total >= SUSPECT_CRASHES

    @property
    def is_given_up(self) -> bool:
        """True if the job killed its workers, or crashed too often to go on."""
        return self.repeats >= MAX_REPEATS or self.total >= MAX_CRASHES

    def add(self, step: int) -> "Crashes":
        """Count a crash at this step. If other jobs ran too, or it is the first crash, it proves nothing."""
        if not self.is_suspect:
            return Crashes(self.total + 1)
        if self.step is not None and step < self.step:
            return Crashes(self.total + 1, self.repeats, self.step)
        return Crashes(self.total + 1, self.repeats + 1 if step == self.step else 1, step)
