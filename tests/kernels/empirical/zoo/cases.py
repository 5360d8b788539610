"""All cases of the zoo, family by family."""

from tests.kernels.empirical.zoo import (
    attention,
    calls,
    computed,
    convolutions,
    dense,
    embeddings,
    functions,
    gates,
    graphs,
    habits,
    images,
    iterated,
    normalization,
    positions,
    recurrent,
    reparametrized,
    science,
    sequences,
    sets,
    statistics,
    transformers,
    vision,
    weights,
)

FAMILIES = (
    dense, convolutions, normalization, attention, transformers, sequences, embeddings, positions, recurrent,
    iterated, reparametrized, computed, gates, vision, images, sets, graphs, science, statistics, functions,
    weights, habits, calls,
)  # fmt: skip
CASES = [case for family in FAMILIES for case in family.CASES]
