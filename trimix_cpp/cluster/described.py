"""A cluster that a TOML file describes: which class of Dask starts it, and with what.

cluster = "slurm"
workers = 12

[options]
queue = "short"
cores = 8
memory = "16GB"
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import as_type, read_toml

# Their names, and where they are: a file names no other code.
_CLASSES = {
    "ssh": ("distributed", "SSHCluster"),
    "slurm": ("dask_jobqueue", "SLURMCluster"),
    "pbs": ("dask_jobqueue", "PBSCluster"),
    "sge": ("dask_jobqueue", "SGECluster"),
    "lsf": ("dask_jobqueue", "LSFCluster"),
    "oar": ("dask_jobqueue", "OARCluster"),
    "moab": ("dask_jobqueue", "MoabCluster"),
    "htcondor": ("dask_jobqueue", "HTCondorCluster"),
    "jobs-here": ("dask_jobqueue.local", "LocalCluster"),
}
_PACKAGES = {"asyncssh": "asyncssh", "dask_jobqueue": "dask-jobqueue"}


@dataclass(frozen=True)
class Described:
    """What the file says.

    Attributes:
        cluster: a name of `_CLASSES`.
        workers: how many jobs are asked of a batch system; "ssh" has those that `hosts` name.
        options: what the class takes; Dask's own configuration has what is not said.
    """

    cluster: str
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def read_description(path: Path) -> Described:
    """What a file says of a cluster; raises TrimixError where it makes no sense."""
    try:
        found = as_type(read_toml(path, "cluster"), Described)
    except ValueError as error:
        raise TrimixError(f"{path}: describes no cluster: {error} (docs/machines.md)") from None
    if found.cluster not in _CLASSES:
        raise TrimixError(f"{path}: cluster is one of {', '.join(_CLASSES)}")
    if found.cluster != "ssh" and found.workers < 1:
        raise TrimixError(f"{path}: workers says how many, from 1")
    return found


@contextmanager
def started(path: Path) -> Iterator[Any]:
    """The Dask cluster that a file describes; it ends with the `with`.

    Raises:
        TrimixError: the file makes no sense, a package is missing, or the cluster does not start.
    """
    found = read_description(path)
    module, name = _CLASSES[found.cluster]
    try:
        cluster = getattr(importlib.import_module(module), name)(**found.options)
        if found.cluster != "ssh":
            cluster.scale(jobs=found.workers)
    except ImportError as error:
        package = _PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        raise TrimixError(f"{path}: needs {package}: pip install {package}") from None
    except Exception as error:  # whatever ssh, sbatch and the like find to say
        line = " ".join(str(error).split())[:500]
        raise TrimixError(f"{path}: {found.cluster} does not start: {line}") from None
    with cluster:
        yield cluster
