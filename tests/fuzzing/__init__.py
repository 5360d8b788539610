"""Inputs that nobody should give, and what may come of them: used in seconds by tests, for an hour by a benchmark.

Every input is made from a source of random numbers, so that a seed names it. What is tried must succeed, or end in
an error of ntkgap (or of the command line's own parser) whose message is one line; it must not take ten seconds of
the processor, nor touch a file outside the store it was given.
"""
