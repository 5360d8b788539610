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
    return theta - learning_rate * natural_gradient_direction(j, residual, damping)


def natural_gradient_direction(j, residual, damping):
    """(JᵀJ + λI)⁻¹ Jᵀ r as the least-squares problem min ‖Jδ − r‖² + λ‖δ‖²; of smallest norm for λ = 0."""
    stacked = torch.cat([j, damping**0.5 * torch.eye(j.shape[1], dtype=j.dtype)])
    targets = torch.cat([residual, residual.new_zeros(j.shape[1])])
    return torch.linalg.lstsq(stacked, targets, driver="gelsd").solution


def linear_gradient_descent(gram, residual, learning_rate, steps):
    """Residuals of gradient descent on a linear model, by iterating r ← (I − ηK) r."""
    r = residual.reshape(-1)
    history = [r]
    for _ in range(steps):
        r = r - learning_rate * gram @ r
        history.append(r)
    return torch.stack(history)
