"""Small fits without SciPy: a simplex search and logistic regression."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def minimise(
    cost: Callable[[FloatArray], float], start: FloatArray, step: FloatArray, rounds: int = 600
) -> FloatArray:
    """The minimum of a smooth function of a few variables (Nelder and Mead's simplex, restarted once).

    Args:
        start: where to begin.
        step: a sensible change of every variable.
    """
    best = np.asarray(start, np.float64)
    for scale in (1.0, 0.1):
        best = _simplex(cost, best, np.asarray(step) * scale, rounds)
    return best


def _simplex(
    cost: Callable[[FloatArray], float], start: FloatArray, step: FloatArray, rounds: int
) -> FloatArray:
    points = np.vstack([start, start + np.diag(step)])
    costs = np.array([cost(point) for point in points])
    for _ in range(rounds):
        order = np.argsort(costs, kind="stable")
        points, costs = points[order], costs[order]
        if np.ptp(points, axis=0).max() < 1e-7 or costs[-1] - costs[0] < 1e-10:
            break
        centre = points[:-1].mean(axis=0)
        reflected = 2 * centre - points[-1]
        value = cost(reflected)
        if value < costs[0]:
            expanded = 3 * centre - 2 * points[-1]
            further = cost(expanded)
            points[-1], costs[-1] = (expanded, further) if further < value else (reflected, value)
        elif value < costs[-2]:
            points[-1], costs[-1] = reflected, value
        else:
            inner = (centre + (reflected if value < costs[-1] else points[-1])) / 2
            closer = cost(inner)
            if closer < min(value, costs[-1]):
                points[-1], costs[-1] = inner, closer
            else:
                points[1:] = (points[1:] + points[0]) / 2
                costs[1:] = [cost(point) for point in points[1:]]
    return points[np.argmin(costs)]


def logistic_regression(
    features: FloatArray, labels: NDArray[np.bool_], weights: FloatArray, ridge: float = 1e-3
) -> FloatArray:
    """Weights of features [n, f] for the log odds of ``labels``, by Newton's method with a little ridge.

    Args:
        features: one column must be constant: it takes the offset.
        weights: [n], how much every sample counts.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    constant = scale < 1e-9
    centre, scale = np.where(constant, 0.0, centre), np.where(constant, 1.0, scale)
    x = (features - centre) / scale
    share = weights / weights.sum()

    def cost(beta: FloatArray) -> float:
        logits = x @ beta
        return float(share @ (np.logaddexp(0.0, logits) - labels * logits)) + ridge / 2 * float(
            beta @ beta
        )

    beta = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -500, 500)))
        gradient = x.T @ (share * (p - labels)) + ridge * beta
        curvature = (x * (share * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(beta))
        change = np.linalg.solve(curvature, gradient)
        length, before = 1.0, cost(beta)
        while length > 1e-6 and cost(beta - length * change) > before:
            length /= 2  # far from the minimum a whole step overshoots
        beta = beta - length * change
        if np.abs(change).max() < 1e-9:
            break
    weights_out = beta / scale
    # What centring took out goes back into the constant, the feature that does not vary.
    first = int(np.argmax(constant))
    if constant.any() and features[0, first]:
        weights_out[first] -= float(weights_out[~constant] @ centre[~constant]) / features[0, first]
    return weights_out
