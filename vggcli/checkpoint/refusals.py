"""The words for a pickle that asks for more than tensors and plain data."""

from __future__ import annotations

from vggcli.checkpoint.problems import Forbidden

SHOWN = 5  # names in a message; the error carries all of them
# Modules whose classes make up a model: their presence means that somebody saved the model, not its weights.
MODEL_MODULES = ("torch.nn.modules.", "torch.nn.parallel.", "torchvision.models.", "timm.", "__main__.")
# Modules that no saved model needs, and that every published attack uses.
HOSTILE_MODULES = frozenset(
    """asyncio bdb builtins code codeop commands copyreg ctypes distutils doctest ftplib functools http idlelib imaplib
    importlib io ipaddress linecache marshal multiprocessing nt nturl2path operator os pathlib pdb pickle pip pkgutil
    platform poplib posix posixpath pprofile profile pty pydoc requests runpy shutil signal smtplib socket ssl
    subprocess sys tempfile threading timeit trace types urllib uuid venv webbrowser zipimport""".split()
)
RESAVE = (
    "If you trust its origin, load it where it was made and save the weights alone: "
    "torch.save(model.state_dict(), 'weights.pth')"
)
RESAVE_PART = (
    "If you trust its origin, load it where it was made and save the weights alone: "
    "torch.save(checkpoint['state_dict'], 'weights.pth')"
)


def forbidden(names: dict[str, bool]) -> Forbidden:
    """Return the error for a pickle.

    Args:
        names: every dotted name it looks up, in order, and whether it is among the harmless ones.
    """
    unknown = [name for name, known in names.items() if not known]
    hostile = [name for name in unknown if name.split(".", 1)[0] in HOSTILE_MODULES]
    if hostile:
        why = f"its pickle would run or import {_listed(hostile)} when loaded; nothing was executed"
        return Forbidden(why, "Do not load it with other tools; get the weights from a source you trust", tuple(names))
    if any(name.startswith(MODEL_MODULES) for name in unknown):
        why = f"it holds a whole pickled model ({_listed(unknown)}), not only weights; nothing was executed"
        return Forbidden(why, RESAVE, tuple(names))
    why = f"it holds objects beside its tensors ({_listed(unknown)}); nothing was executed"
    return Forbidden(why, RESAVE_PART, tuple(names))


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
