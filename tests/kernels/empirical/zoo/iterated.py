"""The same weights again and again: differential equations, fixed points, unrolled algorithms."""

import torch
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, floats, linear, net


def euler(m, x):
    for k in range(4):
        x = x + 0.25 * torch.tanh(m.f(torch.cat([x, torch.full_like(x[:, :1], k / 4)], 1)))
    return m.out(x)


def runge_kutta(m, x):
    def f(y):
        return m.b(torch.tanh(m.a(y)))

    for _ in range(2):
        k1 = f(x)
        k2 = f(x + 0.25 * k1)
        k3 = f(x + 0.25 * k2)
        k4 = f(x + 0.5 * k3)
        x = x + (k1 + 2 * k2 + 2 * k3 + k4) / 12
    return x


def fixed_point(m, x):
    """A given number of steps toward z = tanh(Wz + Ux)."""
    z, u = torch.zeros_like(m.u(x)), m.u(x)
    for _ in range(8):
        z = torch.tanh(0.5 * m.w(z) + u)
    return m.out(z)


def last_steps_of_a_fixed_point(m, x):
    """All steps but the last are taken without gradients."""
    u = m.u(x)
    with torch.no_grad():
        z = torch.zeros_like(u)
        for _ in range(6):
            z = torch.tanh(0.5 * m.w(z) + u)
    return m.out(torch.tanh(0.5 * m.w(z) + u))


def unrolled_gradient_descent(m, x):
    """Inner steps on a task's own weights from a learned start; x holds the task's inputs and targets."""
    a, y = x[..., :3], x[..., 3:]
    w = m.start.expand(len(x), -1, -1)
    for _ in range(2):
        w = w - m.rate.exp() * a.mT @ (a @ w - y)
    return (a @ w).flatten(1)


def lista(m, x):
    """Iterative shrinkage with learned matrices and threshold."""
    z = x.new_zeros(len(x), 6)
    for _ in range(3):
        z = F.softshrink(m.a(x) + m.b(z), 0.0)
        z = z.sign() * F.relu(z.abs() - F.softplus(m.threshold))
    return z


CASES = [
    Case("neural ODE, Euler", net(euler, f=linear(4, 3), out=linear(3, 2)), floats(3)),
    Case("neural ODE, Runge–Kutta", net(runge_kutta, a=linear(3, 5), b=linear(5, 3)), floats(3)),
    Case("fixed point", net(fixed_point, w=linear(5, 5, False), u=linear(3, 5), out=linear(5, 2)), floats(3)),
    Case(
        "last step of a fixed point",
        net(last_steps_of_a_fixed_point, w=linear(5, 5, False), u=linear(3, 5), out=linear(5, 2)),
        floats(3),
    ),
    Case(
        "unrolled gradient descent",
        net(unrolled_gradient_descent, start=(3, 1), rate=lambda: torch.tensor(-2.0)),
        floats(5, 4),
    ),
    Case("LISTA", net(lista, a=linear(4, 6, False), b=linear(6, 6, False), threshold=(6,)), floats(4)),
]
