#!/usr/bin/env python3
"""Makes tests/fixtures/files/: small files written by Python's own safetensors and numpy, read by tests/files_test.cpp.

    pip install numpy ml_dtypes safetensors && tools/make_file_fixtures.py tests/fixtures/files

Element k of every array is k * 0.75 - 2 in floating dtypes, k - 2 in signed, k in u8 and k % 2 in bool.
"""
import pathlib
import sys

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

NUMPY = {"f64": "<f8", "f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "u8": "|u1", "bool": "|b1"}


def values(name: str, shape: tuple) -> np.ndarray:
    k = np.arange(int(np.prod(shape)), dtype=np.float64)
    v = k * 0.75 - 2 if name.startswith("f") else k - 2 if name.startswith("i") else k if name == "u8" else k % 2
    return v.reshape(shape).astype(NUMPY[name])


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    arrays = {f"layer.{name}": values(name, (2, 3)) for name in NUMPY}
    arrays["layer.bf16"] = values("f32", (2, 3)).astype(ml_dtypes.bfloat16)  # exact for these values
    arrays |= {"scalar": values("f32", ()), "empty": values("f32", (0, 4)), "naïve \"name\"": values("f32", (1,))}
    save_file(arrays, out / "python.safetensors", metadata={"format": "np", "note": "line\nbreak"})
    for name in NUMPY:
        np.save(out / f"{name}.npy", values(name, (2, 3)))
    np.save(out / "scalar.npy", values("f64", ()))
    np.save(out / "vector.npy", values("f32", (5,)))
    np.save(out / "empty.npy", values("f32", (0, 4)))
    np.save(out / "fortran.npy", np.asfortranarray(values("f32", (2, 3, 4))))
    np.save(out / "big_endian.npy", values("f32", (2, 3)).astype(">f4"))
    np.save(out / "object.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    np.save(out / "structured.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")]))
    np.save(out / "complex.npy", np.zeros(3, dtype="<c8"))
    with open(out / "version2.npy", "wb") as f:
        np.lib.format.write_array(f, values("f32", (2, 3)), version=(2, 0))


main()
