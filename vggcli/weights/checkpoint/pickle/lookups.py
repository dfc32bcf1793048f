"""Everything that one pickle looks up and calls, answered without importing or calling anything."""

from __future__ import annotations

from vggcli.text import printable
from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle import allowed, rebuild
from vggcli.weights.checkpoint.pickle.values import Global, Inert, Opaque
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
        self._unknown: dict[str, bool] = {}  # names that mean nothing here, in order -> whether only attacks need them
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
        found = self._found[module, name] = Global(_dotted(module, name))
        if found.name not in allowed.CALLS:
            from vggcli.weights.checkpoint.pickle.hostile import is_hostile

            odd = max(len(module), len(name)) > limits.NAME_CHARACTERS or not f"{module}{name}".isprintable()
            hostile = odd or is_hostile(_renamed(module), name)
            self._unknown[found.name] = hostile or self._unknown.get(found.name, False)
            self.lenient = self.lenient or hostile
        return found

    def call(self, function: object, arguments: object, keywords: object = None) -> object:
        """Stand for calling `function`; what is not known here becomes an `Inert` object."""
        try:
            if not isinstance(function, (Global, Inert)) or not isinstance(arguments, tuple):
                raise damaged("it calls something that is no function")
            if isinstance(function, Inert) or function.name not in allowed.CALLS:
                made = Inert(function.name, arguments)
                if isinstance(keywords, dict):
                    self._spend((keywords,))
                    made.entries.update(keywords)
                return made
            if keywords:
                raise damaged("an object with keyword arguments")
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
            Forbidden: a name that only attacks need.
            Unsupported: a tensor that is not plain numbers.
        """
        hostile = [name for name, bad in self._unknown.items() if bad]
        if hostile:
            from vggcli.weights.checkpoint.pickle.refusals import forbidden

            raise forbidden(hostile, list(self._unknown)) from None
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
            raise Unreadable("its pickle copies the same things over and over", "Name a file of the weights alone")


def _renamed(module: str) -> str:
    return PYTHON2_MODULES.get(module, module)


def _dotted(module: str, name: str) -> str:
    """Return "module.name" with Python 3's module name, harmless to print."""
    return printable(f"{_renamed(module[: limits.NAME_CHARACTERS])}.{name[: limits.NAME_CHARACTERS]}")
