"""In the path of simulated nodes: a decoder that ends its process over every image whose name has `poison` in it."""

import importlib.abc
import os
import sys
from importlib.machinery import PathFinder


class _Poisoned(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "vggcli.images.decode":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            load = module.ImageLoader.load

            def poisoned(self, item, attempt):
                if "poison" in (item.path or ""):
                    os._exit(86)
                return load(self, item, attempt)

            module.ImageLoader.load = poisoned

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Poisoned())
