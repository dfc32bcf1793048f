"""What makes a run's numbers what they are, from what was opened for it."""

from __future__ import annotations

from dataclasses import dataclass

from vggcli import __version__
from vggcli.classifier import Classifier
from vggcli.engines import Engine
from vggcli.network import labels
from vggcli.records import Provenance
from vggcli.run.ranking import Selection
from vggcli.weights import store


@dataclass(frozen=True, slots=True)
class Computing:
    """What computes, in this process or in others."""

    engine: str
    device: str
    precision: str

    @classmethod
    def of(cls, engine: Engine) -> Computing:
        """That of an opened engine."""
        return cls(engine.name, engine.device, engine.precision)


def provenance_of(
    classifier: Classifier, selection: Selection, computing: Computing, *, is_kept: bool = True
) -> Provenance:
    """The provenance of a run.

    Args:
        is_kept: whether it may be compared later, which is what the weights' fingerprint is for.
    """
    model = classifier.model
    return Provenance(
        version=__version__,
        weights=model.name,
        weights_fingerprint=store.fingerprint(model.path) if is_kept else "",
        variant=model.variant,
        dialect=model.reading.layout.name,
        preprocessing=classifier.preprocessing,
        labels=labels.digest(model.labels),
        engine=computing.engine,
        device=computing.device,
        precision=computing.precision,
        top_k=selection.top_k,
        min_prob=selection.min_prob,
        recipe_source=model.recipe.source,
    )
