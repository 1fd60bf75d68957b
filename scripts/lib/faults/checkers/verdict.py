"""What a checker says."""

import dataclasses


@dataclasses.dataclass
class Verdict:
    """`kept` is None where the checker could not decide, for lack of time or of something to look at."""

    name: str
    kept: bool | None
    text: str
    # What a person wants to read when it was broken.
    details: list = dataclasses.field(default_factory=list)

    @property
    def word(self):
        return {True: "kept", False: "BROKEN", None: "undecided"}[self.kept]


def judged(name, problems, good, checked):
    """Kept if there are no problems; undecided if nothing was checked at all."""
    if problems:
        return Verdict(name, False, f"{len(problems)} violations", problems[:10])
    return Verdict(name, True if checked else None, good)
