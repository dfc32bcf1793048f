"""URLs in messages: no login, whatever was mistyped."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Vgg

from vggcli.errors import UsageError
from vggcli.web.urls import on_mirror, redacted, shown

MISTYPED = [
    "user:secret@host.example/models",
    "htps://user:secret@host.example/models",
    "https:/user:secret@host.example/models",
    "https//user:secret@host.example/models",
    "https:user:secret@host.example/models",
    "https;//user:secret@host.example/models",
    " https://user:secret@host.example/models",
    "https://user:sec/ret@host.example/models",
    "https://us.er/sec:ret@host.example/models",
    "https://user:1234/secret@host.example/models",
    "https://user:sec?ret@host.example/models",
    "https://user:1234?secret@host.example/models",
    "https://user:sec#ret@host.example/models",
    "https://user:sec@ret/secret@host.example/models",
    "https://user:sec@ret@host.example/models",
    "https://user:secret%40host.example/models",
    "//user:secret@host.example/models",
    "ftp://user:secret@host.example/models",
    "https://user:[secret@host.example/models",
    "https://token/secret@host.example/models",
]


@pytest.mark.parametrize("url", [*MISTYPED, "https://user:secret@host.example/models?signature=secret#secret"])
def test_no_login_is_shown(url: str) -> None:
    for text in (redacted(url), shown(url)):
        assert not any(part in text for part in ("sec", "ret", "user", "us.er", "1234", "token"))
        assert "host.example/models" in text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://host.example/a/w.pth", "https://host.example/a/w.pth"),
        ("https://user:secret@host.example:8080/w.pth", "https://host.example:8080/w.pth"),
        ("HTTP://127.0.0.1:80/w.pth?key=1", "HTTP://127.0.0.1:80/w.pth?..."),
        ("https://[::1]:80/w.pth#part", "https://[::1]:80/w.pth"),
        ("https://cdn.example/npm/vgg@1.2/w.pth", "https://cdn.example/npm/vgg@1.2/w.pth"),
        ("https://localhost", "https://localhost"),
        ("https://host.example/\x1b[31m\u202e", r"https://host.example/\x1b[31m\u202e"),
        ("host.example/models?key=1", "host.example/models"),
    ],
)
def test_what_is_no_login_stays(url: str, text: str) -> None:
    assert redacted(url) == text


@pytest.mark.parametrize("name", ["w.pth", "me@home/w.pth", "C:\\weights\\w.pth", "a:b/c"])
def test_a_files_name_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == name


@pytest.mark.parametrize("url", [url for url in MISTYPED if not url.strip().startswith("https://")])
def test_a_mistyped_mirror_keeps_its_login_to_itself(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        on_mirror(url, "https://official.example/w-01234567.pth")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["download", "vgg11", "--offline", "--mirror", "https://user:secret@h.invalid/w"],
        ["download", "vgg11", "--mirror", "user:secret@h.invalid/w"],
        ["inspect", "htps://user:secret@h.invalid/w.pth"],
        ["inspect", "--stats", "https://user:secret@h.invalid/w.pth"],
        ["inspect", "--verify", "https://user:secret@h.invalid/w.pth"],
        ["inspect", "--verify", "htps://user:secret@h.invalid/w.pth"],
        ["inspect", "user:secret@h.invalid/" + "w" * 300],
        ["predict", "-w", "https://user:secret@h.invalid/w.pth", "a.jpg"],
        ["summary", "htps://user:secret@h.invalid/w.pth"],
    ],
)
def test_no_command_says_a_login(
    arguments: list[str], vgg: Vgg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    output = vgg(*arguments)
    assert output.code in (2, 3)
    assert "h.invalid/w" in output.err
    assert "user" not in output.err
    assert "secret" not in output.out + output.err
