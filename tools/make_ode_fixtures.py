"""Writes tests/fixtures/ode.safetensors: solutions of differential equations by SciPy to about thirteen digits.

Each has its times and the states there, by DOP853 (order 8) at a relative tolerance of 3e-14; the Lorenz system also by
Radau's method as a check that shares no coefficient with it. Needs scipy and safetensors; building and testing Tenrec
does not.

    python3 tools/make_ode_fixtures.py
"""

import pathlib

import numpy as np
import scipy
from safetensors.numpy import save_file
from scipy.integrate import solve_ivp


def lorenz(t, y):
    return [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]


def van_der_pol(t, y):
    return [y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]]


def driven_pendulum(t, y):
    return [y[1], -np.sin(y[0]) - 0.2 * y[1] + 0.9 * np.cos(2 / 3 * t)]


def solve(f, y0, times, method="DOP853", tolerance=3e-14):
    result = solve_ivp(f, (times[0], times[-1]), y0, method=method, rtol=tolerance, atol=1e-14, t_eval=times,
                       max_step=0.01)
    assert result.success, result.message
    return np.ascontiguousarray(result.y.T)


problems = {
    "lorenz": (lorenz, [1.0, 1.0, 1.0], np.linspace(0, 5, 26)),
    "van_der_pol": (van_der_pol, [2.0, 0.0], np.linspace(0, 12, 25)),
    "driven_pendulum": (driven_pendulum, [0.2, 0.0], np.linspace(3, -9, 25)),
}
out = {}
for name, (f, y0, times) in problems.items():
    out[name + ".t"] = times
    out[name + ".y"] = solve(f, y0, times)
check = solve(lorenz, problems["lorenz"][1], np.linspace(0, 2, 3), "Radau", 1e-12)
worst = np.abs(check - out["lorenz.y"][[0, 5, 10]]).max()
assert worst < 1e-8, worst
path = pathlib.Path(__file__).parent.parent / "tests/fixtures/ode.safetensors"
save_file(out, str(path), metadata={"scipy": scipy.__version__})
print(path, path.stat().st_size, worst)
