"""What the kernel regime promises of exploration, as claims."""

from ntkgap.studies.claim import Claim

# By how much the regret of a rule may exceed that of the tuned constant.
REGRET = 0.1
# By how much the regret of the network may differ from that of its infinite-width kernel.
KERNEL_REGRET = 0.25
# By what factor γ_t may exceed its limit.
SCHEDULE = 1.5
# Relative change of the kernel.
DRIFT = 0.1

NEURAL_UCB = "Zhou, Li, Gu 2020"
ORACLE = (
    "The constant is the best of those tried on the other seeds of the same problem and width: an oracle's "
    "choice, which nobody has before the game is played. The interval reaches over every constant that these "
    "seeds cannot tell from the best (the best in at least 5 % of bootstrap resamples of the seeds), so that an "
    "uncertain choice decides nothing."
)


def claims() -> list[Claim]:
    """Nine claims about exploration; each cell's regret is relative to that of uniform choice."""
    at_most = f"the regret is at most {1 + REGRET:g} times that of the tuned constant"
    return [
        Claim(
            key="schedule_of_theory",
            title="Theory's exploration schedule is as good as a tuned constant",
            question="Is theory's exploration rule as good as a tuned one?",
            headline="theory's exploration rule is as good as a tuned one",
            statement="NeuralUCB with γ_t as the regret theorem wants it has no more regret than with the best "
            "constant.",
            source=f"{NEURAL_UCB}, algorithm 1 and equation 5.1; Wenger, Dangel, Kristiadi 2023",
            kind="payoff",
            quantity="bandit_theory_over_tuned",
            label="regret with theory's γ_t / with the tuned constant",
            threshold=1 + REGRET,
            direction="below",
            criterion=at_most,
            prediction="none: the theorem bounds the regret with γ_t, and compares with nothing",
            caveat=ORACLE,
        ),
        Claim(
            key="schedule_of_limit",
            title="The schedule's infinite-width limit is as good as a tuned constant",
            question="Exploring: is the rule's infinite-width limit as good as a tuned constant?",
            statement="NeuralUCB with lim γ_t = ν√(log det Z_t/det λI − 2 log δ) + √λ S has no more regret than "
            "with the best constant.",
            source=f"{NEURAL_UCB}, equation 5.1 for m, J → ∞",
            kind="payoff",
            quantity="bandit_limit_over_tuned",
            label="regret with the limit of γ_t / with the tuned constant",
            threshold=1 + REGRET,
            direction="below",
            criterion=at_most,
            prediction="none",
            caveat=f"{ORACLE} The limit depends on ν, δ and S, which a user must know; S is √(2hᵀH⁻¹h) of the "
            "true mean rewards h, unless the problem gives one.",
        ),
        Claim(
            key="evidence_explores",
            title="Exploration set by the evidence is as good as a tuned constant",
            question="Is exploration set by the evidence as good as tuned?",
            headline="exploration set by the evidence is as good",
            statement="Laplace-UCB whose prior precision and noise maximize the evidence has no more regret than "
            "NeuralUCB with the best constant.",
            source="Wenger, Dangel, Kristiadi 2023, section on uncertainty; Immer et al. 2021",
            kind="payoff",
            quantity="bandit_evidence_over_tuned",
            label="regret with evidence / with the tuned constant",
            threshold=1 + REGRET,
            direction="below",
            criterion=at_most,
            prediction="none",
            caveat=ORACLE,
        ),
        Claim(
            key="evidence_bonus_pays",
            title="The exploration bonus set by the evidence lowers regret",
            question="Exploring: is the bonus set by the evidence better than none?",
            statement="Laplace-UCB has less regret than the same policy without a bonus, which fits precision and "
            "noise by the same evidence, but always takes the arm of the largest mean.",
            source="Wenger, Dangel, Kristiadi 2023, section on uncertainty; the comparison is ours",
            kind="payoff",
            quantity="bandit_evidence_over_greedy",
            label="regret with evidence / of the same policy without a bonus",
            threshold=1.0,
            direction="below",
            criterion="the regret is smaller",
            prediction="none",
            caveat="Evidence also chooses the penalty of the training: without this control what a better fit "
            "gains would count as exploration. Networks that start at zero expect the same of all arms, and ties "
            "go to an arm at random: until the first training the policy without a bonus "
            "explores all the same.",
        ),
        Claim(
            key="schedule_near_limit",
            title="The schedule is near its infinite-width limit",
            question="Exploring: is the rule near its infinite-width limit (a condition)?",
            statement=f"γ_T is at most {SCHEDULE:g} times its limit m, J → ∞.",
            source=f"{NEURAL_UCB}, equation 5.1 and the condition on m in theorem 4.5",
            kind="condition",
            quantity="bandit_schedule_factor",
            label="γ_T / its limit",
            threshold=SCHEDULE,
            direction="below",
            criterion=f"γ_T is at most {SCHEDULE:g} times its limit",
            prediction="falls like m^(−1/6) √log m where it is large",
            caveat="It stays above at every width that can be built, and beyond: on the wheel (500 rounds, one "
            "hidden layer) γ_T is 5.8·10⁷ times its limit at width 10⁶, 5.0·10⁵ times at 10²⁰ and 380 times at "
            "10⁶⁰, where nearly all of it is what 100 steps of training leave over. All unknown constants C₁, C₂, "
            "C₃ are set to one, which favors the theory.",
            exponent=-1 / 6,
        ),
        Claim(
            key="bounds_hold",
            title="The confidence bounds of the limit contain the true rewards",
            question="Exploring: do the confidence bounds contain the true rewards?",
            statement="With probability 1 − δ, |f(x) − E r(x)| ≤ γ_t σ_t(x) for every arm and round.",
            source=f"{NEURAL_UCB}, lemma 5.3 in the limit m, J → ∞",
            kind="consequence",
            quantity="bandit_limit_coverage",
            label="fraction of arms and rounds inside their bounds",
            threshold=0.9,
            direction="above",
            criterion="at least 90 % of arms and rounds (the lemma wants all of them, for 1 − δ of the runs)",
            prediction="1",
            caveat="Where ν or S are set too small for the rewards, bounds fail that the theory does not promise.",
            log_scale=False,
        ),
        Claim(
            key="network_follows_kernel_bandit",
            title="The network explores as its infinite-width kernel does",
            question="Exploring: does the network play as its infinite-width kernel does?",
            statement="NeuralUCB has the regret of NTK-UCB with the analytic kernel, both with a tuned constant.",
            source="Kassraie, Krause 2022; Jacot, Gabriel, Hongler 2018",
            kind="consequence",
            quantity="bandit_kernel_gap",
            label="|regret / regret of NTK-UCB − 1|",
            threshold=KERNEL_REGRET,
            direction="below",
            criterion=f"the regrets differ by less than {KERNEL_REGRET:.0%}",
            prediction="0 at infinite width, with training to convergence",
            caveat="Both regrets have noise of their own: a gap may be chance. The interval reaches over all "
            "constants, of both rules, that the other seeds cannot tell from the best.",
        ),
        Claim(
            key="reward_kernel_constant",
            title="The kernel of the reward network is nearly constant",
            question="Exploring: is the kernel nearly constant?",
            statement="The Gram matrix of seen gradients changes little from θ₀ to the end of the game.",
            source=f"{NEURAL_UCB}, lemma 5.1 and B.3 (m large); Jacot, Gabriel, Hongler 2018",
            kind="consequence",
            quantity="bandit_ucb_kernel_drift",
            label="‖K_T − K_0‖ / ‖K_0‖ on seen arms",
            threshold=DRIFT,
            direction="below",
            criterion=f"the relative change is below {DRIFT:.0%}",
            prediction="shrinks at least like m^(−1/2)",
            exponent=-0.5,
        ),
        Claim(
            key="network_beats_linear",
            title="The network has less regret than a linear bandit",
            question="Exploring: is the network better than a linear model?",
            statement="NeuralUCB has less regret than LinUCB, both with a tuned constant and means that are "
            "updated in the same rounds.",
            source=f"{NEURAL_UCB}, section 7",
            kind="payoff",
            quantity="bandit_tuned_over_linear",
            label="regret of NeuralUCB / of LinUCB",
            threshold=1.0,
            direction="below",
            criterion="the regret is smaller",
            prediction="none",
            caveat="The interval reaches over all constants, of both rules, that the other seeds cannot tell from "
            "the best.",
        ),
    ]
