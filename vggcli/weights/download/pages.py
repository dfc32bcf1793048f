"""Web pages that come where a weights file should: login pages of networks, error pages under a good status."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from vggcli.web.http import check_status
from vggcli.web.retry import TransferError

if TYPE_CHECKING:
    import httpx

_HTML = "the answer is a web page, not a weights file: a login page of the network (hotel, office) or an error page"


def check_answer(response: httpx.Response) -> None:
    """Refuse what `check_status` refuses, and a web page.

    Raises:
        TransferError: with what the answer means.
    """
    check_status(response)
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise TransferError(_HTML)


def check_not_html(head: bytes) -> None:
    """Refuse a body that begins like a web page, whatever its Content-Type says.

    Raises:
        TransferError: the first bytes are those of HTML or XML.
    """
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise TransferError(_HTML)
