"""A network as a function of its parameters: at a point, on inputs of any form, or refused with the remedy."""
