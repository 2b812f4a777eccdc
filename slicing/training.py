"""The trainer: one loop for sliced networks and plain modules alike."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.files import check_writable
from slicing.progress import Progress, Task, open_task
from slicing.progressive import Fixed, Phase, Phased, phase_of
from slicing.schemes import Inputs, Scheme, as_tuple
from slicing.train_config import TrainConfig, learning_rate_at, make_optimizer, plateaus
from slicing.train_state import EpochRecord, TrainState, load_state, rates_of, run_identity, save_state

Batches = Callable[[int], Iterable[tuple[Inputs, Tensor]]]
Validate = Callable[[nn.Module], Sequence[float]]

_LOOK_EVERY = {"cpu": 1, "cuda": 16}  # steps between looks at the loss: a look waits for the device


@dataclass(frozen=True)
class TrainResult:
    """A finished training run. Epochs count from 0 here, from 1 in messages.

    Args:
        history: one record per epoch.
        best_epoch: the one whose weights the model ended with.
        seconds: training and validation of all epochs, those before a resume included.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    seconds: float

    @property
    def best(self) -> EpochRecord:
        """The record of the best epoch."""
        return self.history[self.best_epoch]


def train(
    model: nn.Module,
    scheme: Scheme | Phased,
    batches: Batches,
    *,
    validate: Validate,
    config: TrainConfig,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    steps_per_epoch: int | None = None,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
) -> TrainResult:
    """Train ``model`` in place; it ends in eval mode with the weights of its best epoch.

    With ``config.patience`` training stops early, after that many epochs in a row without a new best epoch.

    The best epoch is the one with the highest mean of its validation figures over the rates, the earliest of
    equals. On the CPU the result depends on the arguments alone, bit for bit, and a run that was interrupted
    and resumed ends with the same bits as one that was not: torch's generators are seeded from the seed and
    the epoch at the start of every epoch (and given back as they were), so ``batches`` and ``model`` may draw
    from them too, for augmentation or dropout.

    Args:
        model: a sliced network or any module, freshly initialised.
        scheme: what a step does, such as ``Joint()`` for a nested network or ``Plain()`` for a plain module, or a
            progressive schedule.
        batches: from the epoch, counted from 0, to its batches ``(x, y)``, of at most ``config.batch_size``
            items each and of the same number every epoch; x is a tuple of tensors for a network of several inputs.
            What it yields may depend on the epoch and torch's generators only.
        validate: from the model (in eval mode, without gradients, in the run's precision) to one figure per
            rate, narrowest first, higher is better, on the validation split. A module without rates has one
            figure.
        config: the settings.
        checkpoint: a file that holds the state after the last whole epoch, replaced atomically. ``None``
            keeps none.
        resume: go on from ``checkpoint``, where it exists; a finished run returns at once. Without it a new
            run replaces the file after its first epoch. The device may be another one than before.
        progress: where to show loss, validation, pace and ETA; ``None`` is silent.
        steps_per_epoch: the number of batches in an epoch; ``None`` takes ``len(batches(0))``.
        on_epoch: called with each epoch, counted from 0, and the model in eval mode, before its checkpoint is saved:
            after an interrupt between the two the epoch is run, and it is called, again.

    Raises:
        SlicingError: when the loss becomes NaN or infinite, the batches or the validation figures are not as
            promised, or the checkpoint is unwritable, damaged, or of another run.
    """
    if resume and checkpoint is None:
        raise SlicingError("resume needs a checkpoint file to resume from, got checkpoint=None; name one")
    path = None if checkpoint is None else check_writable(checkpoint)
    steps = _count_steps(batches) if steps_per_epoch is None else steps_per_epoch
    model.to(config.device)
    optimizer = make_optimizer(model, config)
    identity = run_identity(model, scheme, config, steps)
    state = TrainState([], {})
    if resume and path is not None and path.exists():
        state = load_state(path, model, optimizer, identity)
    loop = _Loop(model, scheme, batches, validate, config, optimizer, steps)
    done = sum(record.items for record in state.history)
    total = config.epochs * steps * config.batch_size
    with open_task(progress, "training", total, "items", done) as task:
        for epoch in range(len(state.history), config.epochs):
            if config.patience is not None and epoch > 0 and epoch - 1 - state.best_epoch >= config.patience:
                task.set_total(sum(record.items for record in state.history))
                break
            state.history.append(loop.epoch(epoch, task, state.history))
            if state.best_epoch == epoch:
                state.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            if on_epoch is not None:
                on_epoch(epoch, model)
            if path is not None:
                save_state(path, state, model, optimizer, identity)
    model.load_state_dict(state.best)
    model.eval()
    seconds = sum(record.seconds + record.validation_seconds for record in state.history)
    return TrainResult(tuple(state.history), state.best_epoch, seconds)


@dataclass(frozen=True)
class _Loop:
    """What stays the same from epoch to epoch."""

    model: nn.Module
    scheme: Scheme | Phased
    batches: Batches
    validate: Validate
    config: TrainConfig
    optimizer: torch.optim.Optimizer
    steps: int

    def epoch(self, epoch: int, task: Task, history: Sequence[EpochRecord]) -> EpochRecord:
        """Train and validate once."""
        devices = [torch.cuda.current_device()] if self.config.device == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(_derived_seed(self.config.seed, epoch, "torch"))
            start = time.perf_counter()
            loss, items = self._train(epoch, task, history)
            trained = time.perf_counter()
            validation = self._validate(epoch)
            record = EpochRecord(loss, validation, items, trained - start, time.perf_counter() - trained)
        task.set_total(sum(past.items for past in history) + (self.config.epochs - epoch) * items)
        task.advance(0, self._note(epoch, loss, record))
        return record

    def _train(self, epoch: int, task: Task, history: Sequence[EpochRecord]) -> tuple[float, int]:
        """The mean loss over the epoch's items, and how many they were."""
        generator = torch.Generator().manual_seed(_derived_seed(self.config.seed, epoch, "scheme"))
        previous = history[-1] if history else None
        phase = phase_of(self.scheme, epoch, self.config.epochs, self.model)
        fixed = Fixed(self.model, phase.fixed)
        cuts = plateaus([fmean(record.validation) for record in history[phase.first :]])
        pending: list[tuple[Tensor, int]] = []  # losses not looked at yet, and their batches' sizes
        total, items, steps = 0.0, 0, 0

        def look() -> None:
            nonlocal total, items, steps
            losses = torch.stack([loss for loss, _ in pending]).tolist()
            self._check_losses(losses, epoch, steps)
            fresh = sum(size for _, size in pending)
            total += sum(loss * size for loss, (_, size) in zip(losses, pending, strict=True))
            items, steps = items + fresh, steps + len(pending)
            pending.clear()
            task.advance(fresh, self._note(epoch, total / items, previous))

        self.model.train()
        for step, (x, y) in enumerate(self.batches(epoch)):
            if step == self.steps:
                raise SlicingError(self._miscounted(epoch, "more"))
            size = len(as_tuple(x)[0])
            if size > self.config.batch_size:
                raise SlicingError(
                    f"batches must hold at most batch_size={self.config.batch_size} items, got {size} in "
                    f"epoch {epoch + 1}, step {step + 1}; make config and batches agree"
                )
            rate = self._learning_rate(phase, epoch, step, cuts)
            pending.append((self._step(phase.scheme, rate, x, y, generator), size))
            fixed.restore()
            if len(pending) == _LOOK_EVERY[self.config.device]:
                look()
        if pending:
            look()
        if steps < self.steps:
            raise SlicingError(self._miscounted(epoch, str(steps)))
        self._check_weights(epoch)
        return total / items, items

    def _learning_rate(self, phase: Phase, epoch: int, step: int, cuts: int) -> float:
        done, total = (epoch - phase.first) * self.steps + step, (phase.stop - phase.first) * self.steps
        return learning_rate_at(self.config, done, total, cuts)

    def _step(self, scheme: Scheme, rate: float, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        y = y.to(self.config.device, non_blocking=True)
        moved = tuple(side.to(self.config.device, non_blocking=True) for side in as_tuple(x))
        x = moved if isinstance(x, tuple) else moved[0]
        with self._autocast():
            loss = scheme.loss(self.model, x, y, generator)
        self.optimizer.zero_grad()
        loss.backward()
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        return loss.detach()

    def _check_losses(self, losses: list[float], epoch: int, first_step: int) -> None:
        for step, loss in enumerate(losses, start=first_step):
            if not math.isfinite(loss):
                raise SlicingError(self._diverged(f"the loss became {loss}", epoch, step))

    def _check_weights(self, epoch: int) -> None:
        """A bad last gradient shows in no loss of its epoch, and must not reach a checkpoint."""
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise SlicingError(self._diverged("the weights became NaN or infinite", epoch, self.steps - 1))

    def _miscounted(self, epoch: int, found: str) -> str:
        return (
            f"every epoch must have the same number of batches: expected {self.steps}, epoch {epoch + 1} "
            f"gave {found}; check batches, or pass steps_per_epoch"
        )

    def _diverged(self, what: str, epoch: int, step: int) -> str:
        return (
            f"{what} in epoch {epoch + 1}, step {step + 1}: training diverged; lower the learning rate (now "
            f"{self.config.learning_rate}) or lengthen the warm-up (now {self.config.warmup} of all steps)"
        )

    def _validate(self, epoch: int) -> tuple[float, ...]:
        self.model.eval()
        with torch.no_grad(), self._autocast():
            figures = tuple(float(figure) for figure in self.validate(self.model))
        expected = len(rates_of(self.model))
        if len(figures) != expected or not all(map(math.isfinite, figures)):
            raise SlicingError(
                f"validate must return one finite figure per rate, {expected} in all, got {list(figures)} "
                f"in epoch {epoch + 1}; check the validation split"
            )
        return figures

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.config.device, torch.bfloat16, enabled=self.config.precision == "bf16")

    def _note(self, epoch: int, loss: float, validated: EpochRecord | None) -> str:
        note = f"epoch {epoch + 1}/{self.config.epochs}, loss {loss:.4f}"
        if validated is None:
            return note
        rates = rates_of(self.model)
        ends = [(rates[0], validated.validation[0])] if len(rates) > 1 else []
        ends.append((rates[-1], validated.validation[-1]))
        return f"{note}, validation " + ", ".join(f"{figure:.4f} at rate {rate:g}" for rate, figure in ends)


def _count_steps(batches: Batches) -> int:
    with torch.random.fork_rng(devices=[]):
        first = batches(0)
    if not isinstance(first, Sized):
        raise SlicingError(
            f"the learning-rate schedule needs the number of batches in an epoch, but batches(0) is a "
            f"{type(first).__name__} without a length; pass steps_per_epoch"
        )
    if len(first) == 0:
        raise SlicingError("an epoch needs at least one batch, got none; check the training split and batch_size")
    return len(first)


def _derived_seed(seed: int, epoch: int, purpose: str) -> int:
    """Independent seeds for each epoch and purpose: sums such as seed + epoch would let runs share them."""
    digest = hashlib.blake2b(f"{seed} {epoch} {purpose}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
