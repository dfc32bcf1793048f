"""The names that no checkpoint needs and that attacks call: a pickle that asks for one is refused, and told so.

Nothing that a pickle names is ever imported or called here, so the list protects nobody who reads a file with vgg: it
tells a person that the file would have harmed another program. The standard library is listed by what is harmless,
since it knows so many ways to run a command; other packages by what published attacks and scanners name.
"""

from __future__ import annotations

import sys

# Modules of the standard library whose classes are plain data.
_HARMLESS = frozenset(
    """__future__ abc argparse array builtins calendar collections contextlib copyreg dataclasses datetime decimal enum
    fractions functools inspect io ipaddress itertools json logging math numbers pathlib queue random re statistics
    string threading time types typing uuid weakref zoneinfo""".split()
)
_ELSEWHERE = frozenset(  # gone from newer Pythons, or never in its list of modules
    """aiohttp asynchat asyncore boto3 cgi cgitb cloudpickle cmd2 commands cPickle crypt dill distutils docker
    execnet fabric ftplib git httplib httpx imp invoke ipykernel IPython jedi joblib jsonpickle lib2to3 nntplib numexpr
    nt paramiko pexpect pip pipes pkg_resources plumbum psutil requests setuptools sh smtpd spwd sympy telnetlib
    urllib2 urllib3 xmlrpclib yaml""".split()
)
_MODULES = (
    "logging.config",
    "logging.handlers",
    "numpy.distutils",
    "numpy.f2py",
    "numpy.lib.npyio",
    "numpy.lib._npyio_impl",
    "numpy.lib.utils",
    "numpy.testing",
    "pandas.core.computation",
    "pandas.io",
    "scipy.io",
    "tensorflow.io",
    "test.support",
    "torch._dynamo.guards",
    "torch._inductor",
    "torch.classes",
    "torch.distributed.elastic",
    "torch.distributed.launch",
    "torch.distributed.launcher",
    "torch.distributed.rpc",
    "torch.distributed.run",
    "torch.fx._lazy_graph_module",
    "torch.fx.experimental",
    "torch.fx.graph_module",
    "torch.hub",
    "torch.jit.unsupported_tensor_ops",
    "torch.multiprocessing",
    "torch.ops",
    "torch.package",
    "torch.serialization",
    "torch.testing",
    "torch.utils._config_module",
    "torch.utils.bottleneck",
    "torch.utils.collect_env",
    "torch.utils.cpp_extension",
    "torch.utils.data.datapipes.utils.decoder",
    "torch.utils.model_zoo",
    "transformers.dynamic_module_utils",
)
_BUILTINS = frozenset(
    """__build_class__ __import__ apply breakpoint compile delattr eval exec execfile exit file getattr globals help
    input locals open quit raw_input reload setattr vars""".split()
)
_NAMES = frozenset(
    """argparse.FileType dataclasses._create_fn logging.FileHandler logging.basicConfig
    torch._C._import_ir_module_from_package torch._C._import_ir_module_from_buffer typing.ForwardRef._evaluate
    typing._eval_type
    numpy.fromfile numpy.genfromtxt numpy.loadtxt numpy.memmap numpy.save numpy.savetxt
    io.FileIO torch.storage._load_from_bytes torch.save types.CodeType types.FunctionType types.LambdaType
    types.ModuleType uuid._popen uuid._get_command_stdout""".split()
)
# The last part of a name, in whatever package: what loads, evaluates or runs something else.
_VERBS = frozenset(
    """attrgetter cached_file check_call check_output download_and_extract_archive download_url eval exec
    exec_module execfile execute_command getlincoef hf_hub_download import_ir_module import_module load
    load_learner load_library load_module load_op_library load_state_dict_from_url load_url loads methodcaller
    open open_code popen Popen read_pickle run_code run_command run_module run_path runctx runstring safe_load
    snapshot_download spawn startfile system unpickle unsafe_load urlopen urlretrieve""".split()
)


def is_hostile(module: str, name: str) -> bool:
    """Whether the name is one that no checkpoint needs and attacks do.

    Args:
        module: with the names of Python 3.
        name: in the module; with dots it goes from attribute to attribute.
    """
    dotted = f"{module}.{name}"
    parts = name.split(".")
    if module == "copyreg":  # the helpers of pickle itself; every other name of it is a registry
        return name not in ("_reconstructor", "__newobj__", "__newobj_ex__")
    if module.startswith("pathlib") and len(parts) > 1:  # a path is data, what it does to a disk is not
        return True
    if module == "builtins" and parts[0] in _BUILTINS:
        return True
    if any(part.startswith("__") and part.endswith("__") for part in parts):
        return True
    # "os.system" of "torch.serialization", "_sys" of "collections": attributes that are modules lead anywhere.
    steps = parts if len(parts) > 1 or name.startswith("_") else []
    if any(_is_module_of_harm(step) for step in (module.partition(".")[0], *(step.lstrip("_") for step in steps))):
        return True
    return dotted in _NAMES or parts[-1] in _VERBS or any(f"{dotted}.".startswith(f"{known}.") for known in _MODULES)


def _is_module_of_harm(root: str) -> bool:
    return root in _ELSEWHERE or (root in sys.stdlib_module_names and root not in _HARMLESS)
