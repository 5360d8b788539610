"""Dense Jacobians, dense linear algebra: what the fast code must agree with."""

import torch
from torch.func import functional_call, jacrev, vmap


def dense_jacobian(model, x):
    """The Jacobian of the stacked outputs, [nC, P], columns in the order of ``named_parameters``."""
    parameters = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}

    def outputs(theta, xi):
        return functional_call(model, theta, (xi[None],))[0]

    blocks = vmap(jacrev(outputs), (None, 0))(parameters, x)
    return torch.cat([b.flatten(0, 1).flatten(1) for b in blocks.values()], dim=1)


def natural_gradient_step(model, data, learning_rate, damping):
    """One step in the parameter form: θ − η (JᵀJ + λI)⁻¹ Jᵀ r, one flat vector; for λ = 0 the pseudo-inverse."""
    j = dense_jacobian(model, data.x)
    theta = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    residual = (model(data.x) - data.y).detach().reshape(-1)
    if damping == 0:
        return theta - learning_rate * torch.linalg.pinv(j) @ residual
    curvature = j.T @ j + damping * torch.eye(j.shape[1], dtype=j.dtype)
    return theta - learning_rate * torch.linalg.solve(curvature, j.T @ residual)


def linear_gradient_descent(gram, residual, learning_rate, steps):
    """Residuals of gradient descent on a linear model, by iterating r ← (I − ηK) r."""
    r = residual.reshape(-1)
    history = [r]
    for _ in range(steps):
        r = r - learning_rate * gram @ r
        history.append(r)
    return torch.stack(history)
