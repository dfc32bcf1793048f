"""The import of OpenVINO without its model converter, which nothing here uses and which takes 0.2 of 0.25 s."""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE, _TOOLS, _CONVERTER = "openvino", "openvino.tools", "openvino.tools.ovc"
_importing = threading.Lock()


def import_openvino() -> Any:
    """The package; the converter is imported when somebody asks the package for it.

    The process is left as a plain `import openvino` leaves it, with `openvino.convert_model` and `openvino.tools` still
    to be loaded.  Where the package is loaded already, nothing is changed.
    """
    with _importing:
        if _PACKAGE in sys.modules:
            return importlib.import_module(_PACKAGE)
        hidden = _HiddenTools()
        sys.meta_path.insert(0, hidden)
        try:
            package = importlib.import_module(_PACKAGE)
        finally:
            sys.meta_path.remove(hidden)
        _load_converter_on_demand(package)
        return package


class _HiddenTools:
    """An import hook under which one thread finds no `openvino.tools`; the package takes that for not installed."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Raises for the tools on the hook's own thread; leaves everything else to the other finders."""
        if threading.get_ident() == self._thread and (name == _TOOLS or name.startswith(f"{_TOOLS}.")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def _load_converter_on_demand(package: ModuleType) -> None:
    known = vars(package).get("__getattr__")

    def look_up(name: str) -> Any:
        if name not in ("convert_model", "tools"):
            if known is not None:
                return known(name)
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}", name=name, obj=package)
        try:
            converter = importlib.import_module(_CONVERTER)  # binds `tools` in the package
        except ImportError as error:
            raise AttributeError(f"{_CONVERTER} cannot be imported", name=name, obj=package) from error
        package.convert_model = converter.convert_model  # type: ignore[attr-defined]
        return vars(package)[name]

    package.__getattr__ = look_up  # type: ignore[method-assign]  # PEP 562
