"""The variants as a list."""

from __future__ import annotations

from vggcli.commands.listing import Listing
from vggcli.network import zoo
from vggcli.weights import store
from vggcli.weights.locate import DEMO_FILE

COLUMNS = ("variant", "parameters", "MiB", "top-1 %", "top-5 %", "weights", "cached")


def list_variants() -> Listing:
    """Every variant with its size, published accuracy, and whether its weights are in the cache."""
    rows: list[tuple[str | int, ...]] = []
    entries = []
    for row in zoo.VARIANTS.values():
        parameters = row.architecture.parameters()
        file = row.weights.name if row.weights else zoo.DEMO
        path = store.cached(file) if row.weights else DEMO_FILE
        cached = ("built in" if row.name == zoo.DEMO else "yes") if path else "no"
        accuracy = (f"{row.top1:.2f}", f"{row.top5:.2f}") if row.weights else ("", "")
        rows.append((row.name, parameters, f"{row.size_mib:.1f}", *accuracy, file, cached))
        entries.append(
            {
                "variant": row.name,
                "configuration": row.configuration,
                "parameters": parameters,
                "size_mib": row.size_mib,
                "top1": row.top1 if row.weights else None,
                "top5": row.top5 if row.weights else None,
                "weights": file,
                "url": row.weights.url if row.weights else None,
                "cached": str(path) if path else None,
            }
        )
    facts = {"cache": str(store.cache_folder()), "demo": zoo.DEMO_WHAT}
    return Listing(COLUMNS, rows, {"cache": facts["cache"], "variants": entries}, facts=facts)
