"""The loop: epochs over batches, the best one kept, a checkpoint after each, the same numbers for a seed.

Nothing random outlives an epoch: its order, its augmentation and its dropout follow from the seed and its number.  So a
checkpoint after every epoch is all that going on takes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vggcli.engines.devices import first_line, is_out_of_memory
from vggcli.errors import DeviceError
from vggcli.training.observer import Flag, Progress
from vggcli.training.plan import Plan, seeded
from vggcli.training.state import Epoch, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_WARM_UP = 0.1  # of all steps, in which the learning rate rises
_QUIET_SECONDS = 1.0  # between two lines about epochs


class Data(Protocol):
    """Batches of inputs and classes, on the device.

    Attributes:
        images: in one epoch.
        steps: in one epoch.
        num_classes: of the labels.
        labels: of the training images.
    """

    images: int
    steps: int
    num_classes: int
    labels: Sequence[int]

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, which its number decides."""

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The held-out images, in their order; none where nothing is held out."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Where and in what it computes: "fp32", "bf16" or "fp16"."""

    device: torch.device
    precision: str = "fp32"

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision: multiplications in the fast type, weights and sums in fp32."""
        import torch

        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, {"bf16": torch.bfloat16, "fp16": torch.float16}[self.precision])


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a training came to.

    Attributes:
        state: of its last epoch.
        weights: of its best one.
        diverged: the loss became infinite or no number, which ended it.
    """

    state: State
    weights: dict[str, Tensor]
    diverged: bool


class Fit:
    """One training.

    Args:
        module: gets the weights of the last epoch; those that do not require gradients stay as they are.
        say: told of an epoch, at most once a second.
        frozen: parts of it that stay in eval mode, whose batch norms keep their statistics.
        save: called with the state after every epoch.
    """

    def __init__(
        self,
        module: nn.Module,
        data: Data,
        plan: Plan,
        numbers: Numbers,
        say: Callable[[str], None],
        frozen: Sequence[nn.Module] = (),
        save: Callable[[State], None] | None = None,
    ) -> None:
        import torch

        self._module, self._data, self._plan, self._numbers = module, data, plan, numbers
        self._say, self._frozen, self._save = say, frozen, save
        self.flag = Flag()
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(parameters, plan.learning_rate, weight_decay=plan.weight_decay)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._factor)
        is_scaled = numbers.precision == "fp16" and numbers.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(numbers.device.type, enabled=is_scaled)
        self._loss = torch.nn.CrossEntropyLoss(self._class_weights())
        self._told = time.monotonic()

    def _factor(self, step: int) -> float:
        """Of the learning rate: a rise and half a cosine (Loshchilov and Hutter, SGDR, 2017)."""
        total = self._plan.epochs * self._data.steps
        rising = max(1, round(_WARM_UP * total))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))

    def _class_weights(self) -> Tensor | None:
        import torch

        if self._plan.class_weights == "none":
            return None
        counts = torch.bincount(torch.tensor(self._data.labels), minlength=self._data.num_classes)
        return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(self._numbers.device, torch.float32)

    @property
    def images(self) -> int:
        """How many it sees at most, one in several epochs counted as often."""
        return self._data.images * self._plan.epochs

    def run(self, progress: Progress, state: State | None = None) -> Fitted:
        """Train; from a checkpoint's state on, where one is given.  In the thread that calls it, and on its cores.

        Raises:
            InterruptedError: it was told to stop.
            DeviceError: a batch does not fit into the memory.
        """
        import torch

        state = state or State()
        diverged = False
        devices = [self._numbers.device] if self._numbers.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            while not diverged and not self._is_over(state):
                try:
                    epoch = self._epoch(len(state.epochs) + 1, state, progress)
                except (RuntimeError, MemoryError) as error:
                    raise self._in_plain_words(error) from error
                diverged = not math.isfinite(epoch.loss)
                if not diverged:
                    self._keep(epoch, state)
        if state.best_weights is None:
            state.best_weights = state.weights
        return Fitted(state, state.best_weights, diverged)

    def _is_over(self, state: State) -> bool:
        if len(state.epochs) >= self._plan.epochs:
            return True
        since = len(state.epochs) - (state.best.number if state.best else 0)
        return bool(self._plan.patience) and since >= self._plan.patience

    def _epoch(self, number: int, state: State, progress: Progress) -> Epoch:
        import torch

        torch.manual_seed(seeded(self._plan.seed, number))
        self._module.train()
        for part in self._frozen:
            part.eval()
        total = seen = 0.0
        done = (number - 1) * self._data.images
        for inputs, labels in self._data.train(number):
            self.flag.check()
            loss = self._step(inputs, labels)
            if not math.isfinite(loss):
                return Epoch(number, math.nan)
            total, seen = total + loss * len(labels), seen + len(labels)
            progress.name = f"epoch {number}/{self._plan.epochs}, loss {total / seen:.4f}"
            progress.advance(done + int(seen), 0)
        self._predicted, val_loss = self._validated()
        if not self._predicted:
            return Epoch(number, total / seen)
        if not math.isfinite(val_loss):
            return Epoch(number, math.nan)
        right = sum(one == other for one, other in self._predicted)
        return Epoch(number, total / seen, val_loss, right / len(self._predicted))

    def _step(self, inputs: Tensor, labels: Tensor) -> float:
        import torch

        self._optimizer.zero_grad(set_to_none=True)
        with self._numbers.autocast():
            loss = self._loss(self._module(inputs).float(), labels)
        value = float(loss.detach())
        if math.isfinite(value):
            torch.autograd.backward(self._scaler.scale(loss))
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._schedule.step()
        return value

    def _validated(self) -> tuple[list[tuple[int, int]], float]:
        """Class found and class given of each held-out image, and the mean loss."""
        import torch

        self._module.eval()
        pairs: list[tuple[int, int]] = []
        total = 0.0
        with torch.inference_mode():
            for inputs, labels in self._data.validation():
                self.flag.check()
                with self._numbers.autocast():
                    logits = self._module(inputs).float()
                total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
                pairs += zip(logits.argmax(1).tolist(), labels.tolist(), strict=True)
        return pairs, total / max(1, len(pairs))

    def _keep(self, epoch: Epoch, state: State) -> None:
        """Count an epoch, and save."""
        if state.best_weights is None:
            state.best_weights = state.weights  # the last epoch was the best so far
        state.epochs.append(epoch)
        state.weights = {key: tensor.detach().cpu().clone() for key, tensor in self._trained()}
        if state.best is None or epoch.score > state.best.score:
            state.best, state.best_weights = epoch, None
            state.predicted = [found for found, _ in self._predicted]
        if self._save is not None:
            state.optimizer = {"adamw": self._optimizer.state_dict(), "schedule": self._schedule_state()}
            state.scaler = self._scaler.state_dict()
            self._save(state)
        now = time.monotonic()
        if now - self._told >= _QUIET_SECONDS:
            self._told = now
            self._say(f"epoch {epoch.number} of {self._plan.epochs}: {epoch}")

    def _schedule_state(self) -> dict[str, Any]:
        state = self._schedule.state_dict()
        return {name: value for name, value in state.items() if name != "lr_lambdas"}

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that training changes: all but those of the frozen parts."""
        frozen = {id(tensor) for part in self._frozen for tensor in part.state_dict(keep_vars=True).values()}
        state = self._module.state_dict(keep_vars=True)
        return ((key, tensor) for key, tensor in state.items() if id(tensor) not in frozen)

    def restore(self, state: State) -> None:
        """Take over a checkpoint's state, with which `run` then goes on.

        Raises:
            ValueError, or what torch raises: it is not that of such a training.
        """
        shapes = {key: tensor.shape for key, tensor in self._trained()}
        for weights in (state.weights, state.weights if state.best_weights is None else state.best_weights):
            if {key: tensor.shape for key, tensor in weights.items()} != shapes:
                raise ValueError("weights of another network")
        self._module.load_state_dict(state.weights, strict=False)
        if not all(type(found) is int and 0 <= found < self._data.num_classes for found in state.predicted):
            raise ValueError("no classes of this training")
        groups, schedule = state.optimizer["adamw"]["param_groups"], state.optimizer["schedule"]
        settings = [group | {"lr": float(group["lr"])} for group in groups]
        ours = [group | {"lr": theirs["lr"]} for group, theirs in zip(self._groups(), settings, strict=True)]
        if settings != ours or set(schedule) != set(self._schedule_state()) or type(schedule["last_epoch"]) is not int:
            raise ValueError("settings of another training")
        self._optimizer.load_state_dict(state.optimizer["adamw"])
        for parameter, moments in self._optimizer.state.items():
            if moments["step"].numel() != 1 or any(
                moments[name].shape != parameter.shape for name in ("exp_avg", "exp_avg_sq")
            ):
                raise ValueError("moments of another network")
        self._schedule.load_state_dict(schedule | {"lr_lambdas": [None]})
        if state.scaler:
            self._scaler.load_state_dict(state.scaler)

    def _groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = self._optimizer.state_dict()["param_groups"]
        return groups

    def _in_plain_words(self, error: Exception) -> Exception:
        if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
            why = f"a batch of {self._plan.batch_size} does not fit into its memory ({first_line(error)})"
            step = "Use a smaller --batch-size"
            return DeviceError("cannot train on", str(self._numbers.device), why, step)
        return error
