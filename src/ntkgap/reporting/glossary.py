"""The field's words in plain ones: explained where a pointer or the keyboard is on them, and in a list."""

import re

from markupsafe import Markup, escape

GLOSSARY: dict[str, str] = {
    "NTK": "Neural tangent kernel: how much a gradient step on one input changes the output at another. At "
    "infinite width it does not change in training, and predicts training exactly.",
    "linearized model": "The network's first-order expansion in its parameters at the start. Training it is "
    "a linear problem, solved by the NTK.",
    "kernel": "Here the neural tangent kernel (NTK) on the training examples: inner products of the gradients of "
    "outputs.",
    "natural gradient": "Gradient descent whose step is corrected by the curvature of the loss, so that all "
    "directions shrink equally fast.",
    "width": "Number of units in a hidden layer, or of channels. Theory is exact as it goes to infinity.",
    "ensemble": "Several networks trained from different random starts; where they disagree, they are unsure.",
    "Gaussian process": "A probability distribution over functions. The NTK gives the one that an ensemble of "
    "infinitely wide networks is.",
    "Laplace": "The Laplace approximation: uncertainty of one trained network from the curvature of its loss.",
    "evidence": "Probability of the training data under a model (marginal likelihood). Settings of the greatest "
    "evidence need no validation data.",
    "Exploring": "In a bandit game the network chooses among arms, sees the reward of the chosen one alone, and "
    "must try arms it is unsure of.",
    "exploration": "Trying arms of a bandit game that the network is unsure of.",
    "tuned constant": "The exploration bonus times the constant that did best on the other seeds: an oracle's "
    "choice.",
    "regret": "Reward lost against always choosing the best arm.",
    "orthogonal gradients": "Training on a new task only in directions that do not change outputs on stored "
    "examples of earlier tasks.",
    "forget": "Accuracy on earlier tasks that is lost while later tasks are learned.",
    "condition": "A sufficient condition of a theorem. Where it is not met, the theorem says nothing; the network "
    "may still behave as predicted.",
    "C′": "How much the network's gradients change, relative to the kernel's smallest eigenvalue; the theorem on "
    "natural gradient needs it below ½.",
    "Gram matrix": "The kernel's values on all pairs of training examples.",
    "interval": "Range that contains the median over seeds with the stated probability.",
    "seeds": "Random numbers of one repetition: start of the network, and data where they are drawn.",
    "inconclusive": "The interval over seeds contains the limit: more seeds may decide.",
    "chance": "Each answer rests on a few seeds; among many answers some may be wrong by chance alone.",
}
# Also found in these forms.
_FORMS = {
    "forget": "forget(?:s|ting|ten)?",
    "ensemble": "ensembles?",
    "Gaussian process": "Gaussian process(?:es)?",
}
_PATTERN = re.compile(
    r"(?<!\w)(?:"
    + "|".join(
        f"(?P<t{i}>{_FORMS.get(t, re.escape(t))})"
        for i, t in sorted(enumerate(GLOSSARY), key=lambda p: -len(p[1]))
    )
    + r")(?!\w)"
)


def explained(text: str, known: set[str] | None = None) -> Markup:
    """A text whose terms show what they mean, each once.

    Args:
        text: any text; it is shown as it is.
        known: terms that need no more explanation; those explained here are added.
    """
    known = set() if known is None else known
    terms = list(GLOSSARY)
    parts, end = [], 0
    for found in _PATTERN.finditer(text):
        term = terms[int(str(found.lastgroup)[1:])]
        if term in known:
            continue
        known.add(term)
        word = escape(found.group())
        parts += [
            escape(text[end : found.start()]),
            Markup('<abbr tabindex="0" title="{}">{}</abbr>').format(GLOSSARY[term], word),
        ]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])
