"""The script that every Python child is: `child.py MODULE PACKAGE_FOLDER N PATH… ARGUMENT…`.

Python has put this file's folder on the path, and nothing of the current one. The N entries of the
parent's path come after what Python itself found, and the package's folder last. The arguments are
`sys.argv` of the module's `main()`.
"""

import sys


def main(module: str, package_folder: str, n_path: str, *rest: str) -> None:
    """Run `module.main()` with the parent's path."""
    here = __file__.rpartition("child.py")[0].rstrip("/\\")
    own = [entry for entry in sys.path if entry.rstrip("/\\") != here]
    path, sys.argv[1:] = rest[: int(n_path)], rest[int(n_path) :]
    sys.path[:] = [*own, *(entry for entry in path if entry not in own)]
    import importlib.util

    if importlib.util.find_spec("trimix_cpp") is None:  # a checkout that is not installed
        sys.path.append(package_folder)
    importlib.import_module(module).main()


if __name__ == "__main__":
    main(*sys.argv[1:])
