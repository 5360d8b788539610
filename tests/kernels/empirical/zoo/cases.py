"""All cases of the zoo, family by family."""

from tests.kernels.empirical.zoo import (
    attention,
    convolutions,
    dense,
    embeddings,
    functions,
    gates,
    graphs,
    habits,
    images,
    normalisation,
    recurrent,
    reparametrised,
    science,
    transformers,
    vision,
)

FAMILIES = (
    dense, convolutions, normalisation, attention, transformers, embeddings, recurrent, reparametrised, gates,
    vision, images, graphs, science, functions, habits,
)  # fmt: skip
CASES = [case for family in FAMILIES for case in family.CASES]
