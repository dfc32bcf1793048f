"""The batch by what the CPU multiplies with, told from what Linux says of it; no machine with AMX is needed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import networks
import numpy as np
import pytest
from engine_examples import SIZE, logits, opened

from vggcli.engines import cpu
from vggcli.weights.model import Model

WITHOUT = "processor\t: 0\nflags\t\t: fpu avx512_bf16 avx512_vnni amx\nbugs\t\t: amx_bf16\n"
WITH = WITHOUT.replace(" amx\n", " amx_bf16 amx_tile amx_int8\n")


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for /proc/cpuinfo."""
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(("text", "expected"), [(WITH, True), (WITHOUT, False), ("", False)])
def test_amx_is_what_linux_says_of_the_first_core(cpuinfo: Path, text: str, expected: bool) -> None:
    cpuinfo.write_text(text)
    assert cpu.has_amx() is expected


def test_a_system_that_does_not_tell_counts_as_without(cpuinfo: Path) -> None:
    assert not cpuinfo.exists()
    assert not cpu.has_amx()


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        ("AVX512_CORE_VNNI", False),
        ("avx2_vnni", False),
        ("AVX512_CORE_BF16", False),
        ("AVX512_CORE_AMX", True),
        ("avx512_core_amx_fp16", True),
        ("AVX10_1_512_AMX", True),
        ("ALL", True),
        ("default", True),
        ("", True),
    ],
)
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_what_onednn_is_held_back_from_does_not_count(
    cpuinfo: Path, monkeypatch: pytest.MonkeyPatch, variable: str, highest: str, expected: bool
) -> None:
    cpuinfo.write_text(WITH)
    monkeypatch.setenv(variable, highest)
    assert cpu.has_amx() is expected


@pytest.mark.parametrize(
    ("precision", "amx", "expected"),
    [("bf16", True, 16), ("bf16", False, 8), ("fp32", True, 8), ("fp32", False, 8), ("fp16", False, 8)],
)
def test_only_bf16_on_amx_takes_the_larger_batch(precision: str, amx: bool, expected: int) -> None:
    assert cpu.batch_size(precision, amx) == expected


@pytest.mark.parametrize(("text", "expected"), [(WITH, 16), (WITHOUT, 8)])
def test_the_engine_takes_that_batch_and_its_rows_are_the_same_in_any(
    cpuinfo: Path, narrow: Model, text: str, expected: int
) -> None:
    cpuinfo.write_text(text)
    pixels = networks.images(35, SIZE)
    with closing(opened("openvino", narrow, "bf16")) as running:
        whole = logits(running, pixels)
        parts = [logits(running, pixels[first : first + 10]) for first in range(0, 35, 10)]

    assert running.batch_size == expected
    assert whole.shape == (35, 10)
    assert np.array_equal(np.concatenate(parts), whole)
