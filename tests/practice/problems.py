"""Problems that several tests train on."""

import torch

import ntkgap as ng


def small_problem(generator, n=8, width=24):
    data, test = ng.load_data("sphere", n, 4, dim=4)
    model = ng.MLP(4, 1, width, 2, "tanh", bias_std=0.1, generator=generator).double()
    return model, data.to(torch.float64), test.to(torch.float64)
