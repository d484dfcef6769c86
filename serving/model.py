"""LightGBM without its Python package: the shared library through ctypes, a text model in, log-odds out.

The package costs a worker seconds and 200 MB; the library it wraps costs neither. Same code, same bits: raw scores,
contributions, categories and missing values equal `lightgbm.Booster.predict` exactly.
Source: LightGBM's `include/LightGBM/c_api.h`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput, Unavailable

__all__ = ["Booster", "Floats", "Matrix"]

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32] | NDArray[np.float64]

_FLOAT32, _FLOAT64 = 0, 1
_RAW, _CONTRIBUTIONS = 1, 3
_ROW_MAJOR = 1
_ALL_TREES = -1
_PARAMETERS = b"num_threads=1"  # a request is small: waking other threads costs more than they save
_NAME_BYTES = 1024
_FEW_ROWS = 16
"""Scored in less time than it takes to get Python's global lock back from a busy thread."""


@functools.cache
def _library(*, holding: bool = False) -> ctypes.CDLL:
    """The loaded library; calls through it release Python's global lock, unless `holding`."""
    spec = importlib.util.find_spec("lightgbm")  # finds the package without importing it
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        for name in ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll"):
            if (path := folder / "lib" / name).exists():
                library = ctypes.PyDLL(str(path)) if holding else ctypes.CDLL(str(path))
                library.LGBM_GetLastError.restype = ctypes.c_char_p
                return library
    raise Unavailable("LightGBM's shared library was not found", remedy="install the package lightgbm")


def _call(name: str, *arguments: object, holding: bool = False) -> None:
    library = _library(holding=holding)
    if getattr(library, name)(*arguments) != 0:
        raise InvalidInput(f"LightGBM says: {library.LGBM_GetLastError().decode(errors='replace')}", field="model")


class Booster:
    """A loaded text model; immutable, and safe to share between threads (the library locks what it must).

    Args:
        text: the bytes of LightGBM's `model.txt`. One output per row: binary, regression or ranking.

    Raises:
        InvalidInput: the text is no model of one output.
        Unavailable: LightGBM is not installed.
    """

    def __init__(self, text: bytes) -> None:
        handle, trees, outputs, width = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        _call("LGBM_BoosterLoadModelFromString", ctypes.c_char_p(text), ctypes.byref(trees), ctypes.byref(handle))
        weakref.finalize(self, _library().LGBM_BoosterFree, handle)
        self._handle = handle
        _call("LGBM_BoosterGetNumClasses", handle, ctypes.byref(outputs))
        _call("LGBM_BoosterGetNumFeature", handle, ctypes.byref(width))
        if outputs.value != 1:
            raise InvalidInput("must have one output a row", field="model", value=outputs.value)
        self.width = width.value
        """Columns of a row."""
        self.names = self._names()
        """Column names, in order."""

    def raw(self, rows: Matrix) -> Floats:
        """Raw scores [n] (log-odds of a binary model) of rows [n, width]; NaN is a missing value.

        Raises:
            InvalidInput: the rows have another width.
        """
        return self._predict(rows, _RAW, 1)[:, 0]

    def contributions(self, rows: Matrix) -> Floats:
        """SHAP values [n, width + 1] of rows [n, width]; the last column is the base, each row sums to its raw score.

        Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020.

        Raises:
            InvalidInput: the rows have another width.
        """
        return self._predict(rows, _CONTRIBUTIONS, self.width + 1)

    def _predict(self, rows: Matrix, kind: int, outputs: int) -> Floats:
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise InvalidInput(f"rows must have {self.width} columns", field="rows", value=rows.shape)
        single = rows.dtype == np.float32
        # Fortran order would give wrong scores in silence.
        held = np.ascontiguousarray(rows, dtype=np.float32 if single else np.float64)
        out, written = np.empty((len(rows), outputs)), ctypes.c_int64()
        if not len(rows):
            return out
        _call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            held.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(_FLOAT32 if single else _FLOAT64),
            ctypes.c_int32(len(rows)),
            ctypes.c_int32(self.width),
            ctypes.c_int(_ROW_MAJOR),
            ctypes.c_int(kind),
            ctypes.c_int(0),
            ctypes.c_int(_ALL_TREES),
            ctypes.c_char_p(_PARAMETERS),
            ctypes.byref(written),
            out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            holding=kind == _RAW and len(rows) <= _FEW_ROWS,
        )
        if written.value != out.size:
            raise InvalidInput("gave another number of outputs than asked for", field="model", value=written.value)
        return out

    def _names(self) -> tuple[str, ...]:
        buffers = [ctypes.create_string_buffer(_NAME_BYTES) for _ in range(self.width)]
        pointers = (ctypes.c_char_p * self.width)(*(ctypes.cast(each, ctypes.c_char_p) for each in buffers))
        count, longest = ctypes.c_int(), ctypes.c_size_t()
        _call(
            "LGBM_BoosterGetFeatureNames",
            self._handle,
            ctypes.c_int(self.width),
            ctypes.byref(count),
            ctypes.c_size_t(_NAME_BYTES),
            ctypes.byref(longest),
            pointers,
        )
        return tuple(buffer.value.decode() for buffer in buffers)
