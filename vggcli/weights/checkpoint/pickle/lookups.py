"""Everything that one pickle looks up and calls, answered without importing or calling anything."""

from __future__ import annotations

from vggcli.text import printable
from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle import allowed, rebuild
from vggcli.weights.checkpoint.pickle.refusals import forbidden
from vggcli.weights.checkpoint.pickle.values import Global, Opaque
from vggcli.weights.checkpoint.problems import Unreadable, Unsupported
from vggcli.weights.checkpoint.problems import damaged_pickle as damaged

PYTHON2_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
REFERENCE_BYTES = 8  # of an item in a container


class Lookups:
    """Remembers what the pickle asked for.

    Attributes:
        lenient: True after the first thing that will be refused. From then on the pickle is only followed so that the
            error can list everything it asks for; operations on what was not made have no effect.
    """

    def __init__(self) -> None:
        self.lenient = False
        self._found: dict[tuple[str, str], Global] = {}
        self._names: dict[str, bool] = {}  # in order of appearance -> whether it is known here
        self._unsupported: Unsupported | None = None
        self._copied = 0

    def find(self, module: object, name: object) -> Global:
        """Stand for importing `name` from `module`."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise damaged("a name that is no text")
        if (module, name) in self._found:
            return self._found[module, name]
        if len(self._found) >= limits.NAMES:
            raise damaged("it asks for too many names")
        found = Global(_dotted(module, name))
        self._found[module, name] = found
        self._names[found.name] = found.name in allowed.CALLS
        self.lenient = self.lenient or not self._names[found.name]
        return found

    def call(self, function: object, arguments: object) -> object:
        """Stand for calling `function`."""
        try:
            if not isinstance(function, Global) or not isinstance(arguments, tuple):
                raise damaged("it calls something that is no function")
            self._spend(arguments)
            return allowed.call(function.name, arguments)
        except Unreadable as problem:
            self.tolerate(problem)
            return Opaque("")

    def build(self, target: object, state: object) -> None:
        """Stand for setting the state of an object."""
        try:
            rebuild.build(target, state)
        except Unreadable as problem:
            self.tolerate(problem)

    def tolerate(self, problem: Unreadable) -> None:
        """Go on after a problem when the pickle is refused anyway; else raise it.

        An unsupported tensor is kept for later: a forbidden name that follows is worse.
        """
        if isinstance(problem, Unsupported):
            self._unsupported = self._unsupported or problem
            self.lenient = True
        elif not self.lenient:
            raise problem

    def refuse(self) -> None:
        """Raise what was kept, if anything was.

        Raises:
            Forbidden: a name that is not known here.
            Unsupported: a tensor that is not plain numbers.
        """
        if not all(self._names.values()):
            raise forbidden(self._names) from None
        if self._unsupported:
            raise self._unsupported from None

    def _spend(self, arguments: tuple[object, ...]) -> None:
        """Count what a call may copy: one long list could be copied by each of a million calls."""
        for argument in arguments[: limits.ARGUMENTS]:
            if isinstance(argument, (list, tuple, dict, set, frozenset)):
                self._copied += len(argument) * REFERENCE_BYTES
            elif isinstance(argument, (str, bytes)):
                self._copied += len(argument)
        if self._copied > limits.COPIED_BYTES:
            raise Unreadable("its pickle copies the same things over and over", "Save the tensors only")


def _dotted(module: str, name: str) -> str:
    """Return "module.name" with Python 3's module name, harmless to print."""
    module, name = module[: limits.NAME_CHARACTERS], name[: limits.NAME_CHARACTERS]
    text = f"{PYTHON2_MODULES.get(module, module)}.{name}"
    return printable(text)
