"""A cluster that a TOML file describes: which class of Dask starts it, and with what.

cluster = "slurm"
workers = 12

[options]
queue = "short"
cores = 8
memory = "16GB"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import as_type, read_toml

# Their names, and where they are: a file names no other code.
CLASSES = {
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


@dataclass(frozen=True)
class Described:
    """What the file says.

    Attributes:
        cluster: a name of `CLASSES`.
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
    if found.cluster not in CLASSES:
        raise TrimixError(f"{path}: cluster is one of {', '.join(CLASSES)}")
    if found.cluster != "ssh" and found.workers < 1:
        raise TrimixError(f"{path}: workers says how many, from 1")
    return found
