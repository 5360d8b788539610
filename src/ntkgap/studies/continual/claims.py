"""What the kernel regime promises about forgetting, as claims that a measurement can refute."""

from collections.abc import Sequence

from ntkgap.studies.claim import Claim
from ntkgap.studies.continual.decomposition import CONVERGED, OF_OWN_FUNCTION, after, at_score

BENNANI = "Bennani, Doan, Sugiyama 2020"
MIRZADEH = "Mirzadeh et al. 2022"
WENGER = "Wenger, Dangel, Kristiadi 2023, on continual learning"
JACOT = "Jacot, Gabriel, Hongler 2018"

# What counts as forgetting less, and as being predicted: fractions of an accuracy. Conventions, not theorems.
DROP, AGREEMENT = 0.01, 0.02

# How far a kernel that is said not to move may move.
STILL = 0.1

FORGETTING = (
    "the best score a task had before the last task was learned less the one in the end, mean over all tasks but "
    "the last (Chaudhry et al. 2018)"
)


def claims(stops: Sequence[int], scores: Sequence[float], own_function: bool) -> list[Claim]:
    """The claims: width helps; kernels predict what is forgotten; what theory guarantees never to be.

    Args:
        stops: training budgets of all problems, in steps a task.
        scores: training scores at which tasks of a problem are left.
        own_function: whether a user's training function learns the tasks.
    """
    return [*_width(stops, scores, own_function), *_predicted(), *_constant(), *_guarantees()]


def steps(count: int) -> str:
    """So many, in words."""
    return f"{count} step" if count == 1 else f"{count} steps"


def _width(stops: Sequence[int], scores: Sequence[float], own_function: bool) -> list[Claim]:
    def claim(
        key: str,
        title: str,
        when: str,
        statement: str,
        quantity: str,
        caveat: str,
        inconclusive: str,
        headline: str = "",
    ) -> Claim:
        return Claim(
            key=key,
            title=title,
            question=f"Do wider networks forget less {when}?",
            headline=headline,
            statement=statement,
            source=f"{MIRZADEH}; {WENGER}",
            kind="payoff",
            quantity=quantity,
            label="forgetting, narrow − this width",
            threshold=DROP,
            direction="above",
            criterion=f"it forgets less by more than {DROP:.0%} of accuracy",
            prediction="none for finite widths; the figures below show what infinite width forgets",
            caveat=caveat,
            inconclusive=inconclusive,
            log_scale=False,
        )

    diverged = "the narrow network diverged"
    narrow = (
        "the narrowest width that learns the tasks with every seed in the longest training, or, where none "
        "narrower does, the narrowest of all"
    )
    learned = f"a training set scores {CONVERGED:.0%} right after it was learned, in the mean over tasks"
    hardly = (
        f"Forgetting is {FORGETTING}. What was hardly learned cannot be forgotten: see how well tasks were "
        "learned in the table below. How the learning rate goes with width may turn the sign."
    )
    # Of the longest training, convergence tells.
    told = {stops[0], stops[(len(stops) - 1) // 2]} if stops else set()
    by_time = [
        claim(
            f"width_helps_after_{stop}",
            f"Wider networks forget less after {steps(stop)} a task",
            f"after {steps(stop)} a task",
            f"Stopped after {steps(stop)} a task, the network forgets less than {narrow}.",
            after(stop),
            hardly,
            diverged,
            f"wider networks forget less after {steps(stop)} a task" if stop in told else "",
        )
        for stop in stops
    ]
    if own_function:
        by_time.append(
            claim(
                "width_helps_own",
                "Wider networks forget less under your training",
                "under your training",
                f"Trained by your function, the network forgets less than {narrow}.",
                OF_OWN_FUNCTION,
                hardly,
                diverged,
                "wider networks forget less under your training",
            )
        )
    by_score = [
        claim(
            f"width_helps_{at_score(score).removeprefix('drop_')}",
            f"Wider networks forget less at a training score of {100 * score:.6g} %",
            f"at a training score of {100 * score:.6g} %",
            f"Every task left as soon as its training set scores {100 * score:.6g} %, the network forgets less "
            f"than {narrow}.",
            at_score(score),
            "Both have learned every task about equally well, after numbers of steps that differ between widths "
            "and between tasks: later tasks may take many more than the first.",
            f"a network did not score {100 * score:.6g} % on every task within the largest training budget",
        )
        for score in scores
    ]
    return [
        *by_time,
        *by_score,
        claim(
            "width_helps_matched",
            "Wider networks forget less at the same training loss",
            "at the same training loss",
            f"At the same training loss the network forgets less than {narrow}.",
            "drop_matched_long",
            "With the largest training budget. The better trained of the two is taken at the earlier time at "
            "which it had the other's training loss, interpolated between two of its training budgets: the closer "
            "these are, the better.",
            "no narrower width learns the tasks, a training diverged, or the better trained had the other's loss "
            "before its smallest training budget",
        ),
        claim(
            "width_helps_converged",
            "Wider networks forget less at convergence",
            "at convergence",
            f"Stopped after the most steps, and converged, the network forgets less than {narrow}.",
            "drop_converged",
            f"Training counts as converged where {learned}.",
            f"it has not converged ({learned}), or no narrower network has",
            "wider networks forget less at convergence",
        ),
    ]


def _predicted() -> list[Claim]:
    kernels = {
        "infinite": ("of infinite width", "Θ"),
        "initial": ("at the start", "K(θ₀)"),
        "task_start": ("at each task's start", "K at the start of each task"),
    }
    found = []
    for when, word in (("short", "brief"), ("long", "long")):
        for name, (which, symbol) in kernels.items():
            found.append(
                Claim(
                    key=f"{name}_predicts_{when}",
                    title=f"The kernel {which} predicts the scores after {word} training",
                    question=f"Does the kernel {which} predict the scores after {word} training?",
                    statement=f"Accuracies of tasks learned so far are those of kernel regression with {symbol}, "
                    "one task after the other, stopped after the same number of steps.",
                    source=f"{BENNANI}, section 4; {JACOT}",
                    kind="consequence",
                    quantity=f"gap_{name}_{when}",
                    label="mean |R predicted − R observed|",
                    threshold=AGREEMENT,
                    direction="below",
                    criterion=f"in the mean over tasks s ≤ t they differ by less than {AGREEMENT:.0%} of accuracy",
                    prediction="a distance of order 1/√width",
                    caveat="Prediction and network begin from the same function and are stopped after the same "
                    "steps; both are scored on the same test examples. "
                    + (
                        "The kernel is taken anew at the start of each task, the function is carried along."
                        if name == "task_start"
                        else "The step is the same for both, so that a difference is one of the kernel."
                    ),
                    exponent=-0.5,
                )
            )
    found.append(
        Claim(
            key="forgetting_predicted",
            title="The kernel at the start predicts how much is forgotten after long training",
            question="Does theory predict how much is forgotten?",
            headline="theory predicts how much is forgotten",
            statement="Forgetting is that of kernel regression with K(θ₀), stopped after the same steps.",
            source=f"{BENNANI}, section 4",
            kind="consequence",
            quantity="forgetting_gap_initial_long",
            label="|forgetting predicted − observed|",
            threshold=AGREEMENT,
            direction="below",
            criterion=f"they differ by less than {AGREEMENT:.0%} of accuracy",
            prediction="a distance of order 1/√width",
            caveat="Errors of single accuracies may cancel here; the claims above are the stricter ones.",
            exponent=-0.5,
        )
    )
    return found


def _constant() -> list[Claim]:
    return [
        Claim(
            key="kernel_constant_long",
            title="The kernel is nearly constant while a task is learned",
            question="Is the kernel nearly constant while a task is learned?",
            statement="From one switch of tasks to the next the kernel on test inputs changes little.",
            source=JACOT,
            kind="consequence",
            quantity="kernel_change_long",
            label="largest ‖K_t − K_{t−1}‖ / ‖K_{t−1}‖",
            threshold=STILL,
            direction="below",
            criterion=f"over no task it changes by more than {STILL:.0%} in norm",
            prediction="a change of order 1/√width or less",
            caveat="After the longest training; on test examples of all tasks, mean over outputs.",
            exponent=-0.5,
        )
    ]


def _guarantees() -> list[Claim]:
    return [
        Claim(
            key="ogd_keeps",
            title="Orthogonal gradients keep what was learned",
            question="Do orthogonal gradients keep what was learned?",
            headline="orthogonal gradients keep what was learned",
            statement="With orthogonal gradient descent, whose directions are those of all outputs at stored "
            "examples, tasks keep their score on these.",
            source=f"{BENNANI}, theorem 2",
            kind="consequence",
            quantity="ogd_stored_forgetting",
            label="forgetting on stored examples",
            threshold=AGREEMENT,
            direction="below",
            criterion=f"less than {AGREEMENT:.0%} of accuracy on stored examples is forgotten",
            prediction="nothing is forgotten where the kernel does not move",
            caveat="The guarantee is for infinite width. There is none where only the directions of labels are "
            "stored: then nothing is judged.",
            log_scale=False,
        ),
        Claim(
            key="heads_keep",
            title="Tasks with separate output layers are not forgotten",
            question="Do tasks with separate output layers keep what was learned?",
            statement="Where no two tasks use the same output, nothing is forgotten after long training.",
            source="the infinite-width kernel couples no two outputs (" + JACOT + ")",
            kind="consequence",
            quantity="heads_forgetting",
            label="forgetting",
            threshold=AGREEMENT,
            direction="below",
            criterion=f"less than {AGREEMENT:.0%} of accuracy is forgotten",
            prediction="nothing is forgotten at infinite width; of order 1/√width before",
            log_scale=False,
        ),
    ]
