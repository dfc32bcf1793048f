"""The words for a pickle that asks for more than tensors and plain data."""

from __future__ import annotations

from vggcli.weights.checkpoint.problems import Forbidden

SHOWN = 5  # names in a message; the error carries all of them
# Modules whose classes make up a model: their presence means that somebody saved the model, not its weights.
MODEL_MODULES = ("torch.nn.modules.", "torch.nn.parallel.", "torch.fx.", "torchvision.models.", "timm.", "__main__.")
# What published attacks call and no checkpoint needs.
HOSTILE_MODULES = frozenset(
    """asyncio bdb code codeop commands ctypes distutils ftplib http idlelib imaplib importlib linecache marshal nt
    nturl2path operator os pdb pickle pip pkgutil platform poplib posix posixpath profile pty pydoc requests runpy
    shutil signal smtplib socket ssl subprocess sys tempfile timeit urllib venv webbrowser zipimport""".split()
)
HOSTILE_BUILTINS = frozenset(
    f"builtins.{name}" for name in "__import__ apply compile delattr eval exec execfile getattr input open".split()
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
    hostile = [name for name in unknown if name in HOSTILE_BUILTINS or name.split(".", 1)[0] in HOSTILE_MODULES]
    if hostile:
        why = f"its pickle would run or import {_listed(hostile)} when loaded; nothing was executed"
        next_step = "Do not load it with other tools; get the weights from a source you trust"
        return Forbidden(why, next_step, tuple(unknown), hostile=True)
    if any(name.startswith(MODEL_MODULES) for name in unknown):
        why = f"it holds a whole pickled model ({_listed(unknown)}), not only weights; nothing was executed"
        return Forbidden(why, RESAVE, tuple(unknown))
    why = f"it holds objects beside its tensors ({_listed(unknown)}); nothing was executed"
    return Forbidden(why, RESAVE_PART, tuple(unknown))


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
