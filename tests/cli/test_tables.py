"""Listings: what stands in them is text."""

from __future__ import annotations

import pytest

from vggcli.cli.tables import show
from vggcli.commands.listing import Listing


def test_names_in_a_listing_are_shown_as_they_are(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    name = ":heart:_:bomb:[red]\u200b\U000e0041"
    shown = ":heart:_:bomb:[red]\\u200b\\U000e0041"
    show(Listing((":bomb:",), [(name,)], {}, facts={"file": name}, totals=(name,)), "table")

    assert capsysbinary.readouterr().out.decode().splitlines() == [f"file        {shown}", ":bomb:", shown, shown]
